"""Listeners: the sockets that accept clients."""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Final

from scoop_server.config.access import UNRESTRICTED, AccessPolicy
from scoop_server.config.addresses import Address, InternetAddress, UnixAddress, format_address
from scoop_server.config.peer import Peer, host_of
from scoop_server.errors import ListenError
from scoop_server.net.tls import Certificates, TlsStream

BACKLOG: Final = 65_535
"""Connections that may wait to be accepted: as many as the system allows (net.core.somaxconn). Once there are more,
the system drops attempts to connect, and a client repeats its attempt after seconds."""

UNIX_MODE: Final = 0o660
"""Permissions of a Unix socket: its user and its group."""

_CREDENTIALS: Final = struct.Struct("3i")
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

    With ``certificates`` it serves TLS. ``policy`` restricts its clients. ``own_file`` is the file of a Unix socket
    that this process has bound. An inherited socket listens already, and continues
    listening in another process after it is closed here.
    """

    def __init__(
        self,
        sock: socket.socket,
        certificates: Certificates | None = None,
        own_file: "OwnFile | None" = None,
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
        self._socket = sock
        self._certificates = certificates
        self._own_file = own_file
        self._way_out = way_out
        self.policy = policy
        self.is_inherited = is_inherited
        self.address = f"{_format_listener(sock, is_tls=certificates is not None)}{policy}"
        """The address as ``--listen`` spells it, without ``tcp:``."""

    @property
    def is_tls(self) -> bool:
        """Return whether it serves TLS."""
        return self._certificates is not None

    @property
    def is_exposed(self) -> bool:
        """Return whether clients on other machines can connect without a certificate."""
        if self._socket.family == socket.AF_UNIX:
            return False
        if self._certificates is not None and self._certificates.requires_client_certificate(self.policy):
            return False
        host = ipaddress.ip_address(self._socket.getsockname()[0].partition("%")[0])
        return not (getattr(host, "ipv4_mapped", None) or host).is_loopback

    def listen(self, backlog: int = BACKLOG) -> None:
        """Begin to listen. Raises ListenError if another server has taken the address since it was bound."""
        if self._own_file is not None and not self._own_file.is_there():
            raise ListenError(
                f"cannot listen on {self.address}: another process has replaced the socket file; "
                f"stop it, or {self._way_out}"
            )
        if self.is_inherited:
            return
        try:
            self._socket.listen(backlog)
        except OSError as error:
            raise _listen_error(self.address, error, self._way_out) from error

    @property
    def listening_socket(self) -> socket.socket:
        """The socket itself, for another event loop."""
        return self._socket

    @property
    def admits_named(self) -> bool:
        """Return whether clients have a name: a user of this machine, or a certificate."""
        is_unix = self._socket.family == socket.AF_UNIX
        return is_unix or (
            self._certificates is not None and self._certificates.requires_client_certificate(self.policy)
        )

    def accept(self) -> tuple[socket.socket | TlsStream, Peer]:
        """Return a connected, non-blocking stream, and its peer.

        Raises BlockingIOError if no client waits, and another OSError for a connection that has ended already: under
        a flood of those, making a client of each would take longer than the flood takes to open it. A policy on
        certificates is enforced by the stream's handshake.
        """
        sock, address = self._socket.accept()
        sock.setblocking(False)
        try:
            if not sock.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError("end of file")
        except BlockingIOError:
            pass  # nothing has arrived yet
        except OSError:
            sock.close()
            raise
        if sock.family == socket.AF_UNIX:
            peer = self._unix_peer(sock)
        else:
            peer = Peer(format_address(address), host_of(address[0]), self.address, self.policy)
        return (sock if self._certificates is None else self._certificates.wrap(sock, self.policy)), peer

    def _unix_peer(self, sock: socket.socket) -> Peer:
        """Return a peer on a Unix socket, which has credentials in place of an address."""
        try:
            process, user, group = _CREDENTIALS.unpack(
                sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _CREDENTIALS.size)
            )
        except OSError:
            return Peer(f"a client on {self.address}", "unknown user", self.address, self.policy)
        groups = {group, *_supplementary_groups(sock)}
        names = (f"uid={user}", *(f"gid={each}" for each in sorted(groups)))
        return Peer(f"uid {user} pid {process} on {self.address}", f"uid {user}", self.address, self.policy, names)

    def close(self) -> None:
        """Stop listening, and remove the file of a Unix socket that this process has bound."""
        own_file, self._own_file = self._own_file, None  # once removed, a later file may have the same identity
        if own_file is not None:
            own_file.remove()
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()


def _supplementary_groups(sock: socket.socket) -> Sequence[int]:
    try:
        return array("i", sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES_MAX))
    except OSError:  # Linux before 4.13, and other systems
        return ()


class OwnFile:
    """The file that this process has just created at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = self._read_identity()

    def is_there(self) -> bool:
        """Return whether the file at the path is still that one."""
        return self._identity is not None and self._read_identity() == self._identity

    def remove(self) -> None:
        """Remove the file, unless it has been replaced."""
        if self.is_there():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _read_identity(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def bind(address: Address, certificates: Certificates | None = None, way_out: str = _WAY_OUT) -> Listener:
    """Return a listener bound to ``address``, which does not listen yet.

    Raises ListenError, whose message ends with ``way_out``; also if the address needs certificates and has none.
    """
    used_certificates = certificates if isinstance(address, InternetAddress) and address.is_tls else None
    if isinstance(address, InternetAddress) and address.is_tls and certificates is None:
        raise ListenError(f"cannot listen on {address}: TLS needs a certificate; name one with --tls-cert, or use tcp:")
    check_policy(address, address.policy, used_certificates)
    own_file = None
    try:
        if isinstance(address, UnixAddress):
            sock = _bind_unix(address.path)
            own_file = OwnFile(address.path)
        else:
            sock = _bind_internet(address.host, address.port)
    except OSError as error:
        raise _listen_error(address, error, way_out) from error
    return Listener(sock, used_certificates, own_file, policy=address.policy, way_out=way_out)


def check_address(address: Address, certificates: Certificates | None = None, way_out: str = _WAY_OUT) -> None:
    """Raise the ListenError with which :func:`bind` would fail, except if the address is merely in use.

    A Unix socket is not created, because that would replace the file of a server that has just stopped.
    """
    try:
        if isinstance(address, UnixAddress):
            _check_unix_path(address.path)
        else:
            bind(address, certificates, way_out).close()
    except OSError as error:
        raise _listen_error(address, error, way_out) from error
    except ListenError as error:
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE):
            raise


