"""One run of the server as a process: its options, its start, its signals and its end."""

import os
import queue
import signal
import socket
import threading
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server import __version__

from tests.support.held import HeldServer
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end


def refusal(*arguments: str) -> str:
    """Return the one line with which a start fails."""
    ended = run_to_end(*arguments)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.rstrip("\n")


# Options


def test_memory_writes_nothing_to_disk(tmp_path: Path) -> None:
    with ServerProcess("--memory", working_directory=tmp_path) as server:
        with server.connect() as client:
            assert client.ask("INDEX|a|") == ["OK"]
        assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_default_data_directory_is_scoop_data(tmp_path: Path) -> None:
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


# A start that fails


def test_the_data_directory_is_locked_before_an_address_is_bound(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as other:
        line = refusal("--data-dir", str(tmp_path / "file"), "--port", str(other.getsockname()[1]))
    assert "cannot use the data directory" in line


def small_snapshot() -> bytes:
    graph = DependencyGraph()
    graph.index("gmp")
    graph.index("isl", ["gmp"])
    return b"".join(encode_snapshot(graph))


SNAPSHOT: Final = small_snapshot()


# Signals


def opened(pipe: Path, flags: int) -> int:
    """Return a descriptor of the named pipe, once something else has opened its other end."""
    descriptors: queue.Queue[int] = queue.Queue()
    threading.Thread(target=lambda: descriptors.put(os.open(pipe, flags)), daemon=True).start()
    return descriptors.get(timeout=WAIT_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_loading_and_nothing_is_changed(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "snapshot-1").write_bytes(SNAPSHOT)
    with HeldServer("loading", tmp_path, "--data-dir", str(data)) as held:
        held.wait_until_held()
        held.process.send_signal(signal.SIGUSR1)  # ignored while loading
        held.process.send_signal(number)
        held.let_go()  # a signal just before the server waits does not end its waiting
        assert held.process.wait() == 0
        assert held.process.log.endswith("a signal stopped the server while it loaded the index; nothing was changed\n")
    assert sorted(os.listdir(data)) == ["lock", "snapshot-1"]
    assert (data / "snapshot-1").read_bytes() == SNAPSHOT


def test_a_second_signal_interrupts_the_last_snapshot_and_nothing_is_lost(tmp_path: Path) -> None:
    packages = [f"a-package-with-quite-a-long-name-{number}" for number in range(5_000)]
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
        with server.connect() as client:
            assert set(client.ask(*[f"INDEX|{package}|" for package in packages])) == {"OK"}
        slow = tmp_path / "data" / f"snapshot-2.unfinished-{server.pid}"
        os.mkfifo(slow)  # a file that accepts less than the snapshot until it is read
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


def test_sigusr1_with_memory_is_logged() -> None:
    with ServerProcess("--memory") as server, server.connect() as client:
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("INFO nothing to compact: the index is kept in memory only")
        assert client.ask("INDEX|a|") == ["OK"]
