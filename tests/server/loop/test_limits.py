"""Each limit against a real server: a hostile client, and beside it a healthy one that must not notice.

That times are measured from where they should be is shown by the tests of the event loop, whose clock a test moves;
there also is the hard limit of the output, which no client can reach as long as the high-water mark does its work.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_core import MAX_LINE_LENGTH, MAX_NAME_LENGTH

from scoop_server.config.limits import Limits

from tests.support.admin import get, place_of
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, BlockingClient, ServerProcess, close_all, connected

SILENT_CLIENTS = 200
MEBIBYTE = 1_048_576


def is_served(client: BlockingClient) -> bool:
    """Tell whether ``client`` gets the answers that it should."""
    return client.ask("INDEX|healthy|", "QUERY|healthy|", "REMOVE|healthy|", "QUERY|healthy|") == [
        "OK",
        "OK",
        "OK",
        "FAIL",
    ]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    with ServerProcess("--memory", "--max-line", "1000") as server:
        yield server


@pytest.fixture
def healthy(shared_server: ServerProcess) -> Iterator[BlockingClient]:
    """Give a client that is served before, and must be served after."""
    with shared_server.connect() as client:
        assert is_served(client)
        yield client
        assert is_served(client)


def test_the_limits_are_the_documented_ones() -> None:
    assert MAX_NAME_LENGTH == 255
    assert Limits() == Limits(
        line_bytes_max=MAX_LINE_LENGTH,
        clients_max=10_000,
        idle_seconds_max=0.0,
        incomplete_line_seconds_max=30.0,
        read_bytes_max=65_536,
        turn_bytes_max=MEBIBYTE,
        output_bytes_high_water=MEBIBYTE,
        output_bytes_max=16 * MEBIBYTE,
        output_seconds_max=60.0,
        accepts_per_turn_max=256,
        drain_seconds_max=10.0,
        handshake_seconds_max=10.0,
        journal_bytes_min=64 * MEBIBYTE,
    )
    assert MAX_LINE_LENGTH == 65_536


# The line


def test_a_client_that_never_sends_a_newline_gets_one_error_and_stays_connected(
    shared_server: ServerProcess, healthy: BlockingClient
) -> None:
    with shared_server.connect() as hostile:
        for _ in range(100):
            hostile.send(b"x" * 100_000)
            assert is_served(healthy)
        assert hostile.read_answers(1) == ["ERROR"]
        hostile.send(b"\n")
        assert is_served(hostile)  # the next answers are those of the next lines


def test_the_rest_of_an_endless_line_is_not_kept(shared_server: ServerProcess, healthy: BlockingClient) -> None:
    with shared_server.connect() as hostile:
        hostile.send(b"x" * MEBIBYTE + b"\n")
        assert hostile.read_answers(1) == ["ERROR"]
        before = shared_server.peak_memory_bytes()
        for _ in range(32):
            hostile.send(b"x" * MEBIBYTE)
        hostile.send(b"\nQUERY|nothing|\n")
        assert hostile.read_answers(2) == ["ERROR", "FAIL"]
        assert shared_server.peak_memory_bytes() - before < 2 * MEBIBYTE
        assert is_served(healthy)


def test_a_client_that_dies_in_the_middle_of_a_line_has_not_sent_it(
    shared_server: ServerProcess, healthy: BlockingClient
) -> None:
    for number in range(20):
        with shared_server.connect() as dying:
            assert dying.ask(f"INDEX|half-{number}-a|") == ["OK"]
            dying.send(f"REMOVE|half-{number}-a|\nINDEX|half-{number}-b|".encode())
            if number % 2:
                assert dying.read_answers(1) == ["OK"]
                dying.reset()
            else:
                dying.finish_sending()
                assert dying.read_to_end() == b"OK\n"
        assert healthy.ask(f"QUERY|half-{number}-a|", f"QUERY|half-{number}-b|") == ["FAIL", "FAIL"]


# Clients that come, say nothing, and go


def test_clients_that_connect_and_say_nothing_are_kept_and_cost_the_others_nothing(
    shared_server: ServerProcess, healthy: BlockingClient
) -> None:
    with connected(shared_server, SILENT_CLIENTS) as silent:
        assert is_served(silent[-1])  # so all have been accepted
        assert is_served(healthy)
        assert all(is_served(client) for client in silent)


@pytest.mark.parametrize("said", [b"", b"QUERY|", b"QUERY|a|\n", b"INDEX|reset|\nREMOVE|reset|\n" * 1_000])
def test_a_client_that_resets_its_connection_is_gone(
    shared_server: ServerProcess, healthy: BlockingClient, said: bytes
) -> None:
    for _ in range(20):
        hostile = shared_server.connect()
        hostile.send(said)
        hostile.reset()
        assert is_served(healthy)


def test_clients_that_come_and_go_leave_no_descriptor_behind(
    shared_server: ServerProcess, healthy: BlockingClient
) -> None:
    descriptors = Path(f"/proc/{shared_server.pid}/fd")
    assert is_served(healthy)
    before = len(list(descriptors.iterdir()))
    for number in range(60):
        with shared_server.connect() as client:
            assert is_served(client)
            if number % 3 == 0:
                client.reset()
            elif number % 3 == 1:
                client.finish_sending()
                assert client.read_to_end() == b""
            else:
                client.close()
    with shared_server.connect() as last:
        assert is_served(last)
        assert is_served(healthy)
        assert len(list(descriptors.iterdir())) <= before + 1


# Answers that no one takes


def test_a_client_that_never_reads_its_answers_is_not_read_any_more(
    shared_server: ServerProcess, healthy: BlockingClient
) -> None:
    count = 4_000_000
    turns_to_read_them_all = count * len(b"QUERY|a|\n") // Limits().read_bytes_max
    with shared_server.connect(receive_buffer_bytes=4_096) as hostile:
        assert hostile.ask("INDEX|a|") == ["OK"]
        assert hostile.ask(*["QUERY|a|"] * 10_000) == ["OK"] * 10_000
        before = shared_server.peak_memory_bytes()
        sender = threading.Thread(target=hostile.send, args=(b"QUERY|a|\n" * count,))
        sender.start()
        try:
            # Each answer to a healthy client is a turn of the server, so that it could have read everything.
            for _ in range(turns_to_read_them_all + 100):
                assert healthy.ask("QUERY|a|") == ["OK"]
            assert sender.is_alive()
            assert shared_server.peak_memory_bytes() - before < 4 * MEBIBYTE
            # Once the client takes its answers, they are all there.
            hostile.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEBIBYTE)
            hostile.skip_answers(b"OK\n", count)
        finally:
            if sender.is_alive():
                hostile.socket.shutdown(socket.SHUT_RDWR)
            sender.join()
        assert hostile.ask("REMOVE|a|") == ["OK"]


# Flags


def test_an_idle_client_is_closed_and_a_talking_one_is_not() -> None:
    with ServerProcess("--memory", "--idle-timeout", "0.5") as server, server.connect() as talking:
        with server.connect() as idle:
            idle.socket.settimeout(0.05)
            while True:
                assert is_served(talking)
                try:
                    assert idle.socket.recv(1) == b""
                except TimeoutError:
                    continue
                break
            server.wait_for_log(rf"INFO closed the connection of {idle.name}: idle time-out: no data for \d+ s")
        assert is_served(talking)


def test_past_the_most_clients_a_connection_is_closed_with_a_log_line() -> None:
    with ServerProcess("--memory", "--max-clients", "3") as server, connected(server, 3) as clients:
        assert all(is_served(client) for client in clients)
        for _ in range(5):
            with server.connect() as late:
                late.wait_until_closed()
            assert all(is_served(client) for client in clients)
        server.wait_for_log(r"WARNING closed the connection of \S+: too many clients \(limit 3\)")
        clients.pop().reset()
        # Its place is free as soon as the server has seen that it has gone, which a client that stays may wait for.
        assert is_served(clients[0])
        with server.connect() as late:
            assert is_served(late)


def test_the_line_limit_is_the_one_of_the_flag() -> None:
    with ServerProcess("--memory", "--max-line", "20") as server, server.connect() as client:
        assert client.ask("INDEX|" + 13 * "a" + "|", "INDEX|" + 14 * "a" + "|") == ["OK", "ERROR"]


def has_been_closed(client: BlockingClient) -> bool:
    """Tell whether the server has closed the connection of ``client``, to which no answer is to come."""
    client.socket.settimeout(0.05)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("more", [b"", b"x"], ids=["silent", "a byte now and then"])
def test_a_line_that_does_not_end_is_closed_and_a_slow_talker_is_not(more: bytes) -> None:
    with ServerProcess("--memory", "--line-timeout", "0.5") as server, server.connect() as healthy:
        with server.connect() as hostile:
            hostile.send(b"QUERY|")
            while not has_been_closed(hostile):
                assert is_served(healthy)
                with contextlib.suppress(ConnectionError):
                    hostile.send(more)
            server.wait_for_log(rf"INFO closed the connection of {hostile.name}: line time-out: incomplete for \d+ s")
        assert is_served(healthy)


def test_an_endless_line_is_closed_as_well() -> None:
    arguments = ("--memory", "--max-line", "100", "--line-timeout", "0.5")
    with ServerProcess(*arguments) as server, server.connect() as healthy:
        with server.connect() as hostile:
            hostile.send(b"x" * 1_000)
            assert hostile.read_answers(1) == ["ERROR"]
            while not has_been_closed(hostile):
                assert is_served(healthy)
                with contextlib.suppress(ConnectionError):
                    hostile.send(b"x" * 1_000)
            server.wait_for_log(rf"INFO closed the connection of {hostile.name}: line time-out: incomplete for \d+ s")
        assert is_served(healthy)


def ask_and_take_nothing(client: BlockingClient, healthy: BlockingClient) -> None:
    """Send requests until neither the server nor the system takes more of them.

    A server that is only slow would have taken some in the turns in which it has served ``healthy`` meanwhile.
    """
    client.socket.settimeout(0.2)
    blocked = 0
    while blocked < 3:
        try:
            client.send(b"QUERY|a|\n" * 10_000)
            blocked = 0
        except TimeoutError:
            blocked += 1
            assert is_served(healthy)
    client.socket.settimeout(WAIT_SECONDS)


def test_a_client_that_takes_nothing_of_its_answers_is_closed() -> None:
    arguments = ("--memory", "--output-timeout", "0.5", "--output-high-water", "10000")
    with ServerProcess(*arguments) as server, server.connect() as healthy:
        with server.connect(receive_buffer_bytes=4_096) as hostile:
            with contextlib.suppress(ConnectionError):
                ask_and_take_nothing(hostile, healthy)
            deadline = time.monotonic() + WAIT_SECONDS
            while not any("write time-out" in line for line in server.log_lines) and time.monotonic() < deadline:
                assert is_served(healthy)
            server.wait_for_log(
                rf"INFO closed the connection of {hostile.name}: write time-out: no data accepted for \d+ s"
            )
        assert is_served(healthy)


def test_a_client_that_takes_nothing_of_its_answers_does_not_hold_up_a_shutdown() -> None:
    with (
        ServerProcess("--memory", "--drain-timeout", "0.5") as server,
        server.connect() as healthy,
        server.connect(receive_buffer_bytes=4_096) as hostile,
    ):
        ask_and_take_nothing(hostile, healthy)
        healthy.send(b"QUERY|a|\n")
        server.send_signal(signal.SIGTERM)
        assert healthy.read_to_end() == b"FAIL\n"
        healthy.close()
        assert server.wait() == 0
        server.wait_for_log(r"WARNING clients that did not accept all answers within 0\.5 s: 1")


# One turn


@contextlib.contextmanager
def held(server: ServerProcess) -> Iterator[None]:
    """Keep the server from running, so that what is sent to it meanwhile meets it in one turn."""
    server.send_signal(signal.SIGSTOP)
    try:
        while Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            os.sched_yield()
        yield
    finally:
        server.send_signal(signal.SIGCONT)


def test_a_flood_keeps_another_client_waiting_for_one_read_at_most() -> None:
    question = b"QUERY|flood|\n"
    arguments = ("--memory", "--access-log", "--max-read", str(100 * len(question)))
    with (
        ServerProcess(*arguments) as server,
        server.connect() as hostile,
        server.connect() as healthy,
    ):
        assert is_served(hostile)
        assert is_served(healthy)
        logged = len(server.log_lines)
        with held(server):
            hostile.send(question * 5_000)
            healthy.send(b"QUERY|healthy|\n")
        assert healthy.read_answers(1) == ["FAIL"]
        hostile.skip_answers(b"FAIL\n", 5_000)
        server.wait_for_log(r"QUERY\|healthy\|", after=logged)
        asked = [line.rpartition(" ")[2] for line in server.log_lines[logged:]]
        assert asked.index("QUERY|healthy|") <= 100


def test_a_flood_of_connections_keeps_another_client_waiting_for_few_of_them() -> None:
    arguments = ("--memory", "--access-log", "--log-level", "debug", "--max-accepts", "3")
    with ServerProcess(*arguments) as server, server.connect() as healthy:
        assert is_served(healthy)
        logged = len(server.log_lines)
        with held(server):
            hostile = [server.connect() for _ in range(50)]
            healthy.send(b"QUERY|healthy|\n")
        try:
            assert healthy.read_answers(1) == ["FAIL"]
            server.wait_for_log(r"QUERY\|healthy\|", after=logged)
            events = server.log_lines[logged:]
            answered = next(number for number, line in enumerate(events) if "QUERY|healthy|" in line)
            assert answered <= 3
            assert all(is_served(client) for client in hostile)
        finally:
            close_all(hostile)


# The journal


def test_a_client_that_changes_its_mind_all_the_time_does_not_fill_the_disk(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"), "--compaction-threshold", "100000")
    with ServerProcess(*arguments) as server, server.connect() as hostile, server.connect() as healthy:
        while not any("compaction into" in line and "is complete" in line for line in server.log_lines):
            assert set(hostile.ask(*["INDEX|restless|", "REMOVE|restless|"] * 500)) == {"OK"}
            assert is_served(healthy)
        assert not (tmp_path / "data" / "journal-1").exists()


# File descriptors

DESCRIPTORS_MAX = 32
MORE_CLIENTS_THAN_DESCRIPTORS = 40
SHORTAGE = r"(?:WARNING|DEBUG) cannot accept connections \((\d+) are open\): Too many open files"


def test_out_of_descriptors_the_server_neither_dies_nor_spins_and_serves_again_when_some_return() -> None:
    arguments = ("--memory", "--log-level", "debug")
    with ServerProcess(*arguments, descriptors_max=DESCRIPTORS_MAX) as server, server.connect() as healthy:
        assert is_served(healthy)
        with connected(server, MORE_CLIENTS_THAN_DESCRIPTORS) as clients:
            accepted = int(server.wait_for_log(SHORTAGE)[1]) - 1
            assert 0 < accepted < DESCRIPTORS_MAX
            logged, before = len(server.log_lines), server.cpu_seconds()
            server.wait_for_log(SHORTAGE, after=logged)
            # A server that spins would have used all of the second between the two lines.
            assert server.cpu_seconds() - before < 0.3
            assert is_served(healthy)
            assert all(is_served(client) for client in clients[:accepted])
            # Each client that leaves makes room for one that waits.
            for leaving, waiting in zip(clients[:accepted], clients[accepted:], strict=False):
                leaving.close()
                assert is_served(waiting)
            assert is_served(healthy)
            assert sum("WARNING cannot accept" in line for line in server.log_lines) == 1
            close_all(clients)
        with connected(server, accepted) as clients:
            assert all(is_served(client) for client in clients)
        assert is_served(healthy)


def test_out_of_descriptors_the_server_still_shuts_down_and_saves(tmp_path: Path) -> None:
    with (
        ServerProcess("--data-dir", str(tmp_path / "data"), descriptors_max=DESCRIPTORS_MAX) as server,
        connected(server, MORE_CLIENTS_THAN_DESCRIPTORS) as clients,
    ):
        assert clients[0].ask("INDEX|a|") == ["OK"]
        server.wait_for_log(SHORTAGE)
        assert server.stop(signal.SIGTERM) == 0
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server, server.connect() as client:
        assert client.ask("QUERY|a|") == ["OK"]


def test_more_clients_than_there_can_be_descriptors_are_not_promised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = ("/bin/sh", "-c", 'ulimit -n 40 && exec "$@"', "sh", *MODULE_COMMAND)
    with ServerProcess("--memory", command=limited) as server, connected(server, 20) as clients:
        server.wait_for_log(
            r"WARNING the limit of open files is 40, which allows only 8 clients; raise it with ulimit -n"
        )
        server.wait_for_log(r"too many clients \(limit 8\)")
        assert all(is_served(client) for client in clients[:8])
    assert (soft, hard) == resource.getrlimit(resource.RLIMIT_NOFILE)


def test_a_soft_limit_is_raised_as_far_as_the_clients_need() -> None:
    limited = ("/bin/sh", "-c", 'ulimit -Sn 40 && exec "$@"', "sh", *MODULE_COMMAND)
    with (
        ServerProcess("--memory", "--max-clients", "100", command=limited) as server,
        connected(server, 60) as clients,
    ):
        assert all(is_served(client) for client in clients)
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] == 132


def test_where_a_line_may_cost_much_a_turn_reads_little() -> None:
    assert Limits().of_costly_lines() == Limits(read_bytes_max=4_096, turn_bytes_max=4_096)
    assert Limits(read_bytes_max=100).of_costly_lines() == Limits(read_bytes_max=100, turn_bytes_max=4_096)


def test_a_server_that_rejects_cycles_takes_a_turn_for_every_4_kib() -> None:
    """A search for a cycle may take as long as thousands of other requests, and all wait for it."""
    request = b"QUERY|nothing|\n"
    count = 15 * 4_096 // len(request)
    with ServerProcess("--memory", "--reject-cycles", "--admin", "127.0.0.1:0") as server:
        with server.connect() as client:
            client.send(request * count)
            assert client.read_answers(count) == ["FAIL"] * count
        turns = re.search(
            r"^scoop_turn_duration_seconds_count (\S+)$", get(place_of(server), "/metrics")[1], re.MULTILINE
        )
    assert turns is not None
    assert float(turns[1]) >= 15
