"""Ways to a server, as values that a process can hand to another on its command line."""

import socket
from collections.abc import Callable
from typing import Final

from scoop_server.addresses import UnixAddress, parse_address

from tests.server.process import WAIT_SECONDS

Connect = Callable[[], socket.socket]
"""Returns a connected socket that waits for :data:`WAIT_SECONDS` at most. Raises OSError."""

READ_BYTES: Final = 65_536


def connector(text: str) -> Connect:
    """Return how to connect to ``text``, an address as ``--listen`` takes it."""
    address = parse_address(text)

    def connect() -> socket.socket:
        if isinstance(address, UnixAddress):
            return _connected(socket.AF_UNIX, address.path)
        sock = _connected(socket.AF_INET, (address.host, address.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    return connect


def _connected(family: socket.AddressFamily, address: object) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.settimeout(WAIT_SECONDS)
        sock.connect(address)  # type: ignore[arg-type] # what it is depends on the family
    except BaseException:
        sock.close()
        raise
    return sock
