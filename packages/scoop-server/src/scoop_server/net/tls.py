"""TLS: the server's certificates, and a stream with the interface of a socket.

OpenSSL works on buffers in memory, and the stream moves bytes between them and the socket. So OpenSSL never blocks,
one call reads a bounded number of bytes, and a read takes one system call however many records have arrived.
"""

import contextlib
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final, NoReturn

from scoop_server.config.access import AccessPolicy
from scoop_server.config.peer import Peer
from scoop_server.errors import CertificateError
from scoop_server.net.x509 import expiries, identify, names_in, rejection, revoked_certificates

_RECORD_BYTES_MAX: Final = 16_384
"""The longest plaintext of one TLS record (RFC 8446, section 5.1)."""

_REACTION_BYTES_MAX: Final = 65_536
"""Unsent alerts and key updates that a peer may have caused; a correct client never gets near this."""

_LIST_ADVICE: Final = "it must be PEM, name one with --tls-crl"


class Certificates:
    """The server's certificate and the authorities of clients, read from PEM files.

    Without ``key`` the private key is in ``cert``. With ``client_ca`` a client must present a certificate issued by one
    of the authorities in that file, and with ``crl`` one that its list does not revoke. Raises CertificateError.
    """

    def __init__(self, cert: Path, key: Path | None, client_ca: Path | None, crl: Path | None = None) -> None:
        self.path = cert
        self._key = key
        self._client_ca = client_ca
        self._crl = crl
        self.reload()

    def reload(self) -> None:
        """Read the files again, for new connections. If it raises CertificateError, the previous ones stay in use."""
        paths = filter(None, (self.path, self._key, self._client_ca, self._crl))
        texts = {path: _read(path) for path in paths}
        anonymous, verifying = self._load_context(None), self._load_context(self._client_ca)
        # OpenSSL has read the files again, so what it has accepted may not be in these texts.
        with _explaining(f"use the certificate {self.path}", "it must be PEM"):
            expires_at = min(expiries(texts[self.path]))
        with _explaining(f"use the revocation list {self._crl}", _LIST_ADVICE):
            self._revoked = frozenset() if self._crl is None else revoked_certificates(texts[self._crl])
        self._anonymous, self._verifying = anonymous, verifying
        self.expires_at = expires_at
        """The Unix time at which the first of the server's certificates expires. May be read in any thread."""

    def is_revoked(self, certificate: bytes) -> bool:
        """Return whether a client certificate, named by its issuer and serial number, has been revoked."""
        return certificate in self._revoked

    def requires_client_certificate(self, policy: AccessPolicy) -> bool:
        """Return whether a client of a listener with ``policy`` must present a certificate."""
        return self._client_ca is not None and not policy.is_anonymous

    def wrap(self, sock: socket.socket, peer: Peer) -> "TlsStream":
        """Return the server's side of TLS over a connected socket, for a client that the policy of ``peer`` accepts."""
        context = self._verifying if self.requires_client_certificate(peer.policy) else self._anonymous
        return TlsStream(sock, context, peer)

    def _load_context(self, client_ca: Path | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._load_key_pair(context)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            # Trust each certificate in the file as it is, also one whose issuer is not in the file.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            with _explaining(f"use the authorities in {client_ca}", "the file must be PEM"):
                context.load_verify_locations(client_ca)
            if self._crl is not None:
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
                with _explaining(f"use the revocation list {self._crl}", _LIST_ADVICE):
                    context.load_verify_locations(self._crl)
        return context

    def _load_key_pair(self, context: ssl.SSLContext) -> None:
        key = self._key or self.path

        def reject_passphrase() -> NoReturn:
            raise CertificateError(
                f"cannot use the key in {key}: it is encrypted; store it without a passphrase, for its owner only"
            )

        with _explaining(
            f"use the certificate {self.path} with the key in {key}", "both must be PEM, and belong together"
        ):
            context.load_cert_chain(self.path, self._key, reject_passphrase)


@contextlib.contextmanager
def _explaining(what: str, advice: str) -> Iterator[None]:
    """Raise the error for which the server cannot do ``what`` as CertificateError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot {what}: {_explain(error)}; {advice}") from error


def _read(path: Path) -> str:
    """Return the contents of a PEM file. Raises CertificateError if ``path`` is not a readable regular file."""
    with _explaining(f"read {path}", "check its path, and that the server's user may read it"):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block all clients
            raise CertificateError(f"cannot read {path}: not a regular file; name a PEM file")
        return path.read_text(encoding="ascii", errors="replace")


@dataclass(eq=False, slots=True)
class TlsStream:
    """The server's side of one TLS connection, with the interface of a socket.

    An error in the peer's TLS raises ConnectionAbortedError, after an alert has been sent to the peer. The state of
    OpenSSL is created when the peer's first bytes arrive, so a silent connection costs little.
    """

    _socket: socket.socket
    _context: ssl.SSLContext | None
    """None once the state of OpenSSL exists."""
    peer: Peer
    _incoming: ssl.MemoryBIO = field(init=False)
    _outgoing: ssl.MemoryBIO = field(init=False)
    _tls: ssl.SSLObject = field(init=False)
    _ciphertext: bytes = b""
    """Encrypted bytes that were taken out of ``_outgoing`` and not sent yet."""
    _taken: int = 0
    """Number of bytes offered to the next :meth:`send` that are encrypted already."""
    _is_shut: bool = False

    def handshake(self) -> int:
        """Advance the handshake; return the events to wait for, or 0 once it is complete.

        Raises OSError if it fails.
        """
        # Bytes after the handshake must stay in the socket, because only there they wake the event loop for the
        # client. So peek at the socket, and then consume only what OpenSSL has used.
        try:
            arrived = self._socket.recv(_RECORD_BYTES_MAX, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            arrived = b""
        else:
            if not arrived:
                raise ConnectionResetError("the client disconnected before the handshake was complete")
        if self._context is not None:
            if not arrived:
                return EVENT_READ
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._context = None
        self._incoming.write(arrived)
        awaited = 0
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            awaited = EVENT_READ
        except ssl.SSLError as error:
            self._socket.recv(len(arrived))  # closing over unread bytes would reset the connection, and lose the alert
            self._abort(error)
        self._socket.recv(len(arrived) - self._incoming.pending)
        self._incoming.read()
        if not awaited:
            self._identify_peer()
        return awaited if self._flush() else EVENT_WRITE

    def _identify_peer(self) -> None:
        """Give the peer the names of its certificate; raise ConnectionAbortedError if its policy rejects them."""
        certificate = self._tls.getpeercert() or {}
        if why := rejection(certificate, self.peer.policy):
            raise ConnectionAbortedError(why)
        self.peer.names = names_in(certificate)
        if encoded := self._tls.getpeercert(binary_form=True):
            self.peer.certificate = identify(encoded)

    def recv(self, size: int, /) -> bytes:
        """Return the plaintext that at most ``size`` newly received bytes complete; empty at the end of the stream.

        No plaintext is kept back. An end without a close_notify alert is accepted: the protocol's own newlines show
        which requests are complete.
        """
        arrived = self._socket.recv(size)
        if not arrived or self._is_shut:
            return arrived  # after our own end only the peer's end matters
        self._incoming.write(arrived)
        pieces: list[bytes] = []
        try:
            while self._incoming.pending:
                piece = self._tls.read(_RECORD_BYTES_MAX)
                pieces.append(piece)
                if not piece:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._abort(error)
        if self._outgoing.pending and not self._flush() and self._outgoing.pending > _REACTION_BYTES_MAX:
            raise ConnectionAbortedError("the client does not read the TLS messages that it requests")
        data = b"".join(pieces)
        if not pieces:
            raise BlockingIOError
        if data and not pieces[-1]:
            # The end arrived together with data, so the socket may never become readable again. Shutting the
            # reading side makes it readable, and the next recv return the end.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        return data

    def send(self, data: bytes | bytearray, /) -> int:
        """Return how many bytes of ``data`` were accepted; 0 while the socket accepts none.

        The next call must begin with the bytes that were not accepted; more may follow them.
        """
        taken, self._taken = self._taken, 0
        if not self._flush():
            self._taken = taken
            return 0
        with memoryview(data) as view:
            while taken < len(data):
                try:
                    count = self._tls.write(view[taken : taken + _RECORD_BYTES_MAX])
                except ssl.SSLError as error:
                    self._abort(error)
                if not self._flush():
                    self._taken = count
                    break
                taken += count
        return taken

    def shutdown(self, how: int, /) -> None:
        """Send close_notify, and shut one side. Raises BlockingIOError if it must be repeated once writable."""
        if not self._is_shut:
            self._is_shut = True
            with contextlib.suppress(ssl.SSLWantReadError):  # it also waits for the peer's close_notify
                self._tls.unwrap()
        if not self._flush():
            raise BlockingIOError
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the connection, after a close_notify if it can be sent without waiting."""
        if self._context is None and not self._is_shut:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def _flush(self) -> bool:
        """Send encrypted bytes; return whether the socket accepted all of them."""
        while ciphertext := self._ciphertext or self._outgoing.read():
            try:
                self._ciphertext = ciphertext[self._socket.send(ciphertext) :]
            except (BlockingIOError, InterruptedError):
                self._ciphertext = ciphertext
                return False
        return True

    def _abort(self, error: ssl.SSLError) -> NoReturn:
        """Try to send the alert for ``error``, and raise it as ConnectionAbortedError."""
        with contextlib.suppress(OSError):
            self._flush()
        raise ConnectionAbortedError(_explain(error)) from error


def _explain(error: Exception) -> str:
    """Return the reason of an error of OpenSSL or the system, without its source location.

    >>> _explain(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"))
    'wrong version number'
    """
    return re.sub(r"^\[.*?\] | \(_ssl\.c:[0-9]+\)$", "", str(error.args[-1]))
