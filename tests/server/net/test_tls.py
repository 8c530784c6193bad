"""TLS under the event loop: real TCP sockets, and a peer that sends exactly the bytes that a test chooses."""

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from selectors import EVENT_READ
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import serialization

from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer
from scoop_server.errors import CertificateError
from scoop_server.net.tls import Certificates, TlsStream

from tests.support.certificates import CertificateFiles, TlsPeer
from tests.support.event_loop import ANSWER, QUERY, Loop

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateFiles.make(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


def remote() -> Peer:
    return Peer("192.0.2.1:1", "192.0.2.1", "tls:127.0.0.1:1")


class Wire:
    """A loop, and the client's end of a TLS connection to it."""

    def __init__(
        self,
        files: CertificateFiles,
        limits: Limits | None = None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        buffer_bytes: int = 0,
    ) -> None:
        self._resources = ExitStack()
        self.loop = self._resources.enter_context(Loop(limits))
        certificates = Certificates(files.server_cert, files.server_key, None)
        near, far = self._connect(buffer_bytes)
        self.stream = certificates.wrap(near, remote())
        self.loop.listeners[0].add(self.stream)
        context = files.client_context()
        context.maximum_version = version
        self.peer = TlsPeer(far, context)
        self.loop.turn()

    def _connect(self, buffer_bytes: int) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far = self._resources.enter_context(socket.socket())
            if buffer_bytes:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            far.connect(listener.getsockname())
            near = self._resources.enter_context(listener.accept()[0])
        if buffer_bytes:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    def send(self, data: bytes) -> None:
        assert self.peer.socket.send(data) == len(data)
        self.loop.turn()

    def send_until_it_waits(self, data: bytes) -> bytes:
        """Send and take turns until the server accepts no more; return the unsent rest."""
        while True:
            with contextlib.suppress(BlockingIOError):
                data = data[self.peer.socket.send(data) :]
            self.loop.turn()
            if not self.loop.selector.ready_count:
                return data

    def receive(self) -> bool:
        """Feed everything received to the peer's TLS; return whether the connection has ended."""
        while True:
            try:
                arrived = self.peer.socket.recv(100_000)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            if not arrived:
                return True
            self.peer.feed(arrived)

    def received(self) -> tuple[bytes, bool]:
        """Return the received plaintext, and whether a close_notify was received."""
        self.receive()
        return self.peer.decrypt()

    def shake_hands(self, and_send: bytes = b"") -> None:
        """Complete the handshake; send its last message together with ``and_send``."""
        self.send(self.peer.begin())
        self.loop.turn()
        for _ in range(10):
            self.receive()
            if self.peer.continue_handshake():
                break
            self.send(self.peer.encrypt(b""))
            self.loop.turn()
        self.send(self.peer.encrypt(and_send))
        self.loop.turn()

    def fill_up(self, sends_left: int) -> "FullSocket":
        """Let the server's socket accept only ``sends_left`` more sends."""
        filling = FullSocket(self.stream._socket, sends_left)
        self.stream._socket = filling  # type: ignore[assignment]  # a socket except for send
        return filling

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


@pytest.fixture(params=VERSIONS, ids=lambda version: str(version.name))
def wire(files: CertificateFiles, request: pytest.FixtureRequest) -> Iterator[Wire]:
    with Wire(files, version=request.param) as wire:
        yield wire


# Records


def test_requests_are_answered(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(wire.peer.encrypt(QUERY + b"INDEX|a|\n" + QUERY))
    assert wire.received() == (b"FAIL\nOK\nOK\n", False)


def test_a_handshake_and_requests_may_arrive_byte_by_byte(wire: Wire) -> None:
    for byte in wire.peer.begin():
        wire.send(bytes([byte]))
    wire.receive()
    while not wire.peer.continue_handshake():
        for byte in wire.peer.encrypt(b""):
            wire.send(bytes([byte]))
        wire.receive()
    for byte in wire.peer.encrypt(QUERY + QUERY):
        assert wire.received() == (b"", False)
        wire.send(bytes([byte]))
    assert wire.received() == (ANSWER * 2, False)


class CountingContext(ssl.SSLContext):
    """A context that counts the connections for which OpenSSL has a state."""

    count = 0

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        self.count += 1
        return super().wrap_bio(*arguments, **options)


def test_a_silent_connection_costs_no_state_of_openssl() -> None:
    """An attacker opens thousands of them a second."""
    context = CountingContext(ssl.PROTOCOL_TLS_SERVER)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        stream = TlsStream(near, context, remote())
        assert stream.handshake() == EVENT_READ
        assert context.count == 0
        far.send(b"\x16")
        assert stream.handshake() == EVENT_READ
        assert context.count == 1


def test_a_silent_connection_is_closed_without_an_alert() -> None:
    near, far = socket.socketpair()
    with far:
        TlsStream(near, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), remote()).close()
        assert far.recv(100) == b""


def test_a_request_in_the_same_read_as_the_end_of_the_handshake_is_answered(files: CertificateFiles) -> None:
    with Wire(files) as wire:
        wire.shake_hands(and_send=QUERY)
        assert wire.received() == (ANSWER, False)


def test_records_that_arrive_together_are_one_batch(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(b"".join(wire.peer.encrypt(b"INDEX|a%d|\n" % number) for number in range(100)))
    assert wire.received() == (b"OK\n" * 100, False)
    assert [len(commit) for commit in wire.loop.store.commits] == [100]


def test_a_stream_longer_than_one_read_is_answered_completely(files: CertificateFiles) -> None:
    limits = Limits(read_bytes_max=100_000)
    lines = QUERY * 30_000
    with Wire(files, limits) as wire:
        wire.shake_hands()
        data = wire.peer.encrypt(lines)
        answers = b""
        sent = 0
        while len(answers) < len(ANSWER) * 30_000:
            with contextlib.suppress(BlockingIOError):
                sent += wire.peer.socket.send(data[sent:])
            wire.loop.turn()
            answers += wire.received()[0]
        assert answers == ANSWER * 30_000


# Answers


def test_a_client_that_stops_reading_causes_backpressure_and_gets_all_answers_later(files: CertificateFiles) -> None:
    lines = b"INDEX|a|\nx\n" * 50_000 + b"INDEX|last|\n"
    with Wire(files, Limits(output_bytes_high_water=50_000), buffer_bytes=10_000) as wire:
        wire.shake_hands()
        data = wire.send_until_it_waits(wire.peer.encrypt(lines))
        assert "last" not in wire.loop.graph, "there was no backpressure"
        answers = b""
        expected = b"OK\nERROR\n" * 50_000 + b"OK\n"
        while len(answers) < len(expected):
            answers += wire.received()[0]
            data = wire.send_until_it_waits(data)
        assert answers == expected


def test_the_loop_sleeps_while_nothing_can_be_sent(files: CertificateFiles) -> None:
    with Wire(files, Limits(output_bytes_high_water=1_000), buffer_bytes=5_000) as wire:
        wire.shake_hands()
        for _ in range(50):
            with contextlib.suppress(BlockingIOError):
                wire.send(wire.peer.encrypt(b"\n" * 1_000))
        wire.loop.turn(20)
        assert wire.loop.selector.ready_count == 0


# Ends


def test_a_close_notify_together_with_a_request_is_answered_with_the_response_and_close_notify(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(wire.peer.encrypt(QUERY) + wire.peer.encrypted_end())
    wire.loop.turn(2)
    assert wire.received() == (ANSWER, True)
    assert wire.receive()


def test_a_later_close_notify_is_answered_with_close_notify(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(wire.peer.encrypt(QUERY))
    wire.send(wire.peer.encrypted_end())
    wire.loop.turn()
    assert wire.received() == (ANSWER, True)


def test_a_close_notify_under_backpressure_is_answered_after_all_responses(files: CertificateFiles) -> None:
    count = 30_000
    with Wire(files, Limits(output_bytes_high_water=500_000), buffer_bytes=10_000) as wire:
        wire.shake_hands()
        data = wire.peer.encrypt(b"\n" * count) + wire.peer.encrypted_end()
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[wire.peer.socket.send(data) :]
            wire.loop.turn()
        wire.loop.turn(10)
        answers, is_over, has_ended = b"", False, False
        while not is_over:
            some, has_ended = wire.received()
            answers += some
            wire.loop.turn()
            is_over = wire.receive()
        answers += wire.peer.decrypt()[0] if not has_ended else b""
        assert answers == b"ERROR\n" * count
        assert wire.peer.decrypt()[1], "the connection ended without a close_notify"


class FullSocket:
    """A socket that accepts ``sends_left`` more sends, and then nothing."""

    def __init__(self, sock: socket.socket, sends_left: int) -> None:
        self._socket = sock
        self.sends_left = sends_left

    def send(self, data: bytes, /) -> int:
        if not self.sends_left:
            raise BlockingIOError
        self.sends_left -= 1
        return self._socket.send(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)


def test_a_close_notify_waits_until_the_socket_is_writable(wire: Wire) -> None:
    wire.shake_hands()
    filling = wire.fill_up(sends_left=1)
    wire.send(wire.peer.encrypt(QUERY) + wire.peer.encrypted_end())
    wire.loop.turn(5)
    assert wire.received() == (ANSWER, False)
    assert not wire.receive()
    filling.sends_left = 1
    wire.loop.turn()
    assert wire.received() == (b"", True)
    assert wire.receive()


def test_an_end_without_a_close_notify_is_accepted(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.shake_hands()
    wire.send(wire.peer.encrypt(b"INDEX|a|\n"))
    wire.peer.socket.shutdown(socket.SHUT_WR)
    wire.loop.turn(2)
    assert wire.received() == (b"OK\n", True)
    assert "end of file" in caplog.text


def test_a_shutdown_sends_a_close_notify(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(wire.peer.encrypt(QUERY))
    wire.loop.signal()
    wire.loop.run_until_stopped()
    assert wire.received() == (ANSWER, True)


# Errors of one client


def test_an_invalid_record_closes_its_connection_only(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    healthy = wire.loop.connect()
    wire.shake_hands()
    wire.send(b"\x17\x03\x03\x00\x20" + b"!" * 32)
    wire.loop.turn()
    assert wire.receive()
    assert "record" in caplog.text
    healthy.send(QUERY)
    wire.loop.turn()
    assert healthy.received() == ANSWER


def test_a_plain_request_after_the_handshake_closes_the_connection(wire: Wire) -> None:
    wire.shake_hands()
    wire.send(QUERY)
    wire.loop.turn()
    assert wire.receive()
    assert len(wire.loop.graph) == 0


def test_unread_alerts_are_bounded(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.shake_hands()
    wire.fill_up(sends_left=0)
    wire.stream._outgoing.write(b"?" * 60_000)  # as OpenSSL does for an alert
    wire.send(wire.peer.encrypt(b"QUERY|"))
    assert not wire.receive()
    for _ in range(2):
        wire.stream._outgoing.write(b"?" * 60_000)
        wire.send(wire.peer.encrypt(b"a|"))
    assert "the client does not read the TLS messages that it requests" in caplog.text


# Certificates


def refusal(cert: Path, key: Path | None = None, client_ca: Path | None = None) -> str:
    with pytest.raises(CertificateError) as refused:
        Certificates(cert, key, client_ca)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_unusable_file_is_named_with_the_reason(files: CertificateFiles, tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.pem", tmp_path / "text.pem"
    text.write_text("not PEM\n")
    for arguments in (
        (missing, files.server_key),
        (files.server_cert, missing),
        (files.server_cert, files.server_key, missing),
    ):
        assert refusal(*arguments).startswith(f"cannot read {missing}: No such file or directory; ")
    together = "; both must be PEM, and belong together"
    pair = f"cannot use the certificate {text} with the key in {files.server_key}: "
    assert refusal(text, files.server_key).startswith(pair)
    assert refusal(files.server_cert, text).endswith(together)
    mismatch = refusal(files.server_cert, files.client_cert)
    assert mismatch.endswith(f"the key in {files.client_cert}: key values mismatch{together}")
    assert refusal(files.server_cert).endswith(together)  # without a key in the same file
    assert refusal(files.server_cert, files.server_key, text).startswith(f"cannot use the authorities in {text}: ")


def test_anything_but_a_regular_file_is_rejected_unopened(files: CertificateFiles, tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link.pem"
    os.mkfifo(fifo)  # opening it would block
    link.symlink_to(fifo)
    for path in (tmp_path, fifo, link):
        for arguments in (
            (path, files.server_key),
            (files.server_cert, path),
            (files.server_cert, files.server_key, path),
        ):
            assert refusal(*arguments) == f"cannot read {path}: not a regular file; name a PEM file"


def test_a_key_may_be_in_the_file_of_its_certificate(files: CertificateFiles) -> None:
    Certificates(files.client_cert, None, None)


def test_an_encrypted_key_is_rejected_without_a_prompt(files: CertificateFiles, tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.pem"
    key = serialization.load_pem_private_key(files.server_key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    encrypted.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"passphrase")))
    assert refusal(files.server_cert, encrypted).startswith(f"cannot use the key in {encrypted}: it is encrypted; ")


@pytest.mark.parametrize("failing", ["load_cert_chain", "load_verify_locations"])
def test_a_file_that_changes_while_it_is_read_is_a_certificate_error(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    certificates = Certificates(files.server_cert, files.server_key, files.authority)

    def fail(*_: object) -> None:
        raise OSError(29, "Illegal seek")

    monkeypatch.setattr(ssl.SSLContext, failing, fail)
    with pytest.raises(CertificateError, match="Illegal seek"):
        certificates.reload()
