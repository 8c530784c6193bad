"""Sockets that a service manager has opened and handed over, by systemd's protocol for socket activation.

Descriptors from 3 on are open, ``LISTEN_FDS`` tells how many, ``LISTEN_PID`` for whom, and ``LISTEN_FDNAMES`` their
names, separated by colons; see sd_listen_fds(3). A socket with the name ``tls`` serves TLS, any other does not.
"""

import socket
from collections.abc import Iterator, MutableMapping
from typing import Final

from scoop_server.config.addresses import are_sockets_handed_over
from scoop_server.errors import ListenError
from scoop_server.net.listener import Listener
from scoop_server.net.tls import Certificates

_FIRST_DESCRIPTOR: Final = 3

_COUNT_DIGITS_MAX: Final = 3
"""More sockets than this can count no unit has."""

_TLS_NAME: Final = "tls"

_VARIABLES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def inherited_listeners(environment: MutableMapping[str, str], certificates: Certificates | None) -> Iterator[Listener]:
    """Take over the sockets that ``environment`` tells of, and remove it from there, so that no child takes them too.

    There are none where it tells of none for this process. Raises :exc:`ListenError`.
    """
    are_there = are_sockets_handed_over(environment)
    count, _, names = (environment.pop(variable, "") for variable in _VARIABLES)
    if not are_there:
        return
    if not (count.isascii() and count.isdigit() and len(count) <= _COUNT_DIGITS_MAX):
        raise ListenError(f"LISTEN_FDS={count!r} is no number of sockets; start the server by a socket unit")
    name_of = dict(enumerate(names.split(":") if names else (), _FIRST_DESCRIPTOR))
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        name = name_of.get(descriptor, "unknown")
        is_tls = name == _TLS_NAME
        if is_tls and certificates is None:
            raise ListenError(
                f"descriptor {descriptor} has the name {_TLS_NAME}, and TLS needs a certificate; "
                "name one with --tls-cert, or give the socket another FileDescriptorName"
            )
        yield Listener(_take_over(descriptor, name), certificates if is_tls else None, is_inherited=True)


def _take_over(descriptor: int, name: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        is_stream = sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) and sock.type == socket.SOCK_STREAM
        is_listening = is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(
            f"cannot listen on descriptor {descriptor} ({name!r}): {error.strerror}; start the server by a socket unit"
        ) from error
    if not is_listening:
        sock.detach()  # it may be one of the server's own, where LISTEN_FDS counts more than was handed over
        raise ListenError(
            f"cannot listen on descriptor {descriptor} ({name!r}): it is no listening stream socket; "
            "use ListenStream and Accept=no in the socket unit"
        )
    sock.set_inheritable(False)
    return sock
