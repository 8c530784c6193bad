"""Sockets inherited from a service manager, by systemd's protocol for socket activation.

Descriptors from 3 on are open; ``LISTEN_FDS`` is their number, ``LISTEN_PID`` the process they are for, and
``LISTEN_FDNAMES`` their names, separated by colons; see sd_listen_fds(3).

A socket named ``tls`` serves TLS; one named ``plain``, or by default after its unit (``scoop.socket``), does not. Any
other name is rejected: a typing error must not disable TLS. An access policy may follow, as in ``tls?read-only``; see
:mod:`~scoop_server.config.access`.
"""

import re
import socket
from collections.abc import Iterator, MutableMapping
from typing import Final

from scoop_server.config.access import AccessPolicy, split_policy
from scoop_server.config.addresses import are_sockets_handed_over
from scoop_server.errors import ListenError
from scoop_server.net.listener import Listener, select_certificates
from scoop_server.net.tls import Certificates

_FIRST_DESCRIPTOR: Final = 3

_is_count: Final = re.compile("[0-9]{1,3}").fullmatch
"""Matches a number of sockets: no unit has more than 999."""

_PLAIN_NAMES: Final = ("plain", "unknown")
"""``unknown`` is systemd's name for a socket without one."""


def inherited_listeners(
    environment: MutableMapping[str, str], certificates: Certificates | None, first_descriptor: int = _FIRST_DESCRIPTOR
) -> Iterator[Listener]:
    """Yield a listener for each socket that ``environment`` announces to this process.

    The variables are removed, so that child processes do not inherit them. Raises ListenError.
    """
    is_addressed = are_sockets_handed_over(environment)
    count, _, names = (environment.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if not is_addressed:
        return
    if not _is_count(count):
        raise ListenError(
            f"cannot use inherited sockets: expected a number of sockets in LISTEN_FDS, got {count!r}; "
            "start the server by a socket unit"
        )
    name_of = dict(enumerate(names.split(":") if names else (), first_descriptor))
    for descriptor in range(first_descriptor, first_descriptor + int(count)):
        name = name_of.get(descriptor, "unknown")
        place = f"descriptor {descriptor} ({name!r})"
        try:
            is_tls, policy = parse_socket_name(name)
        except ValueError as error:
            raise ListenError(
                f"cannot listen on descriptor {descriptor}: {error}; correct FileDescriptorName in the socket unit"
            ) from error
        way_out = "give the socket another FileDescriptorName"
        used_certificates = select_certificates(place, certificates, policy, is_tls=is_tls, way_out=way_out)
        yield Listener(_adopt(descriptor, place), used_certificates, policy=policy, is_inherited=True)


def parse_socket_name(name: str) -> tuple[bool, AccessPolicy]:
    """Return whether a socket with this name serves TLS, and its policy. Raises ValueError with "expected A, got B"."""
    kind, policy = split_policy(name)
    if kind == "tls":
        return True, policy
    if kind in _PLAIN_NAMES or kind.endswith(".socket"):
        return False, policy
    raise ValueError(f"expected the name tls, plain or UNIT.socket, got {name!r}")


def _adopt(descriptor: int, place: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        is_stream = sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) and sock.type == socket.SOCK_STREAM
        is_listening = is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"cannot listen on {place}: {error.strerror}; start the server by a socket unit") from error
    if not is_listening:
        sock.detach()  # if LISTEN_FDS is too large, it may be a descriptor of the server's own
        raise ListenError(
            f"cannot listen on {place}: not a listening stream socket; "
            "use ListenStream and Accept=no in the socket unit"
        )
    sock.set_inheritable(False)
    return sock
