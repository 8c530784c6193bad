"""Requests to the admin endpoint of a server."""

import http.client
from contextlib import closing
from typing import Final

from tests.support.process import WAIT_SECONDS, ServerProcess

WHERE: Final = r"the admin endpoint is http://([\w.:\[\]]+)"


PATHS: Final = ("/livez", "/readyz", "/metrics", "/version")


def get(place: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Return status and body of what is answered at ``place``, which is HOST:PORT."""
    with closing(http.client.HTTPConnection(place, timeout=WAIT_SECONDS)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def place_of(server: ServerProcess) -> str:
    return server.wait_for_log(WHERE)[1]
