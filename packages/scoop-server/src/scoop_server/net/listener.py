"""Listeners: the sockets that accept clients."""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import sys
from array import array
from collections.abc import Sequence
from typing import Final

from scoop_core import UnixAddress

from scoop_server.config.access import UNRESTRICTED, AccessPolicy
from scoop_server.config.addresses import ListenAddress, format_address
from scoop_server.config.peer import Peer, host_of
from scoop_server.errors import ListenError
from scoop_server.net.tls import Certificates, TlsStream

BACKLOG: Final = 65_535
"""Connections that may wait to be accepted: as many as the system allows (net.core.somaxconn). Once there are more,
the system drops attempts to connect, and a client repeats its attempt after seconds."""

UNIX_MODE: Final = 0o660
"""Permissions of a Unix socket: its user and its group."""

_CREDENTIALS_BYTES: Final = 3 * array("I").itemsize
"""Process, user and group of a peer, the layout of SO_PEERCRED."""

_SO_PEERCRED: Final = getattr(socket, "SO_PEERCRED", 17 if sys.platform == "linux" else -1)
"""PyPy has no name for it, and some systems no such option, as there is none of the number -1."""

_SO_PEERGROUPS: Final = 59
"""Linux has this option, and Python no name for it."""

_GROUPS_BYTES_MAX: Final = 4 * 1_024
"""Room for as many groups as a user has hardly ever."""

_WAY_OUT: Final = "name another address with --listen, --host or --port"
ADMIN_WAY_OUT: Final = "name another address with --admin"

_ADVICE: Final = {
    errno.EADDRINUSE: "another process listens there; stop it, or ",
    errno.ENOTSOCK: "move it away, or ",
}


class Listener:
    """A bound or listening socket, made non-blocking.

    With ``certificates`` it serves TLS. ``policy`` restricts its clients. An inherited socket listens already, and
    continues listening in another process after it is closed here.
    """

    def __init__(
        self,
        sock: socket.socket,
        certificates: Certificates | None = None,
        *,
        policy: AccessPolicy = UNRESTRICTED,
        is_inherited: bool = False,
        way_out: str = _WAY_OUT,
    ) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Accepted sockets inherit both options. Answers are short and complete, so none waits for more; and
            # keepalive frees the place of a peer that has vanished.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket = sock
        self._certificates = certificates
        self._way_out = way_out
        self.policy = policy
        self.is_inherited = is_inherited
        self.is_tls = certificates is not None
        self.is_unix = sock.family == socket.AF_UNIX
        self.admits_named = self.is_unix or bool(certificates and certificates.requires_client_certificate(policy))
        """True if clients have a name: a user of this machine, or a certificate."""
        self.address = f"{'tls:' if self.is_tls else ''}{_format_name(sock)}{policy}"
        """The address as ``--listen`` spells it, without ``tcp:``."""
        self._own_file = os.lstat(sock.getsockname()) if self.is_unix and not is_inherited else None
        """The file of a Unix socket that this process has bound, until it is removed."""

    @property
    def is_exposed(self) -> bool:
        """Return whether clients on other machines can connect without a certificate."""
        if self.admits_named:
            return False
        host = ipaddress.ip_address(self.socket.getsockname()[0].partition("%")[0])
        return not (getattr(host, "ipv4_mapped", None) or host).is_loopback

    def listen(self, backlog: int = BACKLOG) -> None:
        """Begin to listen. Raises ListenError if another server has taken the address since it was bound."""
        if self._own_file is not None and not self._has_own_file:
            raise ListenError(
                f"cannot listen on {self.address}: another process has replaced the socket file; "
                f"stop it, or {self._way_out}"
            )
        if self.is_inherited:
            return
        try:
            self.socket.listen(backlog)
        except OSError as error:
            raise _listen_error(self.address, error, self._way_out) from error

    def accept(self) -> tuple[socket.socket | TlsStream, Peer]:
        """Return a connected, non-blocking stream, and its peer.

        Raises BlockingIOError if no client waits, and another OSError for a connection that has ended already: under
        a flood of those, making a client of each would take longer than the flood takes to open it. A policy on
        certificates is enforced by the stream's handshake.
        """
        sock, address = self.socket.accept()
        sock.setblocking(False)
        try:
            if not sock.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError("end of file")
        except BlockingIOError:
            pass  # nothing has arrived yet
        except OSError:
            sock.close()
            raise
        if self.is_unix:
            peer = self._unix_peer(sock)
        else:
            peer = Peer(format_address(address), host_of(address[0]), self.address, self.policy)
        return (sock if self._certificates is None else self._certificates.wrap(sock, peer)), peer

    def _unix_peer(self, sock: socket.socket) -> Peer:
        """Return a peer on a Unix socket, which has credentials in place of an address."""
        try:
            process, user, group = _integers(sock, _SO_PEERCRED, _CREDENTIALS_BYTES)
        except OSError:
            return Peer(f"a client on {self.address}", "unknown user", self.address, self.policy)
        groups = {group}
        with contextlib.suppress(OSError):  # Linux before 4.13, and other systems
            groups.update(_integers(sock, _SO_PEERGROUPS, _GROUPS_BYTES_MAX))
        names = (f"uid={user}", *(f"gid={each}" for each in sorted(groups)))
        return Peer(f"uid {user} pid {process} on {self.address}", f"uid {user}", self.address, self.policy, names)

    def close(self) -> None:
        """Stop listening, and remove the file of a Unix socket that this process has bound."""
        if self._has_own_file:
            with contextlib.suppress(OSError):
                os.unlink(self.socket.getsockname())
        self._own_file = None  # once removed, a later file may have the same identity
        self.socket.close()

    @property
    def _has_own_file(self) -> bool:
        """Return whether the file that it has created is still there, and not replaced."""
        try:
            return self._own_file is not None and os.path.samestat(self._own_file, os.lstat(self.socket.getsockname()))
        except OSError:
            return False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.socket.fileno()


