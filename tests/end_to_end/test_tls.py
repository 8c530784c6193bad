"""TLS between a real server and clients that use Python's ssl as any program does."""

import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import pytest
import trustme

from tests.support.certificates import CertificateFiles, TlsPeer
from tests.support.process import WAIT_SECONDS, ServerProcess

LISTEN: Final = ("--memory", "--listen", "tls:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
"""TLS first, and a port without it beside, for a client that must notice nothing."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateFiles.make(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """Certificates of an authority that the server does not know."""
    return CertificateFiles.make(tmp_path_factory.mktemp("tls") / "strangers")


@pytest.fixture
def mutual(files: CertificateFiles) -> Iterator[ServerProcess]:
    with ServerProcess(*LISTEN, *files.mutual_arguments) as server:
        with server.connect(1) as bystander:
            assert bystander.ask("INDEX|a|") == ["OK"]
            yield server
            assert bystander.ask("QUERY|a|") == ["OK"]
        assert server.stop() == 0
        assert not [line for line in server.log_lines if " ERROR " in line or "Traceback" in line]


def is_refused(server: ServerProcess, context: ssl.SSLContext) -> bool:
    """Whether the server ends a connection made with ``context``, at the handshake or before the first answer."""
    try:
        with server.connect(tls=context) as client:
            client.send(b"QUERY|a|\n")
            return not client.read_to_end()
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: str(each.name))
def test_requests_over_tls(files: CertificateFiles, version: ssl.TLSVersion) -> None:
    context = files.client_context()
    context.minimum_version = context.maximum_version = version
    with ServerProcess(*LISTEN, *files.server_arguments) as server, server.connect(tls=context) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        assert client.ask_one_by_one("INDEX|a|", "QUERY|a|", "QUERY|b|", "x") == ["OK", "OK", "FAIL", "ERROR"]


def test_tls_before_1_2_is_refused(files: CertificateFiles) -> None:
    context = files.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with ServerProcess(*LISTEN, *files.server_arguments) as server:
        with pytest.raises(ssl.SSLError):
            server.connect(tls=context)
        server.wait_for_log("the TLS handshake of .* failed: unsupported protocol")


def test_a_client_with_a_certificate_of_the_authority_is_let_in(mutual: ServerProcess, files: CertificateFiles) -> None:
    with mutual.connect(tls=files.client_context(files.client_cert)) as client:
        assert client.ask("QUERY|a|") == ["OK"]


def test_a_client_without_a_certificate_is_not(mutual: ServerProcess, files: CertificateFiles) -> None:
    assert is_refused(mutual, files.client_context())
    mutual.wait_for_log("the TLS handshake of 127.0.0.1:[0-9]+ failed: peer did not return a certificate")


def test_a_client_with_the_certificate_of_another_authority_is_not(
    mutual: ServerProcess, files: CertificateFiles, strangers: CertificateFiles
) -> None:
    assert is_refused(mutual, files.client_context(strangers.client_cert))
    mutual.wait_for_log("the TLS handshake of 127.0.0.1:[0-9]+ failed: certificate verify failed: ")


def test_an_intermediate_authority_lets_in_its_own_clients_and_no_others(
    files: CertificateFiles, tmp_path: Path
) -> None:
    root = trustme.CA()
    intermediate, sibling = root.create_child_ca(), root.create_child_ca()
    authority = tmp_path / "intermediate.pem"
    intermediate.cert_pem.write_to_path(authority)

    def context(issuer: trustme.CA, *, with_chain: bool) -> ssl.SSLContext:
        file = tmp_path / "client.pem"
        issued = issuer.issue_cert("builder@scoop.test")
        pems = [issued.private_key_pem, *issued.cert_chain_pems[: None if with_chain else 1]]
        file.write_bytes(b"".join(pem.bytes() for pem in pems))
        return files.client_context(file)

    arguments = (*files.server_arguments, "--tls-client-ca", str(authority))
    with ServerProcess(*LISTEN, *arguments) as server:
        for with_chain in (False, True):
            with server.connect(tls=context(intermediate, with_chain=with_chain)) as client:
                assert client.ask("QUERY|a|") == ["FAIL"]
            for other in (root, sibling):
                assert is_refused(server, context(other, with_chain=with_chain))


def test_a_client_that_does_not_trust_the_server_goes(mutual: ServerProcess, strangers: CertificateFiles) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        mutual.connect(tls=strangers.client_context(strangers.client_cert))
    mutual.wait_for_log("the TLS handshake of 127.0.0.1:[0-9]+ failed: .*unknown ca")


def test_a_client_that_knows_no_tls_is_closed(mutual: ServerProcess) -> None:
    with mutual.connect() as client:
        client.send(b"INDEX|b|\n")
        client.read_to_end()  # an alert, which it cannot read
        mutual.wait_for_log(f"the TLS handshake of {client.name} failed: ")
    with mutual.connect(1) as client:
        assert client.ask("QUERY|b|") == ["FAIL"]


@pytest.mark.parametrize("garbage", [b"\0" * 1_000, b"\x16\x03\x01\xff\xff" + b"!" * 70_000, b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_that_sends_garbage_is_closed(mutual: ServerProcess, garbage: bytes) -> None:
    with mutual.connect() as client:
        try:
            client.send(garbage)
            client.read_to_end()
        except ConnectionError:
            pass
        mutual.wait_for_log(f"the TLS handshake of {client.name} failed: ")


def test_a_client_that_never_begins_and_one_that_never_ends_its_handshake_are_closed(files: CertificateFiles) -> None:
    arguments = ("--tls-handshake-timeout", "0.1", *files.server_arguments)
    with ServerProcess(*LISTEN, *arguments) as server, server.connect(1) as bystander:
        with server.connect() as silent, server.connect() as slow:
            slow.send(TlsPeer(slow.socket, files.client_context()).begin()[:-1])
            assert silent.read_to_end() == b""
            assert slow.read_to_end() == b""
            server.wait_for_log(f"the TLS handshake of {silent.name} failed: it was incomplete for ")
        assert bystander.ask("QUERY|a|") == ["FAIL"]


def test_a_client_that_has_ended_its_side_reads_all_its_answers_and_the_end(files: CertificateFiles) -> None:
    count = 200_000
    with ServerProcess(*LISTEN, *files.server_arguments) as server, server.connect() as client:
        peer = TlsPeer(client.socket, files.client_context())
        peer.shake_hands()
        data = peer.encrypt(b"QUERY|a|\n" * count) + peer.encrypted_end()
        sender = threading.Thread(target=client.socket.sendall, args=(data,))
        sender.start()
        assert peer.read_to_end() == b"FAIL\n" * count
        sender.join(WAIT_SECONDS)


def test_a_client_that_asks_much_and_reads_late_gets_all_answers(files: CertificateFiles) -> None:
    count = 600_000  # with more answers than the server keeps for a client
    with (
        ServerProcess(*LISTEN, *files.server_arguments) as server,
        server.connect(tls=files.client_context(), receive_buffer_bytes=4_096) as client,
        server.connect(1) as bystander,
    ):
        sender = threading.Thread(target=client.socket.sendall, args=(b"QUERY|a|\n" * count,))
        sender.start()
        for _ in range(100):
            assert bystander.ask("QUERY|a|") == ["FAIL"]
        client.skip_answers(b"FAIL\n", count)
        sender.join(WAIT_SECONDS)
        assert client.ask("QUERY|a|") == ["FAIL"]


def test_a_hundred_clients_ask_in_turn(files: CertificateFiles) -> None:
    context = files.client_context()
    with ServerProcess(*LISTEN, *files.server_arguments) as server, ExitStack() as resources:
        clients = [resources.enter_context(server.connect(tls=context)) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(f"INDEX|package-{number}|\n".encode() * 10)
        for client in clients:
            assert client.read_answers(10) == ["OK"] * 10
        assert server.stop() == 0
        for client in clients:
            assert client.read_to_end() == b""


def test_a_client_that_is_reset_costs_no_one_else(files: CertificateFiles) -> None:
    context = files.client_context()
    with ServerProcess(*LISTEN, *files.server_arguments) as server, server.connect(tls=context) as healthy:
        with server.connect() as shaking:
            shaking.send(TlsPeer(shaking.socket, context).begin())
            shaking.reset()
        with server.connect(tls=context) as client:
            client.send(b"QUERY|a|\n" * 1_000)
            client.reset()
        assert healthy.ask("QUERY|a|") == ["FAIL"]


# New certificates


def replace(files: CertificateFiles, new: CertificateFiles) -> None:
    shutil.copy(new.server_cert, files.server_cert)
    shutil.copy(new.server_key, files.server_key)
    shutil.copy(new.authority, files.authority)


def reload(server: ServerProcess, logged: str) -> None:
    after = len(server.log_lines)
    server.send_signal(signal.SIGHUP)
    server.wait_for_log(logged, after=after)


def test_sighup_brings_new_certificates_under_live_connections(tmp_path: Path) -> None:
    files, old, new = (CertificateFiles.make(tmp_path / name) for name in ("files", "old", "new"))
    replace(files, old)
    with (
        ServerProcess(*LISTEN, *files.mutual_arguments) as server,
        server.connect(tls=old.client_context(old.client_cert)) as early,
    ):
        assert early.ask("INDEX|a|") == ["OK"]
        replace(files, new)
        reload(server, "INFO reloaded the certificate")
        assert is_refused(server, old.client_context(old.client_cert))
        assert is_refused(server, new.client_context(old.client_cert))
        with server.connect(tls=new.client_context(new.client_cert)) as late:
            assert late.ask("QUERY|a|") == ["OK"]
        assert early.ask("QUERY|a|") == ["OK"]
        files.server_key.write_text("half a key")
        reload(server, "ERROR cannot use the certificate .* the previous certificates stay in use")
        with server.connect(tls=new.client_context(new.client_cert)) as later:
            assert later.ask("QUERY|a|") == ["OK"]
        assert early.ask("QUERY|a|") == ["OK"]


def test_sighup_without_tls_is_no_end() -> None:
    with ServerProcess("--memory") as server, server.connect() as client:
        reload(server, "received SIGHUP")
        assert client.ask("QUERY|a|") == ["FAIL"]


# What other programs make of it


class OpensslClient:
    """The program ``openssl s_client``.

    A line that begins with K or k is a command to it, to use new keys, one with R to renegotiate, one with Q to quit.
    """

    def __init__(self, server: ServerProcess, files: CertificateFiles, *flags: str) -> None:
        self._process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", files.authority, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def send(self, line: str, expected: set[str]) -> str:
        """Send a line; return the next line of the output that is one of those expected."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        for output in self._process.stdout:
            if output.decode().rstrip("\n") in expected:
                return output.decode().rstrip("\n")
        raise AssertionError("openssl has ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=WAIT_SECONDS)


def test_keys_are_updated_in_the_middle(files: CertificateFiles) -> None:
    answers = {"OK", "FAIL", "ERROR"}
    with ServerProcess(*LISTEN, *files.server_arguments) as server, OpensslClient(server, files, "-tls1_3") as client:
        assert client.send("INDEX|a|", answers) == "OK"
        for _ in range(5):
            client.send("K", {"KEYUPDATE"})  # and the server shall do so too
            assert client.send("INDEX|b|a", answers) == "OK"
            client.send("k", {"KEYUPDATE"})
            assert client.send("INDEX|c|d", answers) == "FAIL"


def test_renegotiation_costs_no_one_else(files: CertificateFiles) -> None:
    with ServerProcess(*LISTEN, *files.server_arguments) as server, server.connect(1) as bystander:
        with OpensslClient(server, files, "-tls1_2") as client:
            assert client.send("INDEX|a|", {"OK"}) == "OK"
            client.send("R", {"RENEGOTIATING"})
        assert bystander.ask("QUERY|a|") == ["OK"]
