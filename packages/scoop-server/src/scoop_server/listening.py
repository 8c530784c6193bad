"""Where clients connect: the sockets that the server listens on."""

import errno
import socket
from typing import Final

from scoop_server.event_loop import format_address

_BACKLOG: Final = 4_096
"""Connections that wait to be accepted: a burst of thousands is taken in a few turns, and the system caps it."""


class CannotListenError(Exception):
    """An address cannot be listened on; the message is one line for the operator."""


def bind(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that holds the address, and does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListenError(
            f"cannot listen on {host}: {error.strerror}; name another address with --host"
        ) from error
    except UnicodeError as error:
        raise CannotListenError(
            f"cannot listen on {host}: it is no host name; name another address with --host"
        ) from error
    try:
        # A restart need not wait for the connections of the process before; a second server still cannot listen.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Answers are short and complete: they leave at once. Accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(address, error) from error
    return listener


def listen(listener: socket.socket) -> None:
    """Begin to listen, when whoever connects is served at once. Another server may have come first since the bind."""
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _cannot_listen(listener.getsockname(), error) from error


def _cannot_listen(address: object, error: OSError) -> CannotListenError:
    way_out = "name another address with --host or --port"
    if error.errno == errno.EADDRINUSE:
        way_out = "another process listens there; stop it, or name another port with --port"
    return CannotListenError(f"cannot listen on {format_address(address)}: {error.strerror}; {way_out}")
