"""Sockets that are handed over: what is taken, what is refused, and that they live on."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_server.errors import ListenError
from scoop_server.net import activation
from scoop_server.net.activation import inherited_listeners
from scoop_server.net.listener import Listener
from scoop_server.net.tls import Certificates

from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, ServerProcess, server_environment


class Manager:
    """Hands one file over to this process, in the place of a service manager."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.environment: dict[str, str] = {}

    def hand_over(self, file: socket.socket | int, name: str = "", *, count: str = "1", process: int = 0) -> None:
        """Have a copy of ``file`` be the first descriptor. A listener that takes it over closes it."""
        descriptor = os.dup(file if isinstance(file, int) else file.fileno())
        os.set_inheritable(descriptor, True)
        self._monkeypatch.setattr(activation, "_FIRST_DESCRIPTOR", descriptor)
        self.environment = {"LISTEN_PID": str(process or os.getpid()), "LISTEN_FDS": count, "LANG": "C"}
        if name:
            self.environment["LISTEN_FDNAMES"] = name

    def taken(self, certificates: Certificates | None = None) -> list[Listener]:
        """Return what a server takes over."""
        return list(inherited_listeners(self.environment, certificates))

    def refusal(self) -> str:
        """Return the line that says why it does not."""
        with pytest.raises(ListenError) as refused:
            self.taken()
        assert "\n" not in str(refused.value)
        return str(refused.value)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    return Manager(monkeypatch)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    files = CertificateFiles.make(tmp_path / "certificates")
    return Certificates(files.server_cert, files.server_key, None)


def test_a_socket_is_taken_over_so_that_no_child_takes_it_too(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(True)
        manager.hand_over(sock)
        [listener] = manager.taken()
        assert listener.is_inherited
        assert not listener.is_tls
        assert listener.address == f"127.0.0.1:{sock.getsockname()[1]}"
        assert not os.get_inheritable(listener.fileno())
        assert not os.get_blocking(listener.fileno())
        assert manager.environment == {"LANG": "C"}
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)  # and so have its clients
        listener.listen()
        listener.close()
        with socket.create_connection(sock.getsockname()):  # its owner goes on listening
            pass


def test_sockets_for_another_process_are_left_alone(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.hand_over(sock, process=os.getpid() + 1)
        descriptor = activation._FIRST_DESCRIPTOR
        assert manager.taken() == []
        assert manager.environment == {"LANG": "C"}
        os.close(descriptor)


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": str(os.getpid())}, {"LISTEN_FDS": "1"}])
def test_without_sockets_there_are_none(environment: dict[str, str]) -> None:
    assert list(inherited_listeners(dict(environment), None)) == []


def test_no_sockets_at_all_are_none() -> None:
    assert list(inherited_listeners({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}, None)) == []


@pytest.mark.parametrize("count", ["many", "-1", "1000", "9" * 5_000, "\u0661"])
def test_a_number_that_is_none(manager: Manager, count: str) -> None:
    manager.environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    assert "is no number of sockets; start the server by a socket unit" in manager.refusal()


def test_what_is_no_listening_stream_socket_is_refused(manager: Manager, tmp_path: Path) -> None:
    with (
        socket.socket() as connecting,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets,
        (tmp_path / "file").open("w") as file,
    ):
        packets.bind(str(tmp_path / "packets"))
        packets.listen()
        for sock in (connecting, datagrams, packets):
            manager.hand_over(sock, "scoop.socket")
            assert f"({'scoop.socket'!r}): it is no listening stream socket; " in manager.refusal()
            os.close(activation._FIRST_DESCRIPTOR)  # it is still open: what was not given is not the server's to close
        manager.hand_over(file.fileno())
        assert "('unknown'): Socket operation on non-socket; start the server by a socket unit" in manager.refusal()
        os.close(activation._FIRST_DESCRIPTOR)


def test_the_name_tls_makes_it_serve_tls(manager: Manager, certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.hand_over(sock, "tls")
        [listener] = manager.taken(certificates)
        assert listener.is_tls
        assert listener.address.startswith("tls:127.0.0.1:")
        listener.close()
        manager.hand_over(sock, "scoop.socket")
        [listener] = manager.taken(certificates)
        assert not listener.is_tls
        listener.close()


def test_the_name_tls_without_a_certificate_is_refused(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager.hand_over(sock, "tls")
        assert "has the name tls, and TLS needs a certificate; name one with --tls-cert" in manager.refusal()
        os.close(activation._FIRST_DESCRIPTOR)


# The real process


def test_all_sockets_are_served_and_outlive_the_server(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    path = tmp_path / "scoop.sock"
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as secure,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(path))
        unix.listen()
        sockets = (("scoop.socket", plain), ("tls", secure), ("unix", unix))
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


def warnings(server: ServerProcess) -> list[str]:
    return [line.partition(" WARNING ")[2] for line in server.log_lines if " WARNING " in line]


def test_addresses_that_sockets_take_the_place_of_are_warned_of(tmp_path: Path) -> None:
    unused = [f"unix:{tmp_path / 'unused.sock'}", "tcp:127.0.0.1:0"]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        addresses = [unused[0], f"tcp:127.0.0.1:{sock.getsockname()[1]}", unused[1]]
        flags = [word for address in addresses for word in ("--listen", address)]
        with ServerProcess("--memory", *flags, sockets=[("scoop.socket", sock)]) as server:
            assert server.stop() == 0
    [warning] = warnings(server)
    assert warning == (
        "the service manager has handed over sockets, so --listen is not used, and none of them is "
        f"{unused[0]}, {unused[1]}; add a socket unit, or leave it out"
    )


def test_addresses_that_are_those_of_the_sockets_and_no_address_at_all_are_not_warned_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sockets = [("scoop.socket", sock)]
        for flags in ([], ["--listen", f"tcp:127.0.0.1:{sock.getsockname()[1]}"]):
            with ServerProcess("--memory", *flags, sockets=sockets) as server:
                assert server.stop() == 0
            assert warnings(server) == []


@pytest.mark.parametrize("count", ["2", "3", "9"])
def test_more_sockets_promised_than_given_are_one_line(count: str) -> None:
    # Between what was given and what was not, the server's own descriptors come to lie.
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
    assert line.startswith(
        "scoop-server: cannot listen on descriptor 4 ('unknown'): it is no listening stream socket; "
    )


def test_a_compaction_does_not_get_the_sockets(tmp_path: Path) -> None:
    data = tmp_path / "data"
    look = tmp_path / "sitecustomize.py"
    seen = tmp_path / "seen"
    look.write_text(
        "import os, sys\n"
        "if 'scoop_server.storage.compaction' in sys.orig_argv:\n"
        f"    open({str(seen)!r}, 'w').write(' '.join(name for name in os.environ if name.startswith('LISTEN_')))\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        ServerProcess(
            "--data-dir",
            str(data),
            sockets=[("scoop.socket", sock)],
            variables={"PYTHONPATH": os.pathsep.join(paths)},
        ) as server,
        server.connect() as client,
    ):
        assert client.ask("INDEX|a|", "INDEX|b|") == ["OK", "OK"]
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("compaction into .* is complete")
        assert server.stop() == 0
    assert seen.read_text() == ""
