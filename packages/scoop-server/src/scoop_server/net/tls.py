"""TLS: the server's certificates, and a stream that a client's room cannot tell from a socket.

OpenSSL works on buffers in memory, and the stream carries bytes between these and the socket. So nothing that
OpenSSL wants ever waits, one call reads a bounded number of bytes whatever the peer makes of them, and a read takes
one system call however many records there are.
"""

import contextlib
import re
import socket
import ssl
import stat
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final, NoReturn

from scoop_server.errors import CertificateError
from scoop_server.telemetry.logs import log

_RECORD_BYTES_MAX: Final = 16_384
"""The most that a record of TLS carries (RFC 8446, section 5.1)."""

_REACTION_BYTES_MAX: Final = 65_536
"""Alerts and the like that a peer may have provoked and not taken; an honest one never gets near it."""


class Certificates:
    """Who the server is, and whom it lets in, as the files ``cert``, ``key`` and ``client_ca`` say, all in PEM.

    Without ``key`` the private key stands in ``cert``. With ``client_ca`` a client must show a certificate that
    descends from one of those in there. Raises :exc:`CertificateError`.
    """

    def __init__(self, cert: Path, key: Path | None, client_ca: Path | None) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._context = self._load()

    @property
    def ask_clients(self) -> bool:
        """Whether a client must show a certificate."""
        return self._client_ca is not None

    def wrap(self, sock: socket.socket) -> "TlsStream":
        """Return the server's side of TLS over a connected, non-blocking socket."""
        return TlsStream(sock, self._context)

    def reload(self) -> None:
        """Read the files again, for connections from now on; where they cannot be used, keep what was read before."""
        try:
            self._context = self._load()
        except CertificateError as error:
            log.error("%(why)s; what was read before stays in use", {"why": error})
        else:
            log.info("read the certificate %(path)s again", {"path": self._cert})

    def _load(self) -> ssl.SSLContext:
        key = self._key or self._cert
        for path in filter(None, (self._cert, self._key, self._client_ca)):
            try:
                # To open a pipe would wait for whoever writes into it, and all clients with it.
                if not stat.S_ISREG(path.stat().st_mode):
                    raise CertificateError(f"cannot read {path}: it is no regular file")
                path.read_bytes()
            except OSError as error:
                raise CertificateError(f"cannot read {path}: {error.strerror}") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION

        def refuse_to_ask() -> NoReturn:
            raise CertificateError(
                f"the key in {key} is encrypted; store it without a passphrase, readable by no other"
            )

        try:
            context.load_cert_chain(self._cert, self._key, refuse_to_ask)
        except OSError as error:  # also of OpenSSL, and of files that have changed since they were read above
            raise CertificateError(
                f"cannot use the certificate {self._cert} with the key in {key}: {_explain(error)}; "
                "both must be PEM, and belong together"
            ) from error
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            # Each certificate in the file is trusted as it stands, also one whose own issuer is not in there.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as error:
                raise CertificateError(
                    f"cannot use the certificates in {self._client_ca}: {_explain(error)}; they must be PEM"
                ) from error
        return context


class TlsStream:
    """The server's side of one connection with TLS, in the place of its socket.

    What is wrong with the peer's TLS is a ConnectionAbortedError; the peer has then been sent the reason.
    """

    __slots__ = ("_ciphertext", "_incoming", "_is_shut", "_outgoing", "_socket", "_taken", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ciphertext = b""
        """What is encrypted and no longer in ``_outgoing``, because a send has already been tried."""
        self._taken = 0
        """How many of the bytes that :meth:`send` is offered next are encrypted already."""
        self._is_shut = False

    def handshake(self) -> int:
        """Take the handshake as far as it goes now; return the events to wait for, 0 where it is complete.

        Raises OSError where it fails.
        """
        # What follows the handshake must stay in the socket, because only from there it wakes the event loop for
        # the client. So this looks at what has arrived, and then takes from the socket what OpenSSL has used of it.
        try:
            arrived = self._socket.recv(_RECORD_BYTES_MAX, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            arrived = b""
        else:
            if not arrived:
                raise ConnectionResetError("it ended before it was complete")
        self._incoming.write(arrived)
        awaited = 0
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            awaited = EVENT_READ
        except ssl.SSLError as error:
            self._socket.recv(len(arrived))  # to close a socket over unread bytes would destroy the alert on its way
            self._abort(error)
        self._socket.recv(len(arrived) - self._incoming.pending)
        self._incoming.read()
        return awaited if self._flush() else EVENT_WRITE

    def recv(self, size: int, /) -> bytes:
        """Return what ``size`` bytes that have arrived complete; nothing at the end of the stream.

        Nothing that is decrypted is kept back. A peer that closes without the alert that TLS has for that is
        taken at its word: the protocol's own lines tell what is complete.
        """
        arrived = self._socket.recv(size)
        if not arrived or self._is_shut:
            return arrived  # of what comes after this side's end, only the peer's end counts
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
            raise ConnectionAbortedError("it does not take what its TLS asks for")
        data = b"".join(pieces)
        if not pieces:
            raise BlockingIOError
        if data and not pieces[-1]:
            # The end came along with the data. The kernel has nothing more to tell the event loop, unless it is
            # made to say at the next look, and at any later one, that the end is there.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        return data

    def send(self, data: bytes | bytearray, /) -> int:
        """Return how many bytes of ``data`` were taken; 0 where the socket takes none now.

        Bytes that were not taken must be offered again, first of all; more may stand behind them.
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
        """Say that no more will be sent. Raises BlockingIOError where that must be tried again when it can be sent."""
        if not self._is_shut:
            self._is_shut = True
            with contextlib.suppress(ssl.SSLWantReadError):  # it would like to hear the peer say so too
                self._tls.unwrap()
        if not self._flush():
            raise BlockingIOError
        self._socket.shutdown(how)

    def setblocking(self, flag: bool, /) -> None:
        """See :meth:`socket.socket.setblocking`."""
        self._socket.setblocking(flag)

    def close(self) -> None:
        """Close the connection; where it can be said at once, say that it was no one else who cut it."""
        if not self._is_shut:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def _flush(self) -> bool:
        """Send what is encrypted; return whether the socket has taken all of it."""
        while ciphertext := self._ciphertext or self._outgoing.read():
            try:
                self._ciphertext = ciphertext[self._socket.send(ciphertext) :]
            except (BlockingIOError, InterruptedError):
                self._ciphertext = ciphertext
                return False
        return True

    def _abort(self, error: ssl.SSLError) -> NoReturn:
        """Tell the peer what is wrong, as far as it takes it, and raise it."""
        with contextlib.suppress(OSError):
            self._flush()
        raise ConnectionAbortedError(_explain(error)) from error


def _explain(error: OSError) -> str:
    """Return what OpenSSL says, without where it says it; or what the system says.

    >>> _explain(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"))
    'wrong version number'
    """
    return re.sub(r"^\[.*?\] | \(_ssl\.c:[0-9]+\)$", "", str(error.args[-1]))
