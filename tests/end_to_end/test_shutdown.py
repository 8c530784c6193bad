"""The end of a server and its next beginning: what was asked is answered, and what was kept is there again."""

import array
import fcntl
import signal
import termios
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from tests.end_to_end.homebrew import read_homebrew
from tests.support.process import WAIT_SECONDS, BlockingClient, ServerProcess, connected, send_all_that_fits

QUERY: Final = b"QUERY|a|\n"


def newest_snapshot(directory: Path) -> bytes:
    """Return the bytes of the snapshot that counts."""
    return max(directory.glob("snapshot-*"), key=lambda path: int(path.name.rpartition("-")[2])).read_bytes()


def snapshot_of(lines: Iterable[str]) -> bytes:
    """Return the snapshot of a graph to which these requests lead."""
    graph = DependencyGraph()
    for line in lines:
        _, package, names = line.split("|")
        assert graph.index(package, names.split(",") if names else ()) == "OK"
    return b"".join(encode_snapshot(graph))


def unarrived_bytes(client: BlockingClient) -> int:
    """Return how much of what was sent has not arrived at the server's machine, which is this one."""
    count = array.array("i", [0])
    fcntl.ioctl(client.socket, termios.TIOCOUTQ, count)
    return count[0]


def wait_until_arrived(client: BlockingClient) -> None:
    """Return when all that was sent has arrived. The system tells when asked, and only then."""
    deadline = time.monotonic() + WAIT_SECONDS
    while unarrived_bytes(client):
        assert time.monotonic() < deadline


# What had arrived is answered


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("client_count", [1, 10])
def test_what_had_arrived_whole_is_answered(number: signal.Signals, client_count: int) -> None:
    with ServerProcess("--memory") as server, connected(server, client_count) as clients:
        for position, client in enumerate(clients):
            client.send(b"INDEX|a%d|\nQUERY|a%d|\nREMOVE|a%d|\n" % (position, position, position) * 500 + b"QUERY|a")
        for client in clients:
            wait_until_arrived(client)
        server.send_signal(number)
        for client in clients:
            assert client.read_to_end() == b"OK\n" * 1_500
            client.close()
        assert server.wait() == 0


def test_clients_with_nothing_to_say_see_a_proper_end() -> None:
    with ServerProcess("--memory") as server, connected(server, 50) as clients:
        assert clients[-1].ask("QUERY|a|") == ["FAIL"]
        server.send_signal(signal.SIGTERM)
        assert all(client.read_to_end() == b"" for client in clients)
        assert server.wait() == 0


