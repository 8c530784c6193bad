"""The health check of the container: exits with 0 if the server is ready, and 1 if not.

It queries the admin endpoint, which never uses TLS, at the address that the server, as process 1, has from its flag
--admin or from SCOOP_ADMIN.
"""

import contextlib
import http.client
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS_MAX = 4.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS_MAX)
        self.sock.connect(self._path)


def admin_address(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return the address that a server with this command line and these variables uses; empty if there is none."""
    found = variables.get("SCOOP_ADMIN", "")
    for word, following in zip(command, [*command[1:], ""], strict=False):
        if word == "--admin":
            found = following
        elif word.startswith("--admin="):
            found = word.partition("=")[2]
    return found


def connection_to(address: str) -> http.client.HTTPConnection:
    """Return a connection to HOST:PORT or unix:PATH; loopback for all interfaces. Raises ValueError."""
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"))
    found = re.fullmatch(r"\[?(.+?)\]?:([0-9]+)", address)
    if found is None:
        raise ValueError(f"expected HOST:PORT or unix:PATH in --admin or SCOOP_ADMIN, got {address!r}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found[1], found[1])  # noqa: S104  # it binds nothing
    return http.client.HTTPConnection(host, int(found[2]), timeout=SECONDS_MAX)


def main() -> int:
    """Query /readyz, print the response and return the exit status."""
    command: list[str] = []
    with contextlib.suppress(OSError):  # without /proc, the variable alone counts
        command = Path("/proc/1/cmdline").read_text(errors="surrogateescape").split("\0")
    try:
        connection = connection_to(admin_address(command, os.environ))
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        print(response.status, response.read(1_000).decode("ascii", "replace").strip())
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(error)
        return 1
    return 0 if response.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