def check_policy(address: object, policy: AccessPolicy, certificates: Certificates | None) -> None:
    """Raise ListenError if ``policy`` restricts client certificates and ``certificates`` require none."""
    if policy.requires_certificate and not (certificates and certificates.requires_client_certificate(policy)):
        raise ListenError(
            f"cannot listen on {address}: subject and issuer need TLS with client certificates; "
            "name their authorities with --tls-client-ca"
        )


# The following functions raise OSError.


def _bind_internet(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except UnicodeError as error:
        raise OSError(errno.EINVAL, "not a host name") from error
    sock = socket.socket(family, kind, protocol)
    try:
        # A restart need not wait for the connections of the previous process; two servers still exclude each other.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] means IPv6 alone on every system, so that 0.0.0.0 can be bound beside it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    _remove_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX)
    # The umask belongs to the whole process, so this runs before other threads start. A chmod after the bind would
    # leave a moment in which anyone could connect.
    previous = os.umask(0o777 & ~UNIX_MODE)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(previous)
    return sock


def _remove_stale_socket(path: str) -> None:
    """Remove the socket file of a dead server at ``path``."""
    try:
        _reject_other_file(path)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:  # no process listens
        with contextlib.suppress(OSError):  # bind reports why it is still there
            os.unlink(path)
        return
    except BlockingIOError:
        pass  # a live server with a full backlog
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _check_unix_path(path: str) -> None:
    directory = os.path.dirname(path) or "."
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f"the directory {directory} is missing or not writable")
    with contextlib.suppress(FileNotFoundError):
        _reject_other_file(path)


def _reject_other_file(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.ENOTSOCK, "the file there is not a socket")


def _format_listener(sock: socket.socket, *, is_tls: bool) -> str:
    scheme = "tls:" if is_tls else ""
    if sock.family != socket.AF_UNIX:
        return f"{scheme}{format_address(sock.getsockname())}"
    path = sock.getsockname()
    if isinstance(path, bytes):  # Linux's abstract sockets: a zero byte, then a name
        path = f"@{os.fsdecode(path[1:])}"
    return f"{scheme}unix:{path}"


def _listen_error(address: object, error: OSError, way_out: str) -> ListenError:
    place, advice = str(address).removeprefix("tcp:"), _ADVICE.get(error.errno or 0, "")
    return ListenError(f"cannot listen on {place}: {error.strerror}; {advice}{way_out}")
