"""Hostile clients of the real process, beside a healthy client that must not be disturbed.

The tests of the event loop, whose clock a test moves, show when each limit applies. These show the options, and the
memory, descriptors and processor time of the process.
"""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_server.config.limits import Limits

from tests.support.process import MODULE_COMMAND, BlockingClient, ServerProcess, close_all, connected

MEBIBYTE = 1_048_576
DESCRIPTORS_MAX = 32
MORE_CLIENTS_THAN_DESCRIPTORS = 40
SHORTAGE = r"WARNING cannot accept connections \((\d+) are open\): Too many open files"


def is_served(client: BlockingClient) -> bool:
    """Return whether ``client`` gets the right responses."""
    lines = ("INDEX|healthy|", "QUERY|healthy|", "REMOVE|healthy|", "QUERY|healthy|")
    return client.ask(*lines) == ["OK", "OK", "OK", "FAIL"]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    with ServerProcess("--memory", "--max-line", "1000") as server:
        yield server


@pytest.fixture
def healthy(shared_server: ServerProcess) -> Iterator[BlockingClient]:
    """Give a client that is served before and after the test."""
    with shared_server.connect() as client:
        assert is_served(client)
        yield client
        assert is_served(client)


def test_an_endless_line_needs_no_memory(shared_server: ServerProcess, healthy: BlockingClient) -> None:
    with shared_server.connect() as hostile:
        hostile.send(b"x" * MEBIBYTE + b"\n")
        assert hostile.read_answers(1) == ["ERROR"]
        before = shared_server.peak_memory_bytes()
        for _ in range(32):
            hostile.send(b"x" * MEBIBYTE)
            assert is_served(healthy)
        hostile.send(b"\nQUERY|nothing|\n")
        assert hostile.read_answers(2) == ["ERROR", "FAIL"]
        assert shared_server.peak_memory_bytes() - before < 2 * MEBIBYTE


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="the JIT of PyPy takes more memory than the limit")
def test_responses_that_are_not_read_need_little_memory(shared_server: ServerProcess, healthy: BlockingClient) -> None:
    count = 2_000_000
    turns_to_read_all = count * len(b"QUERY|a|\n") // Limits().read_bytes_max
    with shared_server.connect(receive_buffer_bytes=4_096) as hostile:
        assert hostile.ask(*["QUERY|a|"] * 10_000) == ["FAIL"] * 10_000
        before = shared_server.peak_memory_bytes()

        def send() -> None:
            with contextlib.suppress(OSError):  # the end of the test breaks the connection
                hostile.send(b"QUERY|a|\n" * count)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            # Each response to the healthy client is a turn of the server, in which it could read more.
            for _ in range(turns_to_read_all + 100):
                assert healthy.ask("QUERY|a|") == ["FAIL"]
            assert sender.is_alive()
            assert shared_server.peak_memory_bytes() - before < 4 * MEBIBYTE
        finally:
            hostile.socket.shutdown(socket.SHUT_RDWR)
            sender.join()


def test_closed_connections_leave_no_descriptor(shared_server: ServerProcess, healthy: BlockingClient) -> None:
    descriptors = Path(f"/proc/{shared_server.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(60):
        with shared_server.connect() as client:
            client.send((b"", b"QUERY|", b"INDEX|reset|\nREMOVE|reset|\n" * 1_000)[number % 3])
            if number % 2:
                client.reset()
        assert is_served(healthy)
    with shared_server.connect() as last:
        assert is_served(last)
        assert len(list(descriptors.iterdir())) <= before + 1


@pytest.mark.parametrize(
    ("option", "sent", "reason"),
    [
        ("--idle-timeout", b"", "idle time-out: no data for"),
        ("--line-timeout", b"QUERY|", "line time-out: incomplete for"),
    ],
)
def test_a_time_out_closes_one_client(option: str, sent: bytes, reason: str) -> None:
    with ServerProcess("--memory", option, "3") as server, server.connect() as healthy:
        with server.connect() as hostile:
            hostile.send(sent)
            hostile.socket.settimeout(0.05)  # so that the healthy client sends far more often than every 3 s
            while True:
                assert is_served(healthy)
                try:
                    assert hostile.socket.recv(1) == b""
                except TimeoutError:
                    continue
                break
            server.wait_for_log(rf"INFO closed the connection of {hostile.name}: {reason} \d+ s")
        assert is_served(healthy)


def test_repeated_changes_do_not_fill_the_disk(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"), "--compaction-threshold", "100000")
    with ServerProcess(*arguments) as server, server.connect() as hostile:
        while not any("compaction into" in line and "is complete" in line for line in server.log_lines):
            assert set(hostile.ask(*["INDEX|restless|", "REMOVE|restless|"] * 500)) == {"OK"}
        assert not (tmp_path / "data" / "journal-1").exists()


def test_without_free_descriptors_the_server_waits_and_serves_its_clients() -> None:
    with ServerProcess("--memory", descriptors_max=DESCRIPTORS_MAX) as server, server.connect() as healthy:
        assert is_served(healthy)
        with connected(server, MORE_CLIENTS_THAN_DESCRIPTORS) as clients:
            accepted = int(server.wait_for_log(SHORTAGE)[1]) - 1
            assert 0 < accepted < DESCRIPTORS_MAX
            assert all(is_served(client) for client in clients[:accepted])
            for leaving, waiting in zip(clients[:accepted], clients[accepted:], strict=False):
                leaving.close()
                assert is_served(waiting)
            assert is_served(healthy)
            close_all(clients)


def test_without_free_descriptors_the_server_shuts_down_and_saves(tmp_path: Path) -> None:
    with (
        ServerProcess("--data-dir", str(tmp_path / "data"), descriptors_max=DESCRIPTORS_MAX) as server,
        connected(server, MORE_CLIENTS_THAN_DESCRIPTORS) as clients,
    ):
        assert clients[0].ask("INDEX|a|") == ["OK"]
        server.wait_for_log(SHORTAGE)
        assert server.stop(signal.SIGTERM) == 0
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server, server.connect() as client:
        assert client.ask("QUERY|a|") == ["OK"]


def test_the_descriptor_limit_bounds_the_clients() -> None:
    limited = ("/bin/sh", "-c", 'ulimit -n 40 && exec "$@"', "sh", *MODULE_COMMAND)
    arguments = ("--memory", "--max-clients-per-peer", "8")
    with ServerProcess(*arguments, command=limited) as server, connected(server, 20) as clients:
        server.wait_for_log(
            r"WARNING the limit of open files is 40, which allows only 8 clients; raise it with ulimit -n"
        )
        server.wait_for_log(r"too many clients \(limit 8\)")
        assert all(is_served(client) for client in clients[:8])


def test_the_soft_descriptor_limit_is_raised_to_the_need_of_the_clients() -> None:
    limited = ("/bin/sh", "-c", 'ulimit -Sn 40 && exec "$@"', "sh", *MODULE_COMMAND)
    arguments = ("--memory", "--max-clients", "100", "--max-clients-per-peer", "100")
    with ServerProcess(*arguments, command=limited) as server, connected(server, 60) as clients:
        assert all(is_served(client) for client in clients)
