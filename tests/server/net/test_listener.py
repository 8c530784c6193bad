"""Listeners: their errors, the files of Unix sockets, and the names of peers."""

import errno
import logging
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from scoop_server.app.claims import warn_of_exposed_listeners
from scoop_server.config.addresses import parse_listen_address
from scoop_server.errors import ListenError
from scoop_server.net.listener import Listener, bind
from scoop_server.net.tls import Certificates

from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        assert os.umask(before) == mask


def refusal(address: str) -> str:
    with pytest.raises(ListenError) as refused:
        bind(parse_listen_address(address))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def listening(address: str) -> "closing[Listener]":
    listener = bind(parse_listen_address(address))
    listener.listen()
    return closing(listener)


# Several addresses


def test_all_addresses_serve_one_index(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    addresses = ("tcp:127.0.0.1:0", "tcp:[::1]:0", f"unix:{tmp_path / 'scoop.sock'}", "tls:127.0.0.1:0", "tls:[::1]:0")
    flags = [word for address in addresses for word in ("--listen", address)]
    with ServerProcess("--memory", *flags, *files.server_arguments) as server:
        assert [address.rpartition(":")[0] for address in server.addresses] == [
            "127.0.0.1",
            "[::1]",
            "unix",
            "tls:127.0.0.1",
            "tls:[::1]",
        ]
        for number, address in enumerate(addresses):
            tls = files.client_context() if address.startswith("tls:") else None
            with server.connect(number, tls=tls) as client:
                lines = [f"INDEX|package-{number}|", *(f"QUERY|package-{earlier}|" for earlier in range(number))]
                assert client.ask(*lines) == ["OK"] * len(lines)


def test_an_address_in_use_is_named_and_the_other_listeners_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        ended = run_to_end("--memory", "--listen", f"unix:{path}", "--listen", f"tcp:{taken}")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"scoop-server: cannot listen on {taken}: Address already in use; "
        "another process listens there; stop it, or name another address with --listen, --host or --port\n"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp:192.0.2.1:0", os.strerror(errno.EADDRNOTAVAIL)),
        ("tcp:two..dots:0", "not a host name"),
        (f"tcp:{'x' * 64}:0", "not a host name"),
    ],
)
def test_an_unusable_address_is_an_error_with_its_reason(address: str, reason: str) -> None:
    assert refusal(address) == (
        f"cannot listen on {address.removeprefix('tcp:')}: {reason}; "
        "name another address with --listen, --host or --port"
    )


def test_an_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert refusal("tcp:nowhere.invalid:8080").startswith(
        "cannot listen on nowhere.invalid:8080: Name or service not known; "
    )


def test_of_two_listeners_bound_to_one_port_the_second_cannot_listen() -> None:
    with closing(bind(parse_listen_address("tcp:127.0.0.1:0"))) as listener, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(listener.socket.getsockname())
        other.listen()
        with pytest.raises(ListenError, match=f"^cannot listen on {listener.address}: Address already in use; another"):
            listener.listen()


def test_an_ipv6_listener_does_not_accept_ipv4() -> None:
    with closing(bind(parse_listen_address("tcp:[::1]:0"))) as listener:
        assert listener.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


REACHES: list[tuple[str, bool]] = [
    ("127.0.0.1", False),
    ("127.1.2.3", False),
    ("[::1]", False),
    ("0.0.0.0", True),
    ("[::]", True),
]
"""Addresses, and whether they are reachable from other machines."""


@pytest.mark.parametrize(("address", "is_exposed"), REACHES)
def test_an_exposed_address_without_tls_is_logged(
    address: str, is_exposed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(bind(parse_listen_address(f"tcp:{address}:0"))) as listener:  # bound only
        assert listener.is_exposed == is_exposed
        warn_of_exposed_listeners([listener])
        warned = f"{listener.address} is reachable from other machines without TLS" in caplog.text
        assert warned == is_exposed


def test_an_exposed_tls_address_without_client_certificates_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    certificates = Certificates(files.server_cert, files.server_key, None)
    with closing(bind(parse_listen_address("tls:0.0.0.0:0"), certificates)) as listener:  # bound only
        warn_of_exposed_listeners([listener])
    [warning] = caplog.messages
    assert warning == (
        f"{listener.address} is reachable from other machines and requires no client certificate: "
        "anyone who connects can change the index; set --tls-client-ca, or restrict access with a firewall"
    )


def test_client_certificates_and_unix_sockets_need_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    certificates = Certificates(files.server_cert, files.server_key, files.authority)
    with (
        closing(bind(parse_listen_address("tls:0.0.0.0:0"), certificates)) as public,
        closing(bind(parse_listen_address(f"unix:{tmp_path / 'scoop.sock'}"))) as unix,
    ):
        warn_of_exposed_listeners([public, unix])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:0", "tcp:[::1]:0"])
def test_accepted_sockets_have_keepalive_and_no_delay(address: str) -> None:
    with listening(address) as listener, socket.create_connection(listener.socket.getsockname()[:2]):
        listener.socket.setblocking(True)
        sock, _ = listener.accept()
        assert isinstance(sock, socket.socket)
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


class ResetSocket(socket.socket):
    def recv(self, *_: object) -> bytes:
        raise ConnectionResetError


class ResetListeningSocket(socket.socket):
    """A listening socket whose connections have been reset."""

    def accept(self) -> tuple[socket.socket, object]:
        sock, address = super().accept()
        return ResetSocket(fileno=sock.detach()), address


def test_a_connection_that_has_been_reset_is_closed_and_not_returned() -> None:
    with closing(Listener(ResetListeningSocket())) as listener:
        listener.listen()
        with socket.create_connection(listener.socket.getsockname()) as client:
            select.select([listener], [], [], WAIT_SECONDS)
            with pytest.raises(ConnectionResetError):
                listener.accept()
            client.settimeout(WAIT_SECONDS)
            assert client.recv(1) == b""


# Unix sockets


def test_a_connection_that_has_ended_without_a_request_is_not_returned(tmp_path: Path) -> None:
    path = str(tmp_path / "scoop.sock")
    with listening(f"unix:{path}") as listener, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(path)
        silent.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionAbortedError, match="end of file"):
            listener.accept()
        assert silent.recv(1) == b""