def _integers(sock: socket.socket, option: int, bytes_max: int) -> Sequence[int]:
    # Unsigned: the number of a user or group may be above 2^31.
    return array("I", sock.getsockopt(socket.SOL_SOCKET, option, bytes_max))


def bind(address: ListenAddress, certificates: Certificates | None = None, way_out: str = _WAY_OUT) -> Listener:
    """Return a listener bound to ``address``, which does not listen yet.

    Raises ListenError, whose message ends with ``way_out``; also if the address needs certificates and has none.
    """
    place, policy = address.place, address.policy
    used_certificates = select_certificates(address, certificates, policy, is_tls=place.is_tls, way_out="use tcp:")
    try:
        sock = _bind_unix(place.path) if isinstance(place, UnixAddress) else _bind_internet(place.host, place.port)
        return Listener(sock, used_certificates, policy=policy, way_out=way_out)
    except OSError as error:
        raise _listen_error(address, error, way_out) from error


def check_address(address: ListenAddress, certificates: Certificates | None = None, way_out: str = _WAY_OUT) -> None:
    """Raise the ListenError with which :func:`bind` would fail, except if the address is merely in use.

    A Unix socket is not created, because that would replace the file of a server that has just stopped.
    """
    try:
        if isinstance(address.place, UnixAddress):
            _check_unix_path(address.place.path)
        else:
            bind(address, certificates, way_out).close()
    except OSError as error:
        raise _listen_error(address, error, way_out) from error
    except ListenError as error:
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE):
            raise


def select_certificates(
    place: object, certificates: Certificates | None, policy: AccessPolicy, *, is_tls: bool, way_out: str
) -> Certificates | None:
    """Return the certificates of a listener at ``place``. Raises ListenError if it needs others."""
    if is_tls and certificates is None:
        raise ListenError(f"cannot listen on {place}: TLS needs a certificate; name one with --tls-cert, or {way_out}")
    if policy.requires_certificate and not (
        is_tls and certificates is not None and certificates.requires_client_certificate(policy)
    ):
        raise ListenError(
            f"cannot listen on {place}: subject and issuer need TLS with client certificates; "
            "name their authorities with --tls-client-ca"
        )
    return certificates if is_tls else None


# The following functions raise OSError.


def _bind_internet(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except UnicodeError as error:
        raise OSError(errno.EINVAL, "not a host name") from error
    sock = socket.socket(family, kind, protocol)
    # A restart need not wait for the connections of the previous process; two servers still exclude each other.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # [::] means IPv6 alone on every system, so that 0.0.0.0 can be bound beside it.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return _bound(sock, address)


def _bind_unix(path: str) -> socket.socket:
    _remove_stale_socket(path)
    # The umask belongs to the whole process, so this runs before other threads start. A chmod after the bind would
    # leave a moment in which anyone could connect.
    previous = os.umask(0o777 & ~UNIX_MODE)
    try:
        return _bound(socket.socket(socket.AF_UNIX), path)
    finally:
        os.umask(previous)


def _bound(sock: socket.socket, address: tuple[object, ...] | str) -> socket.socket:
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale_socket(path: str) -> None:
    """Remove the socket file of a dead server at ``path``. The one of a live server stays, so that bind fails."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):  # the latter is a live server with a full backlog
        _reject_other_file(path)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:  # no process listens
                os.unlink(path)


def _check_unix_path(path: str) -> None:
    directory = os.path.dirname(path) or "."
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f"the directory {directory} is missing or not writable")
    with contextlib.suppress(FileNotFoundError):
        _reject_other_file(path)


def _reject_other_file(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.ENOTSOCK, "the file there is not a socket")


def _format_name(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX:
        return format_address(name)
    if isinstance(name, bytes):  # Linux's abstract sockets: a zero byte, then a name
        name = f"@{os.fsdecode(name[1:])}"
    return f"unix:{name}"


def _listen_error(address: object, error: OSError, way_out: str) -> ListenError:
    place, advice = str(address).removeprefix("tcp:"), _ADVICE.get(error.errno or 0, "")
    return ListenError(f"cannot listen on {place}: {error.strerror}; {advice}{way_out}")
