"""Sockets inherited from a service manager: which are used, which are rejected, and that they outlive the server."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scoop_server.errors import ListenError
from scoop_server.net.activation import inherited_listeners
from scoop_server.net.listener import Listener
from scoop_server.net.tls import Certificates

from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, ServerProcess, server_environment


class Manager:
    """A service manager that passes one file to this process."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.descriptor = -1

    def pass_file(self, file: socket.socket | int, name: str = "", *, count: str = "1", process: int = 0) -> None:
        """Pass a copy of ``file``; a listener that inherits it closes it."""
        self.descriptor = os.dup(file if isinstance(file, int) else file.fileno())
        os.set_inheritable(self.descriptor, True)
        self.environment = {"LISTEN_PID": str(process or os.getpid()), "LISTEN_FDS": count, "LANG": "C"}
        if name:
            self.environment["LISTEN_FDNAMES"] = name

    def inherited(self, certificates: Certificates | None = None) -> list[Listener]:
        """Return the listeners that a server makes of it."""
        return list(inherited_listeners(self.environment, certificates, self.descriptor))

    def refusal(self, *, file_is_closed: bool = False) -> str:
        """Return the message of the error, which leaves the file open unless ``file_is_closed``."""
        with pytest.raises(ListenError) as refused:
            self.inherited()
        assert "\n" not in str(refused.value)
        if not file_is_closed:
            os.close(self.descriptor)
        return str(refused.value)


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    files = CertificateFiles.make(tmp_path / "certificates")
    return Certificates(files.server_cert, files.server_key, files.authority)


