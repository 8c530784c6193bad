"""Where clients connect: the sockets that the server listens on."""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import struct
from typing import Final

from scoop_server.config.addresses import Address, InternetAddress, UnixAddress, format_address
from scoop_server.errors import ListenError
from scoop_server.loop.client import StreamSocket
from scoop_server.net.tls import Certificates

_BACKLOG: Final = 4_096
"""Connections that wait to be accepted: a burst of thousands is taken in a few turns, and the system caps it."""

_UNIX_MODE_MASK: Final = 0o117
"""What a Unix socket's mode is without: everything for others, and execution, which means nothing: 0660."""

_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group of a peer, as SO_PEERCRED gives them."""


_WAY_OUT: Final = "name another address with --listen, --host or --port"


class Listener:
    """One socket to accept connections from, bound or listening, which it makes non-blocking.

    With ``certificates`` it serves TLS. ``own_file`` is the file of a Unix socket that this process has bound.
    One that is inherited listens already, and others go on listening on it when it is closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        certificates: Certificates | None = None,
        own_file: "OwnFile | None" = None,
        *,
        is_inherited: bool = False,
        way_out: str = _WAY_OUT,
    ) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Accepted sockets inherit both. Answers are short and complete: they leave at once. And the system asks a
            # peer that has long been silent whether it is there, so that one that vanished does not keep its place.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = sock
        self._certificates = certificates
        self._own_file = own_file
        self._way_out = way_out
        self.is_inherited = is_inherited
        self.address = _name(sock, is_tls=certificates is not None)
        """Where it is, as ``--listen`` spells it, but that ``tcp:`` goes without saying."""

    @property
    def is_tls(self) -> bool:
        """Whether it serves TLS."""
        return self._certificates is not None

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can reach it, and no client needs a certificate for that."""
        if self._socket.family == socket.AF_UNIX or (self._certificates is not None and self._certificates.ask_clients):
            return False
        host = ipaddress.ip_address(self._socket.getsockname()[0].partition("%")[0])
        return not (getattr(host, "ipv4_mapped", None) or host).is_loopback

    def listen(self) -> None:
        """Begin to listen, when whoever connects is served at once. Another server may have come first."""
        if self._own_file is not None and not self._own_file.is_there():
            raise ListenError(
                f"cannot listen on {self.address}: another process has put its own socket there; "
                f"stop it, or {self._way_out}"
            )
        if self.is_inherited:
            return
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(self.address, error, self._way_out) from error

    @property
    def listening_socket(self) -> socket.socket:
        """The socket itself, for whoever accepts from it in another way."""
        return self._socket

    def accept(self) -> tuple[StreamSocket, object]:
        """See :class:`~scoop_server.loop.server.ListeningSocket`."""
        sock, address = self._socket.accept()
        peer = self._name_unix_peer(sock) if sock.family == socket.AF_UNIX else address
        return (sock if self._certificates is None else self._certificates.wrap(sock)), peer

    def _name_unix_peer(self, sock: socket.socket) -> str:
        """Return what is known of a process that has connected: it has no address."""
        with contextlib.suppress(OSError, AttributeError):  # not every system tells
            process, user, _ = _CREDENTIALS.unpack(
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            return f"uid {user} pid {process} on {self.address}"
        return f"a client on {self.address}"

    def close(self) -> None:
        """Stop listening; a Unix socket's own file goes with it."""
        own_file, self._own_file = self._own_file, None  # once removed, a later file may look the same
        if own_file is not None:
            own_file.remove()
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()


class OwnFile:
    """The file at ``path``, which this process has just made."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = self._look()

    def is_there(self) -> bool:
        """Whether the file at the path is still that one."""
        return self._identity is not None and self._look() == self._identity

    def remove(self) -> None:
        """Remove it, where it is still there."""
        if self.is_there():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def bind(address: Address, certificates: Certificates | None = None, way_out: str = _WAY_OUT) -> Listener:
    """Return a listener that holds ``address``, and does not listen yet.

    Raises :exc:`ListenError`, which ends with ``way_out``, also where the address asks for TLS and there are no
    certificates.
    """
    match address:
        case UnixAddress(path):
            return _bind_unix(path, way_out)
        case InternetAddress(host, port, is_tls=False):
            return Listener(_bind_internet(address, host, port, way_out), way_out=way_out)
        case InternetAddress(host, port):
            if certificates is None:
                raise ListenError(
                    f"cannot listen on {address}: TLS needs a certificate; name one with --tls-cert, or use tcp:"
                )
            return Listener(_bind_internet(address, host, port, way_out), certificates, way_out=way_out)


def _bind_internet(named: InternetAddress, host: str, port: int, way_out: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(named, error, way_out) from error
    except UnicodeError as error:
        raise _cannot_listen(named, OSError(errno.EINVAL, "it is no host name"), way_out) from error
    try:
        # A restart need not wait for the connections of the process before; a second server still cannot listen.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] is all of IPv6 and nothing else on every system, so that 0.0.0.0 can be listened on beside it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _cannot_listen(named, error, way_out) from error
    return sock


def _bind_unix(path: str, way_out: str) -> Listener:
    _remove_stale_socket(path, way_out)
    sock = socket.socket(socket.AF_UNIX)
    # The mask holds for the whole process, which is why this happens while it has but one thread; a chmod afterwards
    # would come too late for whoever connects in between.
    mask = os.umask(_UNIX_MODE_MASK)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise _cannot_listen(UnixAddress(path), error, way_out) from error
    finally:
        os.umask(mask)
    return Listener(sock, own_file=OwnFile(path), way_out=way_out)


def _remove_stale_socket(path: str, way_out: str) -> None:
    """Remove the socket that a dead server has left at ``path``. Raises :exc:`ListenError` for anything else."""
    address = UnixAddress(path)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ListenError(
                f"cannot listen on {address}: a file is there that is no socket; move it away, or {way_out}"
            )
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:  # no one listens
        with contextlib.suppress(OSError):  # then the bind says why not
            os.unlink(path)
        return
    except BlockingIOError:
        pass  # so many wait to be accepted there that one more must wait for its turn
    except OSError as error:
        raise _cannot_listen(address, error, way_out) from error
    raise _cannot_listen(address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), way_out)


def _name(sock: socket.socket, *, is_tls: bool) -> str:
    if sock.family == socket.AF_UNIX:
        path = sock.getsockname()
        if isinstance(path, bytes):  # one of Linux that has no file, and a NUL byte before its name
            path = f"@{os.fsdecode(path[1:])}"
        return f"{'tls:' if is_tls else ''}unix:{path}"
    return f"{'tls:' if is_tls else ''}{format_address(sock.getsockname())}"


def _cannot_listen(address: object, error: OSError, way_out: str) -> ListenError:
    stop_it = "another process listens there; stop it, or " if error.errno == errno.EADDRINUSE else ""
    place = str(address).removeprefix("tcp:")
    return ListenError(f"cannot listen on {place}: {error.strerror}; {stop_it}{way_out}")
