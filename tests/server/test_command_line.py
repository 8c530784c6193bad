"""The command, as an operator meets it: real processes, their log, their one line when they cannot start."""

import contextlib
import errno
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server import __version__
from scoop_server.cli.main import main

from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess, run_to_end, server_environment


def refusal(*arguments: str) -> str:
    """Return the one line with which the command refuses to start."""
    ended = run_to_end(*arguments)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.rstrip("\n")


# How it is started


@pytest.mark.parametrize("variables", [{}, {"SCOOP_REJECT_CYCLES": "yes"}], ids=["flag", "variable"])
def test_reject_cycles(variables: dict[str, str]) -> None:
    flags = [] if variables else ["--reject-cycles"]
    cycle = ("INDEX|a|", "INDEX|b|a", "INDEX|a|b")
    with ServerProcess("--memory", *flags, variables=variables) as server, server.connect() as client:
        assert client.ask(*cycle) == ["OK", "OK", "FAIL"]
    with ServerProcess("--memory") as server, server.connect() as client:
        assert client.ask(*cycle) == ["OK", "OK", "OK"]


def test_memory_keeps_nothing_on_disk(tmp_path: Path) -> None:
    with ServerProcess("--memory", working_directory=tmp_path) as server:
        with server.connect() as client:
            assert client.ask("INDEX|a|") == ["OK"]
        assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_index_is_kept_in_scoop_data_unless_told_otherwise(tmp_path: Path) -> None:
    with ServerProcess(working_directory=tmp_path) as server:
        with server.connect() as client:
            assert client.ask("INDEX|a|") == ["OK"]
        server.wait_for_log(rf"INFO created the data directory {tmp_path}/scoop-data$")
        server.wait_for_log(rf"\(data directory {tmp_path}/scoop-data, ")
        server.wait_for_log(rf"INFO scoop-server {__version__} with Python \d")
        assert server.stop() == 0
    assert (tmp_path / "scoop-data" / "lock").exists()
    with ServerProcess(working_directory=tmp_path) as server:
        assert server.package_count == 1


# Its log


def test_log_lines_begin_with_the_time_in_utc_and_the_level() -> None:
    with ServerProcess("--memory", variables={"TZ": "Asia/Tokyo"}) as server:
        match = server.wait_for_log(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z INFO listening on ")
    logged = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - logged) < timedelta(hours=1)  # Tokyo is nine hours away


def test_debug_tells_of_every_connection_and_info_does_not() -> None:
    for level, tells in (("debug", True), ("info", False)):
        with ServerProcess("--memory", "--log-level", level) as server:
            with server.connect() as client:
                assert client.ask("QUERY|a|") == ["FAIL"]
            assert server.stop() == 0
            assert any(f"DEBUG {client.name} connected" in line for line in server.log_lines) == tells
            assert any(f"DEBUG closed the connection of {client.name}: " in line for line in server.log_lines) == tells


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_what_ended_it(number: signal.Signals) -> None:
    with ServerProcess("--memory") as server:
        assert server.stop(number) == 0
        assert any(line.endswith(f" INFO received {number.name}") for line in server.log_lines)


# When it cannot start


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refusal("--memory", "--port", str(port))
    assert line == (
        f"scoop-server: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "another process listens there; stop it, or name another address with --listen, --host or --port"
    )


def test_the_port_of_another_server() -> None:
    with ServerProcess("--memory") as server:
        assert f"cannot listen on 127.0.0.1:{server.port}: Address already in use" in refusal(
            "--memory", "--port", str(server.port)
        )
        with server.connect() as client:
            assert client.ask("QUERY|a|") == ["FAIL"]


def test_an_address_of_another_machine() -> None:
    assert refusal("--memory", "--host", "192.0.2.1", "--port", "0") == (
        f"scoop-server: cannot listen on 192.0.2.1:0: {os.strerror(errno.EADDRNOTAVAIL)}; "
        "name another address with --listen, --host or --port"
    )


@pytest.mark.parametrize("host", ["two..dots", "x" * 64])
def test_a_host_that_is_no_name(host: str) -> None:
    assert refusal("--memory", "--host", host, "--port", "0") == (
        f"scoop-server: cannot listen on {host}:0: not a host name; "
        "name another address with --listen, --host or --port"
    )


def test_a_host_that_is_not_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def not_known(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_known)
    assert main(["--memory", "--host", "nowhere.invalid"]) == 1
    assert capsys.readouterr().err == (
        "scoop-server: cannot listen on nowhere.invalid:8080: Name or service not known; "
        "name another address with --listen, --host or --port\n"
    )


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "data"
    line = refusal("--data-dir", str(path), "--port", "0")
    assert line.startswith(f"scoop-server: cannot use the data directory {path}: {os.strerror(errno.ENOTDIR)}; ")