def test_an_inherited_socket_becomes_a_listener_and_is_hidden_from_child_processes(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(True)
        manager.pass_file(sock)
        [listener] = manager.inherited()
        assert listener.is_inherited
        assert not listener.is_tls
        assert listener.address == f"127.0.0.1:{sock.getsockname()[1]}"
        assert not os.get_inheritable(listener.fileno())
        assert not os.get_blocking(listener.fileno())
        assert manager.environment == {"LANG": "C"}
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        listener.listen()
        listener.close()
        with socket.create_connection(sock.getsockname()):  # the service manager's copy still listens
            pass


def test_sockets_for_another_process_are_ignored(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.pass_file(sock, process=os.getpid() + 1)
        assert manager.inherited() == []
        assert manager.environment == {"LANG": "C"}
        os.close(manager.descriptor)


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_PID": str(os.getpid())}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}],
)
def test_an_environment_without_sockets_yields_no_listener(environment: dict[str, str]) -> None:
    assert list(inherited_listeners(dict(environment), None)) == []


@pytest.mark.parametrize("count", ["many", "-1", "1000", "9" * 5_000, "\u0661"])
def test_an_invalid_number_of_sockets_is_rejected(manager: Manager, count: str) -> None:
    manager.environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    assert "expected a number of sockets in LISTEN_FDS, got " in manager.refusal(file_is_closed=True)


def test_anything_but_a_listening_stream_socket_is_rejected_and_left_open(manager: Manager, tmp_path: Path) -> None:
    with (
        socket.socket() as connecting,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets,
        (tmp_path / "file").open("w") as file,
    ):
        packets.bind(str(tmp_path / "packets"))
        packets.listen()
        for sock in (connecting, datagrams, packets):
            manager.pass_file(sock, "scoop.socket")
            assert f"({'scoop.socket'!r}): not a listening stream socket; " in manager.refusal()
        manager.pass_file(file.fileno())
        assert "('unknown'): Socket operation on non-socket; start the server by a socket unit" in manager.refusal()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("tls", "tls:127.0.0.1:PORT"),
        ("plain", "127.0.0.1:PORT"),
        ("scoop.socket", "127.0.0.1:PORT"),
        ("", "127.0.0.1:PORT"),
        ("tls?read-only", "tls:127.0.0.1:PORT?read-only"),
        ("scoop.socket?read-only", "127.0.0.1:PORT?read-only"),
        ("tls?subject=builder", "tls:127.0.0.1:PORT?subject=builder"),
    ],
)
def test_the_name_of_a_socket_chooses_tls_and_its_policy(
    manager: Manager, certificates: Certificates, name: str, address: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.pass_file(sock, name)
        [listener] = manager.inherited(certificates)
        with closing(listener):
            assert listener.address == address.replace("PORT", str(sock.getsockname()[1]))
            assert listener.is_tls == address.startswith("tls:")


@pytest.mark.parametrize("name", ["TLS", "tls-server", "read-only", "tls?readonly", "tls?"])
def test_a_mistyped_name_is_rejected_instead_of_serving_without_tls_or_with_changes(
    manager: Manager, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.pass_file(sock, name)
        assert "; correct FileDescriptorName in the socket unit" in manager.refusal()


@pytest.mark.parametrize("name", ["plain?subject=builder", "plain?issuer=Authority"])
def test_a_policy_on_certificates_needs_tls(manager: Manager, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.pass_file(sock, name)
        assert "subject and issuer need TLS with client certificates" in manager.refusal()


def test_a_socket_named_tls_needs_a_certificate(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.pass_file(sock, "tls")
        assert "('tls'): TLS needs a certificate; name one with --tls-cert" in manager.refusal()


# The server process


def test_all_inherited_sockets_are_served_and_outlive_the_server(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    path = tmp_path / "scoop.sock"
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as secure,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(path))
        unix.listen()
        sockets = (("scoop.socket", plain), ("tls", secure), ("plain", unix))
        for _ in range(2):
            with ServerProcess("--memory", *files.server_arguments, sockets=sockets) as server:
                assert server.addresses == [
                    f"127.0.0.1:{plain.getsockname()[1]}",
                    f"tls:[::1]:{secure.getsockname()[1]}",
                    f"unix:{path}",
                ]
                for number, tls in enumerate((None, files.client_context(), None)):
                    with server.connect(number, tls=tls) as client:
                        assert client.ask("INDEX|a|", "QUERY|a|") == ["OK", "OK"]
                assert server.stop() == 0
            assert path.is_socket()


def test_a_certificate_that_no_inherited_socket_uses_is_logged_and_the_others_are_served(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        ServerProcess("--memory", *files.server_arguments, sockets=[("scoop.socket", sock)]) as server,
        server.connect() as client,
    ):
        assert client.ask("QUERY|a|") == ["FAIL"]
    assert warnings(server) == ["--tls-cert is not used: no socket is named tls; enable scoop-tls.socket to serve TLS"]


def warnings(server: ServerProcess) -> list[str]:
    return [line.partition(" WARNING ")[2] for line in server.log_lines if " WARNING " in line]


def test_configured_addresses_that_inherited_sockets_replace_are_logged(tmp_path: Path) -> None:
    unused = [f"unix:{tmp_path / 'unused.sock'}", "tcp:127.0.0.1:0"]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        addresses = [unused[0], f"tcp:127.0.0.1:{sock.getsockname()[1]}", unused[1]]
        flags = [word for address in addresses for word in ("--listen", address)]
        with ServerProcess("--memory", *flags, sockets=[("scoop.socket", sock)]) as server:
            assert server.stop() == 0
    [warning] = warnings(server)
    assert warning == (
        "--listen is ignored because the service manager passed other sockets than "
        f"{unused[0]}, {unused[1]}; add a socket unit for it, or remove it from the settings"
    )


def test_no_warning_if_the_inherited_sockets_have_the_configured_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sockets = [("scoop.socket", sock)]
        for flags in ([], ["--listen", f"tcp:127.0.0.1:{sock.getsockname()[1]}"]):
            with ServerProcess("--memory", *flags, sockets=sockets) as server:
                assert server.stop() == 0
            assert warnings(server) == []


@pytest.mark.parametrize("count", ["2", "9"])
def test_fewer_sockets_than_announced_are_a_one_line_error(count: str) -> None:
    # The missing descriptors are taken by files of the server itself.
    program = (
        f"import os, sys; os.environ |= {{'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': {count!r}}}; "
        "os.execv(sys.executable, [sys.executable, '-m', 'scoop_server', '--memory'])"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        program = f"import os; os.dup2({sock.fileno()}, 3); os.closerange(4, 1_000); {program}"
        done = subprocess.run(
            [sys.executable, "-c", program],
            pass_fds=[sock.fileno()],
            env=server_environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("scoop-server: cannot listen on descriptor 4 ('unknown'): not a listening stream socket; ")


def test_a_compaction_inherits_neither_the_sockets_nor_that_of_notifications(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"with open({str(seen)!r}, 'a') as seen:\n"
        "    names = [name for name in os.environ if name.startswith(('LISTEN_', 'NOTIFY_'))]\n"
        "    print('scoop_server.storage.compaction' in sys.orig_argv, *sorted(names), file=seen)\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        ServerProcess(
            "--data-dir", str(tmp_path / "data"), sockets=[("scoop.socket", sock)], variables=variables
        ) as server,
        server.connect() as client,
    ):
        assert client.ask("INDEX|a|") == ["OK"]
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("compaction into .* is complete")
    first, *_, last = seen.read_text().splitlines()
    assert first.startswith("False ")
    assert first.endswith(" NOTIFY_SOCKET")
    assert last == "True"