def test_a_client_that_is_far_behind_with_its_answers_still_gets_them_all() -> None:
    with ServerProcess("--memory") as server, server.connect(receive_buffer_bytes=4_096) as client:
        assert client.ask("INDEX|a|") == ["OK"]
        sent = 0
        is_read = True
        while is_read:
            taken = send_all_that_fits(client, QUERY[sent % len(QUERY) :] + QUERY[: sent % len(QUERY)])
            sent += taken
            is_read = taken > 0
            with server.connect() as other:  # its answer shows that the server has had a turn to read more
                assert other.ask("QUERY|b|") == ["FAIL"]
        arrived = (sent - unarrived_bytes(client)) // len(QUERY)
        server.send_signal(signal.SIGTERM)
        server.wait_for_log("shutting down")
        client.finish_sending()
        answers = client.read_to_end()
        assert answers == b"OK\n" * (len(answers) // len(b"OK\n"))
        assert len(answers) // len(b"OK\n") >= arrived
        assert server.wait() == 0


# Those who would hold it up


def never_reading_client(server: ServerProcess) -> BlockingClient:
    """Return a client whose answers no longer fit into what the system keeps of them."""
    client = server.connect(receive_buffer_bytes=4_096)
    for _ in range(2):
        send_all_that_fits(client, b"\n")
        with server.connect() as other:
            assert other.ask("QUERY|a|") == ["FAIL"]
    return client


def test_a_client_that_does_not_take_its_answers_holds_it_for_ten_seconds_and_no_longer(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as healthy:
        assert healthy.ask("INDEX|a|", "REMOVE|a|", "INDEX|b|") == ["OK", "OK", "OK"]
        with never_reading_client(server):
            server.send_signal(signal.SIGTERM)
            assert healthy.read_to_end() == b""
            assert server.wait() == 0
            assert any("WARNING 1 client did not take all answers within 10 s" in line for line in server.log_lines)
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|b|"])


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_hurries(tmp_path: Path, second: signal.Signals) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as healthy:
        assert healthy.ask("INDEX|a|", "REMOVE|a|", "INDEX|b|") == ["OK", "OK", "OK"]
        with never_reading_client(server):
            server.send_signal(signal.SIGTERM)
            server.wait_for_log("shutting down: answering what has arrived ")
            server.send_signal(second)
            assert server.wait() == 0
            assert any("INFO shutting down at once" in line for line in server.log_lines)
            assert not any("WARNING" in line for line in server.log_lines)
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|b|"])


def test_no_one_is_accepted_any_more() -> None:
    with ServerProcess("--memory") as server, never_reading_client(server):
        server.send_signal(signal.SIGTERM)
        server.wait_for_log("shutting down")
        # Who comes before the server has closed its door is sent away; then no one comes in.
        with pytest.raises(ConnectionRefusedError):  # noqa: PT012 - the loop is the wait
            while True:
                with server.connect() as late:
                    late.wait_until_closed()
        assert server.stop() == 0


# What was kept is there again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_index_survives_a_restart_whole(tmp_path: Path, number: signal.Signals) -> None:
    packages = read_homebrew()
    lines = [f"INDEX|{name}|{','.join(names)}" for name, names in packages.in_dependency_order()]
    # Cycles, a package that depends on itself, the longest name, every kind of character.
    odd_lines = [
        "INDEX|cycle-a|",
        "INDEX|cycle-b|cycle-a",
        "INDEX|cycle-a|cycle-b,cycle-a",
        f"INDEX|{'n' * 255}|cycle-b",
        "INDEX|AZaz09_-+.@/:~|",
    ]
    lines += odd_lines
    queries = [f"QUERY|{line.split('|')[1]}|" for line in lines]
    directory = tmp_path / "data"
    for is_first in (True, False, False):
        with ServerProcess("--data-dir", str(directory)) as server, server.connect() as client:
            if is_first:
                assert client.ask(*lines) == ["OK"] * len(lines)
            else:
                assert server.package_count == len(packages) + 4
                assert client.ask(*queries) == ["OK"] * len(queries)
                assert client.ask("REMOVE|cycle-a|", "REMOVE|cycle-b|", "REMOVE|openssl|") == ["FAIL"] * 3
                assert client.ask(*lines) == ["OK"] * len(lines)
            assert server.stop(number) == 0
        assert newest_snapshot(directory) == snapshot_of(lines)


def test_a_restart_keeps_what_was_removed_and_replaced(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "INDEX|b|a", "INDEX|c|b") == ["OK"] * 3
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("REMOVE|c|", "INDEX|b|", "INDEX|d|a") == ["OK"] * 3
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("QUERY|a|", "QUERY|b|", "QUERY|c|", "QUERY|d|") == ["OK", "OK", "FAIL", "OK"]
        assert client.ask("REMOVE|a|", "REMOVE|b|") == ["FAIL", "OK"]
        assert server.stop() == 0
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|a|", "INDEX|d|a"])


def test_a_cycle_that_was_kept_is_served_also_where_new_ones_are_rejected(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "INDEX|b|a", "INDEX|a|b") == ["OK"] * 3
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path), "--reject-cycles") as server, server.connect() as client:
        assert client.ask("QUERY|a|", "INDEX|a|b", "INDEX|a|b,a", "INDEX|c|a") == ["OK", "OK", "FAIL", "OK"]


def test_a_killed_server_leaves_no_lock_and_all_that_it_had_answered(tmp_path: Path) -> None:
    indexed: list[str] = []
    for name in ("a", "b", "c"):
        with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
            assert server.package_count == len(indexed)
            assert client.ask(*[f"QUERY|{each}|" for each in indexed]) == ["OK"] * len(indexed)
            assert client.ask(f"INDEX|{name}|{','.join(indexed)}") == ["OK"]
            server.kill()
            assert server.wait() == -signal.SIGKILL
        indexed.append(name)
    with ServerProcess("--data-dir", str(tmp_path)) as server, server.connect() as client:
        assert client.ask("REMOVE|a|", "REMOVE|b|", "REMOVE|c|") == ["FAIL", "FAIL", "OK"]
        assert server.stop() == 0
    assert newest_snapshot(tmp_path) == snapshot_of(["INDEX|a|", "INDEX|b|a"])