def test_a_directory_that_cannot_be_used_is_told_before_the_port_is_bound(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as other:
        line = refusal("--data-dir", str(tmp_path / "file"), "--port", str(other.getsockname()[1]))
    assert "cannot use the data directory" in line


def test_a_directory_in_use_is_refused_with_its_path_and_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        assert client.ask("INDEX|a|") == ["OK"]
        for _ in range(2):
            assert refusal("--data-dir", str(path), "--port", "0") == (
                f"scoop-server: the data directory {path} is in use by the server with process id {server.pid}; "
                "stop that one, or name another directory"
            )
        assert client.ask("QUERY|a|") == ["OK"]


def small_snapshot() -> bytes:
    graph = DependencyGraph()
    graph.index("gmp")
    graph.index("isl", ["gmp"])
    return b"".join(encode_snapshot(graph))


SNAPSHOT: Final = small_snapshot()


@pytest.mark.parametrize(
    ("damaged", "place"),
    [
        (b"", "byte 0: "),
        (b"garbage\n", "byte 0: "),
        (b"\0" * len(SNAPSHOT), "byte 0: "),
        (SNAPSHOT[:-10], f"byte {len(SNAPSHOT) - 10}: "),
        (SNAPSHOT.replace(b"INDEX|isl", b"INDEX|osl"), f"byte {len(SNAPSHOT) - 9}: "),
        (SNAPSHOT.replace(b"#scoop snapshot 1\n", b"#scoop snapshot 999\n"), "byte 0: "),
        (SNAPSHOT + SNAPSHOT, "byte "),
    ],
    ids=["empty", "garbage", "zeros", "cut", "changed", "newer", "twice"],
)
def test_a_snapshot_that_cannot_be_read_whole_is_never_an_empty_index(
    tmp_path: Path, damaged: bytes, place: str
) -> None:
    snapshot = tmp_path / "snapshot-7"
    snapshot.write_bytes(damaged)
    for _ in range(2):
        line = refusal("--data-dir", str(tmp_path), "--port", "0")
        assert line.startswith(f"scoop-server: cannot read {snapshot}: {place}")
    assert snapshot.read_bytes() == damaged


def test_a_directory_whose_parent_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "data"
    assert refusal("--data-dir", str(path), "--port", "0") == (
        f"scoop-server: cannot create the data directory {path}: {tmp_path}/missing is missing; "
        "create that first, because only the last part of the path is created"
    )
    assert not path.parent.exists()


# Signals


def opened(pipe: Path, flags: int) -> int:
    """Return a descriptor of the named pipe, once something else has opened its other end."""
    descriptors: queue.Queue[int] = queue.Queue()
    threading.Thread(target=lambda: descriptors.put(os.open(pipe, flags)), daemon=True).start()
    return descriptors.get(timeout=WAIT_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_reads_a_large_index_ends_at_once_and_has_changed_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    slow = tmp_path / "snapshot-1"
    os.mkfifo(slow)  # a file that can be read as slowly as the test likes
    with subprocess.Popen(
        [*MODULE_COMMAND, "--data-dir", str(tmp_path), "--port", "0"],
        env=server_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writer = opened(slow, os.O_WRONLY)
        try:
            os.write(writer, SNAPSHOT[:10])
            process.send_signal(signal.SIGUSR1)  # there is nothing to compact yet, and nothing to die of
            process.send_signal(number)
            # It may come just before a read begins, which a file, unlike this pipe, would not keep waiting.
            with contextlib.suppress(BrokenPipeError):
                os.write(writer, SNAPSHOT[10:20])
            _, log = process.communicate(timeout=WAIT_SECONDS)
        finally:
            process.kill()
            os.close(writer)
    assert process.returncode == 0
    assert log.endswith(f" INFO a signal stopped the server while it loaded {tmp_path}; nothing was changed\n")
    assert sorted(os.listdir(tmp_path)) == ["lock", "snapshot-1"]


def test_a_server_that_saves_a_large_index_ends_at_the_next_signal_and_loses_nothing(tmp_path: Path) -> None:
    packages = [f"a-package-with-quite-a-long-name-{number}" for number in range(5_000)]
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
        with server.connect() as client:
            assert set(client.ask(*[f"INDEX|{package}|" for package in packages])) == {"OK"}
        slow = tmp_path / "data" / f"snapshot-2.unfinished-{server.pid}"
        os.mkfifo(slow)  # a file that takes no more than is read from it, which is less than the snapshot
        server.send_signal(signal.SIGTERM)
        reader = opened(slow, os.O_RDONLY)
        server.send_signal(signal.SIGTERM)
        with open(reader, "rb") as rest:
            rest.read()
        assert server.wait() == 0
        server.wait_for_log("INFO a signal interrupted the snapshot; the journal holds every change")
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
        assert server.package_count == len(packages)
        assert not slow.exists()


def test_a_server_that_keeps_nothing_on_disk_says_that_there_is_nothing_to_compact() -> None:
    with ServerProcess("--memory") as server:
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("INFO nothing to compact: the index is kept in memory only")


# When it cannot save


def test_a_directory_that_has_gone_is_an_error_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ServerProcess("--data-dir", str(path)) as server:
        shutil.rmtree(path)
        assert server.stop() == 1
        errors = [line for line in server.log_lines if line.startswith("scoop-server: ")]
        assert len(errors) == 1
        assert errors[0] == (
            f"scoop-server: cannot save a snapshot in {path}: No such file or directory; its journal "
            f"{path}/journal-1 has been removed while the server ran, and the index with it; "
            "restore the directory from a backup"
        )
        assert "Traceback" not in "\n".join(server.log_lines)


def test_a_port_that_another_has_taken_since_it_was_bound_is_one_line() -> None:
    """Two servers may bind one port before either listens; the second to listen is refused."""
    program = """
import socket, sys
from scoop_server.cli import main as command_line
from scoop_server.app import application
real = application.raise_descriptor_limit
def meanwhile(clients_max, *, has_admin):
    global other
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", int(sys.argv[2])))
    other.listen()
    return real(clients_max, has_admin=has_admin)
application.raise_descriptor_limit = meanwhile
sys.exit(command_line.main(sys.argv[1:]))
"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = run_to_end("--port", str(port), "--memory", command=[sys.executable, "-c", program])
    assert done.returncode == 1
    assert done.stderr == (
        f"scoop-server: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "another process listens there; stop it, or name another address with --listen, --host or --port\n"
    )
