"""TLS between the real process and clients that use Python's ssl or the program openssl."""

import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest
import trustme

from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, ServerProcess

LISTEN: Final = ("--memory", "--listen", "tls:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
"""TLS first, and a port without TLS for a client that must not be disturbed."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateFiles.make(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """Certificates of an authority that the server does not know."""
    return CertificateFiles.make(tmp_path_factory.mktemp("tls") / "strangers")


@pytest.fixture
def mutual(files: CertificateFiles) -> Iterator[ServerProcess]:
    """A server that requires client certificates, and whose client without TLS is not disturbed."""
    with ServerProcess(*LISTEN, *files.mutual_arguments) as server:
        with server.connect(1) as bystander:
            assert bystander.ask("INDEX|a|") == ["OK"]
            yield server
            assert bystander.ask("QUERY|a|") == ["OK"]
        assert server.stop() == 0
        assert not [line for line in server.log_lines if " ERROR " in line or "Traceback" in line]


def is_rejected(server: ServerProcess, context: ssl.SSLContext) -> bool:
    """Return whether the server ends a connection made with ``context`` before its first response."""
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


def test_tls_before_1_2_is_rejected(files: CertificateFiles) -> None:
    context = files.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with ServerProcess(*LISTEN, *files.server_arguments) as server:
        with pytest.raises(ssl.SSLError):
            server.connect(tls=context)
        server.wait_for_log("unsupported protocol")


def test_only_clients_with_a_certificate_of_the_authority_are_accepted(
    mutual: ServerProcess, files: CertificateFiles, strangers: CertificateFiles
) -> None:
    with mutual.connect(tls=files.client_context(files.client_cert)) as client:
        assert client.ask("QUERY|a|") == ["OK"]
    assert is_rejected(mutual, files.client_context())
    mutual.wait_for_log("peer did not return a certificate")
    assert is_rejected(mutual, files.client_context(strangers.client_cert))
    mutual.wait_for_log("certificate verify failed: ")
    with pytest.raises(ssl.SSLCertVerificationError):
        mutual.connect(tls=strangers.client_context(strangers.client_cert))
    mutual.wait_for_log("unknown ca")


@pytest.mark.parametrize("with_chain", [False, True])
def test_an_intermediate_authority_admits_its_own_clients_only(
    files: CertificateFiles, tmp_path: Path, *, with_chain: bool
) -> None:
    root = trustme.CA()
    intermediate, sibling = root.create_child_ca(), root.create_child_ca()
    authority = tmp_path / "intermediate.pem"
    intermediate.cert_pem.write_to_path(authority)

    def context(issuer: trustme.CA) -> ssl.SSLContext:
        file = tmp_path / "client.pem"
        issued = issuer.issue_cert("builder@scoop.test")
        pems = [issued.private_key_pem, *issued.cert_chain_pems[: None if with_chain else 1]]
        file.write_bytes(b"".join(pem.bytes() for pem in pems))
        return files.client_context(file)

    with ServerProcess(*LISTEN, *files.server_arguments, "--tls-client-ca", str(authority)) as server:
        with server.connect(tls=context(intermediate)) as client:
            assert client.ask("QUERY|a|") == ["FAIL"]
        for other in (root, sibling):
            assert is_rejected(server, context(other))


@pytest.mark.parametrize("data", [b"INDEX|b|\n", b"\0" * 1_000, b"\x16\x03\x01\xff\xff" + b"!" * 70_000])
def test_a_client_that_does_not_speak_tls_is_disconnected(mutual: ServerProcess, data: bytes) -> None:
    with mutual.connect() as client:
        try:
            client.send(data)
            client.read_to_end()  # an alert, which it cannot read
        except ConnectionError:
            pass
        mutual.wait_for_log(f"{client.name}.* failed: ")
    with mutual.connect(1) as client:
        assert client.ask("QUERY|b|") == ["FAIL"]


def replace(files: CertificateFiles, new: CertificateFiles) -> None:
    shutil.copy(new.server_cert, files.server_cert)
    shutil.copy(new.server_key, files.server_key)
    shutil.copy(new.authority, files.authority)


def reload(server: ServerProcess, logged: str) -> None:
    after = len(server.log_lines)
    server.send_signal(signal.SIGHUP)
    server.wait_for_log(logged, after=after)


def test_sighup_loads_new_certificates_and_keeps_connections(tmp_path: Path) -> None:
    files, old, new = (CertificateFiles.make(tmp_path / name) for name in ("files", "old", "new"))
    replace(files, old)
    with (
        ServerProcess(*LISTEN, *files.mutual_arguments) as server,
        server.connect(tls=old.client_context(old.client_cert)) as early,
    ):
        assert early.ask("INDEX|a|") == ["OK"]
        replace(files, new)
        reload(server, "INFO .*certificate")
        assert is_rejected(server, old.client_context(old.client_cert))
        assert is_rejected(server, new.client_context(old.client_cert))
        files.server_key.write_text("half a key")
        reload(server, "ERROR cannot ")
        with server.connect(tls=new.client_context(new.client_cert)) as late:
            assert late.ask("QUERY|a|") == ["OK"]
        assert early.ask("QUERY|a|") == ["OK"]


class OpensslClient:
    """The program ``openssl s_client``.

    A line that begins with K or k is a command to it: update the keys. R means renegotiate, Q quit.
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


def test_key_updates_are_followed(files: CertificateFiles) -> None:
    answers = {"OK", "FAIL", "ERROR"}
    with ServerProcess(*LISTEN, *files.server_arguments) as server, OpensslClient(server, files, "-tls1_3") as client:
        assert client.send("INDEX|a|", answers) == "OK"
        for _ in range(5):
            client.send("K", {"KEYUPDATE"})  # and requests one of the server
            assert client.send("INDEX|b|a", answers) == "OK"
            client.send("k", {"KEYUPDATE"})
            assert client.send("INDEX|c|d", answers) == "FAIL"


def test_renegotiation_does_not_disturb_other_clients(files: CertificateFiles) -> None:
    with ServerProcess(*LISTEN, *files.server_arguments) as server, server.connect(1) as bystander:
        with OpensslClient(server, files, "-tls1_2") as client:
            assert client.send("INDEX|a|", {"OK"}) == "OK"
            client.send("R", {"RENEGOTIATING"})
        assert bystander.ask("QUERY|a|") == ["OK"]
