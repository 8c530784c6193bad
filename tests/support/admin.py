"""Requests to the admin endpoint of a server."""

import http.client
import socket
from contextlib import closing
from typing import Final, Self

from tests.support.process import WAIT_SECONDS, ServerProcess

WHERE: Final = r"serving the admin endpoint at http://([\w.:\[\]]+)"


def get(place: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Return status and body of what is answered at ``place``, which is HOST:PORT."""
    with closing(http.client.HTTPConnection(place, timeout=WAIT_SECONDS)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


class RawClient:
    """A connection to the endpoint whose test chooses every byte."""

    def __init__(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_SECONDS)
        self._reader = self.socket.makefile("rb")

    def send(self, *lines: str) -> None:
        """Send a head of these lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, header and body of the response, which the end of the stream must follow."""
        head, _, body = self._reader.read().partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body

    def has_ended(self) -> bool:
        """Wait for the end of the connection; return whether nothing else arrived."""
        try:
            return self._reader.read() == b""
        except ConnectionResetError:
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()


def place_of(server: ServerProcess) -> str:
    """Return HOST:PORT of the server's endpoint."""
    return server.wait_for_log(WHERE)[1]
