"""Shutdown and restart of the real process: received requests are answered, and acknowledged changes survive."""

import array
import fcntl
import signal
import termios
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from tests.support import homebrew
from tests.support.process import WAIT_SECONDS, BlockingClient, ServerProcess, connected, send_all_that_fits


def newest_snapshot(directory: Path) -> bytes:
    return max(directory.glob("snapshot-*"), key=lambda path: int(path.name.rpartition("-")[2])).read_bytes()


def snapshot_of(lines: Iterable[str]) -> bytes:
    """Return the snapshot of the graph that these requests build."""
    graph = DependencyGraph()
    assert set(graph.apply_lines("".join(f"{line}\n" for line in lines)).split()) == {"OK"}
    return b"".join(encode_snapshot(graph))


def wait_until_arrived(client: BlockingClient) -> None:
    """Wait until all sent bytes are at the server's socket. The system offers no event for it."""
    unarrived = array.array("i", [1])
    deadline = time.monotonic() + WAIT_SECONDS
    while unarrived[0]:
        assert time.monotonic() < deadline
        fcntl.ioctl(client.socket, termios.TIOCOUTQ, unarrived)


def never_reading_client(server: ServerProcess) -> BlockingClient:
    """Return a client whose responses no longer fit into the buffers of the system."""
    client = server.connect(receive_buffer_bytes=4_096)
    for _ in range(2):
        send_all_that_fits(client, b"\n")
        with server.connect() as other:
            assert other.ask("QUERY|a|") == ["FAIL"]
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_had_arrived_are_answered(number: signal.Signals) -> None:
    with ServerProcess("--memory") as server, connected(server, 10) as clients:
        for position, client in enumerate(clients):
            client.send(b"INDEX|a%d|\nQUERY|a%d|\nREMOVE|a%d|\n" % (position, position, position) * 500 + b"QUERY|a")
        for client in clients:
            wait_until_arrived(client)
        server.send_signal(number)
        for client in clients:
            assert client.read_to_end() == b"OK\n" * 1_500
            client.close()
        assert server.wait() == 0


def test_a_client_that_does_not_read_delays_the_end_by_the_drain_timeout(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path), "--drain-timeout", "0.2")
    with ServerProcess(*arguments) as server, server.connect() as healthy:
        assert healthy.ask("INDEX|a|", "REMOVE|a|", "INDEX|b|") == ["OK", "OK", "OK"]
        with never_reading_client(server):
            server.send_signal(signal.SIGTERM)
            assert healthy.read_to_end() == b""
            assert server.wait() == 0
            assert any("WARNING clients that did not get all responses" in line for line in server.log_lines)
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|b|"])


def test_a_second_signal_stops_the_server_immediately(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as healthy:
        assert healthy.ask("INDEX|b|") == ["OK"]
        with never_reading_client(server):
            server.send_signal(signal.SIGTERM)
            server.wait_for_log("shutting down")
            server.send_signal(signal.SIGINT)
            assert server.wait() == 0
            assert not any("WARNING" in line for line in server.log_lines)
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|b|"])


def test_the_index_survives_restarts(tmp_path: Path) -> None:
    snapshot = b"".join(encode_snapshot(DependencyGraph.from_mapping(homebrew.packages())))
    lines = [line for line in snapshot.decode().splitlines() if line.startswith("INDEX")]
    # Cycles, a package that depends on itself, the longest name, every kind of character.
    lines += [
        "INDEX|cycle-a|",
        "INDEX|cycle-b|cycle-a",
        "INDEX|cycle-a|cycle-b,cycle-a",
        f"INDEX|{'n' * 255}|cycle-b",
        "INDEX|AZaz09_-+.@/:~|",
    ]
    queries = [f"QUERY|{line.split('|')[1]}|" for line in lines]
    for is_first in (True, False, False):
        with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
            if not is_first:
                assert server.package_count == len(lines) - 1
                assert client.ask(*queries) == ["OK"] * len(queries)
                assert client.ask("REMOVE|cycle-a|", "REMOVE|cycle-b|", "REMOVE|openssl|") == ["FAIL"] * 3
            assert client.ask(*lines) == ["OK"] * len(lines)
            assert server.stop() == 0
        assert newest_snapshot(tmp_path) == snapshot_of(lines)


def test_a_stored_cycle_is_served_where_new_ones_are_rejected(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "INDEX|b|a", "INDEX|a|b") == ["OK"] * 3
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path), "--reject-cycles") as server, server.connect() as client:
        assert client.ask("QUERY|a|", "INDEX|a|b", "INDEX|a|b,a", "INDEX|c|a") == ["OK", "OK", "FAIL", "OK"]
