"""Certificates for tests, and the client's side of TLS, record by record."""

import contextlib
import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.process import WAIT_SECONDS

HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class CertificateFiles:
    """The files of an authority and of the certificates of a server and a client that it issued, in PEM."""

    authority: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    """Certificate and key in one file."""

    @classmethod
    def make(cls, directory: Path, authority: trustme.CA | None = None) -> Self:
        """Create them all in the new ``directory``, issued by ``authority`` or a new one."""
        directory.mkdir()
        files = cls.existing(directory)
        authority = authority or trustme.CA()
        authority.cert_pem.write_to_path(files.authority)
        server = authority.issue_cert(HOST, "::1", "localhost")
        server.cert_chain_pems[0].write_to_path(files.server_cert)
        server.private_key_pem.write_to_path(files.server_key)
        files.server_key.chmod(0o600)
        authority.issue_cert("builder@scoop.test").private_key_and_cert_chain_pem.write_to_path(files.client_cert)
        return files

    @classmethod
    def existing(cls, directory: Path) -> Self:
        """Return those of ``directory``."""
        return cls(*(directory / f"{name}.pem" for name in ("authority", "server", "server-key", "client")))

    @property
    def server_arguments(self) -> tuple[str, ...]:
        """Flags of a server with the certificate."""
        return ("--tls-cert", str(self.server_cert), "--tls-key", str(self.server_key))

    @property
    def mutual_arguments(self) -> tuple[str, ...]:
        """Flags of a server with the certificate that requires client certificates."""
        return (*self.server_arguments, "--tls-client-ca", str(self.authority))

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts the authority, and presents ``certificate`` if given."""
        context = ssl.create_default_context(cafile=self.authority)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


def revocation_list(authority: trustme.CA, *certificates: trustme.LeafCert) -> str:
    """Return the list of ``authority`` that revokes ``certificates``, in PEM."""
    now = dt.datetime.now(dt.UTC)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(now - dt.timedelta(days=1)).next_update(now + dt.timedelta(days=1))
    for each in certificates:
        serial = x509.load_pem_x509_certificate(each.cert_chain_pems[0].bytes()).serial_number
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        )
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class TlsPeer:
    """The client's end of a TLS connection, record by record, over a socket that it does not own."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)

    def encrypt(self, data: bytes) -> bytes:
        """Return the records of ``data``, after any that are pending."""
        if data:
            self._tls.write(data)
        return self._outgoing.read()

    def encrypted_end(self) -> bytes:
        """Return the ``close_notify`` alert."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def begin(self) -> bytes:
        """Return the first message of the handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def feed(self, arrived: bytes) -> None:
        """Add received bytes."""
        self._incoming.write(arrived)

    def continue_handshake(self) -> bool:
        """Continue the handshake; return whether it is complete on this side."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self) -> tuple[bytes, bool]:
        """Return the data of all complete records, and whether ``close_notify`` was among them."""
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(100_000):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(pieces), True

    # Over a blocking socket

    def shake_hands(self) -> None:
        """Complete the handshake, waiting for the server."""
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.sendall(self.begin())
        while not self.continue_handshake():
            self._receive()
        self.socket.sendall(self._outgoing.read())

    def read_to_end(self) -> bytes:
        """Return all data until ``close_notify``. Raises AssertionError if the connection ends without it."""
        received = b""
        while True:
            data, has_ended = self.decrypt()
            received += data
            if has_ended:
                return received
            self._receive()

    def _receive(self) -> None:
        arrived = self.socket.recv(100_000)
        assert arrived, "the connection ended without close_notify"
        self.feed(arrived)