def test_a_connection_that_has_ended_after_a_request_is_returned(tmp_path: Path) -> None:
    path = str(tmp_path / "scoop.sock")
    with listening(f"unix:{path}") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"QUERY|a|\n")
        client.shutdown(socket.SHUT_WR)
        with closing(listener.accept()[0]) as stream:
            assert stream.recv(100) == b"QUERY|a|\n"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_unix_socket_is_created_with_mode_0660(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "scoop.sock"
    with umask(mask), closing(bind(parse_listen_address(f"unix:{path}"))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


def test_the_mode_is_not_changed_after_creation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("a client could have connected before"))
    with closing(bind(parse_listen_address(f"unix:{tmp_path / 'scoop.sock'}"))):
        pass


def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with ServerProcess("--memory", "--listen", f"unix:{path}") as server:
        server.kill()
    assert path.is_socket()
    with ServerProcess("--memory", "--listen", f"unix:{path}") as server:
        with server.connect() as client:
            assert client.ask("QUERY|a|") == ["FAIL"]
        assert server.stop() == 0
    assert not path.exists()


def test_the_socket_of_a_live_server_is_an_address_in_use(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with listening(f"unix:{path}"):
        assert refusal(f"unix:{path}") == (
            f"cannot listen on unix:{path}: Address already in use; "
            "another process listens there; stop it, or name another address with --listen, --host or --port"
        )
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_live_server_with_a_full_backlog_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(path))
        other.listen(0)
        waiting.connect(str(path))
        assert os.strerror(errno.EADDRINUSE) in refusal(f"unix:{path}")
    assert path.is_socket()


def test_a_file_that_is_not_a_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    path.write_text("precious")
    assert refusal(f"unix:{path}").startswith(f"cannot listen on unix:{path}: the file there is not a socket; ")
    assert path.read_text() == "precious"


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "scoop.sock"
    assert refusal(f"unix:{path}").startswith(f"cannot listen on unix:{path}: {os.strerror(errno.ENOENT)}; ")


def test_of_two_listeners_bound_to_one_path_the_replaced_one_cannot_listen(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with (
        closing(bind(parse_listen_address(f"unix:{path}"))) as first,
        closing(bind(parse_listen_address(f"unix:{path}"))) as second,
    ):
        with pytest.raises(ListenError, match="another process has replaced the socket file"):
            first.listen()
        second.listen()
        first.close()
        assert path.is_socket()
    assert not path.exists()


def test_closing_accepts_that_the_socket_file_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with listening(f"unix:{path}"):
        path.unlink()


def test_closing_twice_keeps_a_later_file_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "scoop.sock"
    with closing(bind(parse_listen_address(f"unix:{path}"))) as listener:
        listener.close()
        path.touch()
        listener.close()
    assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are a feature of Linux")
def test_an_abstract_socket_is_named_as_in_a_socket_unit() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")  # Linux chooses an abstract name
        name = sock.getsockname()
        assert isinstance(name, bytes)
        with closing(Listener(sock, is_inherited=True)) as listener:
            assert listener.address == f"unix:@{name[1:].decode()}"


def test_a_unix_client_is_named_by_its_user_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o711)
    with listening("unix:scoop.sock") as listener, socket.socket(socket.AF_UNIX) as client:
        Path("scoop.sock").chmod(0o666)
        with suppress(OSError):  # only root can act as another user, such as one above the signed integers
            os.seteuid(3_000_000_000)
        user = os.geteuid()
        try:
            client.connect("scoop.sock")
        finally:
            os.seteuid(os.getuid())
        sock, peer = listener.accept()
        sock.close()
        assert (peer.name, peer.names[0]) == (f"uid {user} pid {os.getpid()} on unix:scoop.sock", f"uid={user}")


def test_a_unix_client_without_credentials_is_named_by_its_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoop_server.net.listener._SO_PEERCRED", -1)  # as on a system without it
    path = tmp_path / "scoop.sock"
    with listening(f"unix:{path}") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock, peer = listener.accept()
        sock.close()
        assert peer.name == f"a client on unix:{path}"


# Certificates


def test_a_tls_address_needs_a_certificate() -> None:
    with pytest.raises(ListenError, match=r"^cannot listen on tls:127.0.0.1:0: TLS needs a certificate; "):
        bind(parse_listen_address("tls:127.0.0.1:0"))


def test_certificates_are_read_before_addresses_are_bound(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tls:127.0.0.1:{other.getsockname()[1]}"
        ended = run_to_end("--memory", "--listen", taken, "--tls-cert", str(missing))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"scoop-server: cannot read {missing}: No such file or directory; ")
