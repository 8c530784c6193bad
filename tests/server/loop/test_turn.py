"""The event loop over real sockets and a real selector, with a clock that the test moves.

A selector that never waits, and remembers how long it was asked to, makes each turn a step of the test.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Sequence

import pytest

from scoop_server.config.access import AccessPolicy
from scoop_server.config.addresses import format_address
from scoop_server.config.limits import Limits
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.logs import REPEAT_SECONDS
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, QUERY, CountingSocket, Loop, Peer


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


# The turn


def test_requests_are_answered_in_order() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(b"QUERY|a|\nINDEX|a|\nQUERY|a|\nbroken\nREMOVE|a|\nQUERY|a|\n")
        loop.turn()
        assert peer.received() == b"FAIL\nOK\nOK\nERROR\nOK\nFAIL\n"


def test_a_line_in_pieces_is_answered_when_it_is_whole() -> None:
    with Loop() as loop:
        peer = loop.connect()
        for byte in b"INDEX|a|\r":
            peer.send(bytes([byte]))
            loop.turn()
            assert peer.received() == b""
        peer.send(b"\n")
        loop.turn()
        assert peer.received() == b"OK\n"


def test_clients_see_each_others_changes_in_the_order_of_the_turn() -> None:
    with Loop() as loop:
        first, second = loop.connect(), loop.connect()
        first.send(b"INDEX|a|\n")
        second.send(b"INDEX|b|a\nREMOVE|a|\n")
        loop.turn()
        assert (first.received(), second.received()) == (b"OK\n", b"OK\nFAIL\n")
        assert loop.graph.dependencies("b") == ("a",)


def test_one_commit_serves_all_clients_of_a_turn_and_comes_before_every_answer() -> None:
    with Loop() as loop:
        peers = [loop.connect() for _ in range(3)]
        received: list[bytes] = []
        loop.store.on_commit = lambda: received.extend(peer.received() for peer in peers)
        for number, peer in enumerate(peers):
            peer.send(b"INDEX|p%d|\nQUERY|p%d|\nINDEX|p%d|\n" % (number, number, number))
        loop.turn()
        assert loop.store.commits == [["INDEX|p0|", "INDEX|p1|", "INDEX|p2|"]]
        assert received == [b"", b"", b""]
        assert [peer.received() for peer in peers] == [b"OK\nOK\nOK\n"] * 3


def test_a_turn_without_changes_commits_nothing() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(b"INDEX|a|\n")
        loop.turn()
        peer.send(b"QUERY|a|\nINDEX|a|\nINDEX|b|c\nREMOVE|x|\nERROR\n")
        loop.turn()
        assert peer.received() == b"OK\nOK\nOK\nFAIL\nOK\nERROR\n"
        assert loop.store.commits == [["INDEX|a|"]]


def test_each_turn_commits_its_own_changes_only() -> None:
    with Loop() as loop:
        peer = loop.connect()
        for line in (b"INDEX|a|\n", b"INDEX|b|a\n", b"REMOVE|b|\n"):
            peer.send(line)
            loop.turn()
        assert loop.store.commits == [["INDEX|a|"], ["INDEX|b|a"], ["REMOVE|b|"]]


def test_a_client_costs_one_read_and_one_send_a_turn() -> None:
    limits = Limits(read_bytes_max=10 * len(QUERY))
    with Loop(limits) as loop:
        peer, near = loop.connect_counting()
        peer.send(QUERY * 25)
        loop.turn()
        assert near.received_sizes == [limits.read_bytes_max]
        assert near.send_count == 1
        assert peer.received() == ANSWER * 10


def test_a_client_that_sends_without_pause_delays_another_by_one_batch_at_most() -> None:
    limits = Limits(read_bytes_max=100 * len(QUERY))
    with Loop(limits) as loop:
        greedy, modest = loop.connect(), loop.connect()
        greedy.send_all_that_fits(QUERY)
        modest.send(QUERY)
        loop.turn()
        assert greedy.received() == ANSWER * 100
        assert modest.received() == ANSWER


def test_a_spurious_wake_up_changes_nothing() -> None:
    with Loop() as loop:
        peer, near = loop.connect_counting()
        peer.send(QUERY)
        near.error = BlockingIOError()
        loop.turn()
        near.error = None
        loop.turn()
        assert peer.received() == ANSWER


@pytest.mark.parametrize("method", ["close", "shut the sending side"])
def test_the_answers_to_complete_lines_come_before_the_end(method: str) -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(b"INDEX|a|\nQUERY|a|\nQUERY|")
        if method == "close":
            peer.socket.close()
            loop.turn(2)
        else:
            peer.socket.shutdown(socket.SHUT_WR)
            loop.turn(2)
            assert peer.received() == b"OK\nOK\n"
            assert peer.has_ended()
        assert "a" in loop.graph
        assert loop.store.commits == [["INDEX|a|"]]


def test_a_client_that_shuts_its_sending_side_and_reads_late_gets_all_its_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="scoop_server")  # errors are not counted for the log, then
    with Loop() as loop:
        peer = loop.connect(buffer_bytes=5_000)
        count = peer.send_all_that_fits(b"\n")
        peer.socket.shutdown(socket.SHUT_WR)
        loop.turn(10)
        assert loop.wait == 1.0  # nothing is left to do until the client reads
        answers = b""
        while len(answers) < count * len(b"ERROR\n"):
            answers += peer.received()
            loop.turn()
        assert answers == b"ERROR\n" * count
        assert peer.has_ended()


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(errno.EHOSTUNREACH, "No route")])
def test_a_connection_that_breaks_is_closed_and_the_others_go_on(error: OSError) -> None:
    with Loop() as loop:
        healthy = loop.connect()
        peer, near = loop.connect_counting()
        peer.send(QUERY)
        near.error = error
        healthy.send(QUERY)
        loop.turn()
        assert near.fileno() == -1
        assert healthy.received() == ANSWER


def test_a_connection_that_breaks_before_its_answer_keeps_its_change() -> None:
    with Loop() as loop:
        healthy = loop.connect()
        peer, near = loop.connect_counting()
        peer.send(b"INDEX|a|\n")

        def break_connection() -> None:
            near.error = ConnectionResetError()

        loop.store.on_commit = break_connection
        healthy.send(b"QUERY|b|\n")
        loop.turn()
        assert near.fileno() == -1
        assert healthy.received() == b"FAIL\n"
        assert loop.store.commits == [["INDEX|a|"]]
        healthy.send(b"QUERY|a|\n")
        loop.turn()
        assert healthy.received() == b"OK\n"


def test_an_idle_server_wakes_up_once_per_tick() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn(2)
        assert loop.wait == 1.0


def test_run_takes_turns_until_the_server_has_stopped() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.signal()
        loop.server.run()
        assert loop.state() is Lifecycle.STOPPED
        assert peer.received() == ANSWER


# Backpressure


def test_a_client_that_does_not_take_its_answers_is_not_read_and_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="scoop_server")  # errors are not counted for the log, then
    limits = Limits(output_bytes_high_water=20_000, read_bytes_max=1_000)
    with Loop(limits) as loop:
        healthy = loop.connect()
        peer = loop.connect(buffer_bytes=5_000)
        sent = 0
        for _ in range(200):
            sent += peer.send_all_that_fits(b"\n")
            loop.turn()
        assert peer.send_all_that_fits(b"\n") == 0  # neither the server nor the system takes any more
        healthy.send(QUERY)
        loop.turn()
        assert healthy.received() == ANSWER
        assert loop.wait == limits.tick_seconds  # it does not spin either, and minds only how long this takes
        # Once the client takes its answers it is read again, and has lost nothing.
        answers = b""
        for _ in range(10_000):
            answers += peer.received()
            loop.turn()
            if len(answers) == sent * len(b"ERROR\n"):
                break
        assert answers == b"ERROR\n" * sent
        loop.turn()
        assert loop.selector.ready_count == 0  # room for answers wakes no one when there are none
        peer.send(QUERY)
        loop.turn()
        assert peer.received() == ANSWER


def test_a_client_that_does_not_take_its_answers_holds_a_bounded_number_of_them() -> None:
    limits = Limits(output_bytes_high_water=20_000, read_bytes_max=1_000)
    with Loop(limits) as loop:
        near, peer = loop.pair(buffer_bytes=5_000)
        counting = CountingSocket(near)
        loop.listeners[0].add(counting)
        for _ in range(200):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        answers_bytes = sum(counting.received_sizes) * len(b"ERROR\n")
        in_the_system_bytes = len(peer.received())
        held_bytes = answers_bytes - in_the_system_bytes
        assert limits.output_bytes_high_water < held_bytes
        assert held_bytes <= limits.output_bytes_high_water + limits.read_bytes_max * len(b"ERROR\n")


def test_a_client_above_the_hard_limit_of_unsent_answers_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(output_bytes_high_water=1_000_000, output_bytes_max=20_000, read_bytes_max=1_000)
    with Loop(limits) as loop:
        healthy = loop.connect()
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(50):
            if "unsent" not in caplog.text:
                peer.send_all_that_fits(b"\n")
            loop.turn()
        assert peer.has_ended()
        assert "bytes of answers are unsent" in caplog.text
        healthy.send(QUERY)
        loop.turn()
        assert healthy.received() == ANSWER


def test_a_client_that_breaks_while_it_is_not_read_is_closed() -> None:
    limits = Limits(output_bytes_high_water=1_000)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(50):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        peer.socket.close()
        loop.turn()
        loop.signal()
        loop.turn(2)
        assert loop.state() is Lifecycle.STOPPED  # no client is left


# Many who send without pause


def test_a_turn_reads_an_equal_share_of_each_client_that_is_ready() -> None:
    with Loop(Limits(turn_bytes_max=8 * 1_024)) as loop:
        connections = [loop.connect_counting() for _ in range(8)]
        for peer, _ in connections:
            peer.send(QUERY * 500)
        loop.turn()
        assert [near.received_sizes for _, near in connections] == [[1_024]] * 8


def test_a_turn_executes_an_equal_share_of_the_lines_of_each_client_and_the_rest_in_the_next() -> None:
    with Loop(Limits(turn_lines_max=40)) as loop:
        peers = [loop.connect() for _ in range(4)]
        for peer in peers:
            peer.send(b"\n" * 25)
        answers = []
        for _ in range(4):
            loop.turn()
            answers.append([peer.received().count(b"ERROR\n") for peer in peers])
        assert answers == [[10] * 4, [10] * 4, [5] * 4, [0] * 4]
        assert loop.wait == 1.0


def test_lines_that_wait_for_the_next_turn_keep_the_client_from_being_read() -> None:
    with Loop(Limits(turn_lines_max=2)) as loop:
        peer, near = loop.connect_counting()
        peer.send(QUERY * 5)
        loop.turn()
        peer.send(QUERY)
        loop.turn(2)
        assert near.received_sizes == [5 * len(QUERY)]
        loop.turn()
        assert near.received_sizes == [5 * len(QUERY), len(QUERY)]
        assert peer.received() == ANSWER * 6


def test_a_signal_is_seen_to_however_many_send_without_pause() -> None:
    limits = Limits(read_bytes_max=len(QUERY), turn_bytes_max=len(QUERY))
    with Loop(limits) as loop:
        peers = [loop.connect() for _ in range(5)]
        for peer in peers:
            peer.send(QUERY * 100)
        loop.turn()
        loop.signal()
        for _ in range(len(peers) + 1):
            loop.turn()
        assert loop.server.state is not Lifecycle.SERVING


# What is counted


@pytest.mark.parametrize("counts", [False, True])
def test_bytes_are_always_counted_and_requests_and_turns_on_request(counts: bool) -> None:
    with Loop(counts=counts) as loop:
        statistics = loop.statistics
        peer = loop.connect()
        for data in (b"INDEX|a|\nQUERY|b|\nQU", b"ERY|a|\r\n?\n"):
            peer.send(data)
            loop.turn()
        assert peer.received() == b"OK\nFAIL\nOK\nERROR\n"
        assert (statistics.bytes_received, statistics.bytes_sent) == (30, 17)
        counted = {(command, str(response)): count for command, response, count in statistics.tally if count}
        requests = {("INDEX", "OK"): 1, ("QUERY", "FAIL"): 1, ("QUERY", "OK"): 1, ("unknown", "ERROR"): 1}
        assert counted == (requests if counts else {})
        assert sum(statistics.turn_seconds.counts) == (3 if counts else 0)
        assert sum(statistics.commit_seconds.counts) == (1 if counts else 0)


# Deadlines


def test_a_line_may_stay_incomplete_for_as_long_as_the_limit_says(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(incomplete_line_seconds_max=30.0)
    with Loop(limits) as loop:
        healthy, peer = loop.connect(), loop.connect()
        peer.send(b"QUERY|a")
        loop.turn()
        for _ in range(29):
            loop.pass_time(1.0)
            assert loop.wait is not None
            assert loop.wait <= limits.tick_seconds
        peer.send(b"b")  # a byte now and then is no way round the limit
        loop.turn()
        assert peer.received() == b""
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()
        assert "INFO" in caplog.text
        assert "closed the connection of 192.0.2.1:2: line time-out: incomplete for 30 s" in caplog.text
        healthy.send(QUERY)
        loop.turn(2)
        assert healthy.received() == ANSWER
        loop.pass_time(REPEAT_SECONDS)  # others like it would have been counted for so long
        loop.turn()
        assert loop.wait == 1.0


def test_each_line_has_its_own_time() -> None:
    with Loop(Limits(incomplete_line_seconds_max=30.0)) as loop:
        peer = loop.connect()
        for _ in range(5):
            peer.send(b"QUERY|")
            loop.turn()
            loop.pass_time(20.0)
            peer.send(b"a|\n")
            loop.turn()
            assert peer.received() == ANSWER
        loop.pass_time(100.0)
        peer.send(b"QUERY|a|\nQUERY|")
        loop.turn()
        loop.pass_time(20.0)
        peer.send(b"a|\nQUERY|")  # a new line begins with the last bytes of the old one
        loop.turn()
        loop.pass_time(20.0)
        assert peer.received() == ANSWER * 2
        assert not peer.has_ended()
        loop.pass_time(10.0)
        assert peer.has_ended()


def test_the_clients_whose_lines_are_too_old_are_closed_and_only_they() -> None:
    with Loop(Limits(incomplete_line_seconds_max=30.0)) as loop:
        peers = [loop.connect() for _ in range(4)]
        for peer in peers:
            peer.send(b"QUERY|")
            loop.turn()
            loop.pass_time(10.0)
        assert [peer.has_ended() for peer in peers] == [True, True, False, False]
        loop.pass_time(10.0)
        assert [peer.has_ended() for peer in peers] == [True, True, True, False]


def test_a_line_over_the_limit_stays_open_no_longer_than_another() -> None:
    with Loop(Limits(line_bytes_max=100, incomplete_line_seconds_max=30.0)) as loop:
        peer = loop.connect()
        peer.send(b"x" * 101)
        loop.turn()
        assert peer.received() == b"ERROR\n"
        for _ in range(29):
            peer.send(b"x" * 101)
            loop.pass_time(1.0)
            assert peer.received() == b""
        loop.pass_time(1.0)
        assert peer.has_ended()


def test_a_line_that_passes_the_limit_gets_no_new_time() -> None:
    with Loop(Limits(line_bytes_max=100, incomplete_line_seconds_max=30.0)) as loop:
        peer = loop.connect()
        peer.send(QUERY + b"x" * 60)
        loop.turn()
        loop.pass_time(20.0)
        peer.send(b"x" * 60)
        loop.turn()
        assert peer.received() == ANSWER + b"ERROR\n"
        loop.pass_time(9.0)
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()


@pytest.mark.parametrize("first", [b"", b"x" * 60, b"x" * 101], ids=["between lines", "in a line", "over the limit"])
@pytest.mark.parametrize("rest", [b"QUERY|", b"x" * 101], ids=["a line", "another over the limit"])
def test_a_line_after_one_over_the_limit_has_its_own_time(first: bytes, rest: bytes) -> None:
    with Loop(Limits(line_bytes_max=100, incomplete_line_seconds_max=30.0)) as loop:
        peer = loop.connect()
        peer.send(first)
        loop.turn()
        loop.pass_time(20.0)
        peer.send(b"x" * 60 + b"\n" + rest)
        loop.turn()
        assert peer.received()
        loop.pass_time(29.0)
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()


def test_a_line_that_the_server_does_not_read_is_not_timed() -> None:
    limits = Limits(output_bytes_high_water=20_000, output_seconds_max=2_000.0, incomplete_line_seconds_max=30.0)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        sent = 0
        for _ in range(100):
            sent += peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.pass_time(1_000.0)
        answers = b""
        for _ in range(1_000):
            answers += peer.received()
            loop.turn()
        assert answers == b"ERROR\n" * sent


def test_time_spent_unread_does_not_count_against_a_line_begun_before() -> None:
    limits = Limits(output_bytes_high_water=0, output_seconds_max=2_000.0, incomplete_line_seconds_max=30.0)
    with Loop(limits) as loop:
        peer, near = loop.connect_counting()
        near.send_error = BlockingIOError()
        peer.send(b"\nQUERY|")
        loop.turn()
        loop.pass_time(1_000.0)
        near.send_error = None
        loop.turn()
        assert peer.received() == b"ERROR\n"
        loop.pass_time(29.0)
        peer.send(b"a|\nQUERY|")
        loop.turn()
        assert peer.received() == ANSWER
        loop.pass_time(29.0)
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()


def test_silence_is_allowed_for_ever_unless_it_is_limited() -> None:
    with Loop() as loop:
        peer = loop.connect()
        loop.pass_time(1e9)
        peer.send(QUERY)
        loop.turn()
        assert peer.received() == ANSWER


def test_a_silent_client_is_closed_after_the_idle_timeout(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(idle_seconds_max=60.0)) as loop:
        silent, talking = loop.connect(), loop.connect()
        for _ in range(3):
            loop.pass_time(19.0)
            talking.send(QUERY)
            loop.turn()
            assert talking.received() == ANSWER
        assert loop.wait is not None
        assert not silent.has_ended()
        loop.pass_time(3.0)
        assert silent.has_ended()
        assert "closed the connection of 192.0.2.1:1: idle time-out: no data for 60 s" in caplog.text
        talking.send(QUERY)
        loop.turn()
        assert talking.received() == ANSWER


def test_a_client_that_takes_its_answers_is_not_silent() -> None:
    limits = Limits(idle_seconds_max=60.0, output_bytes_high_water=20_000)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(100):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        for _ in range(4):
            loop.pass_time(40.0)
            assert peer.received()
            loop.turn()
        assert not peer.has_ended()


def test_a_client_that_does_not_take_its_answers_is_silent() -> None:
    limits = Limits(idle_seconds_max=60.0, output_bytes_high_water=20_000)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(100):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.pass_time(61.0)
        assert peer.has_ended()


def test_a_client_that_takes_nothing_of_its_answers_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
    with Loop(Limits(output_seconds_max=60.0)) as loop:
        healthy, peer = loop.connect(), loop.connect(buffer_bytes=5_000)
        for _ in range(10):
            peer.send_all_that_fits(QUERY)
            loop.turn()
        loop.pass_time(59.0)
        assert loop.wait is not None
        peer.send_all_that_fits(QUERY)  # to ask for more is no way round the limit
        loop.turn()
        assert loop.statistics.connections_now == 2
        loop.pass_time(1.0)
        assert loop.statistics.connections_closed == {CloseReason.UNREAD_OUTPUT: 1}
        assert "INFO" in caplog.text
        assert "closed the connection of 192.0.2.1:2: write time-out: no data accepted for 60 s" in caplog.text
        healthy.send(QUERY)
        loop.turn(2)
        assert healthy.received() == ANSWER
        loop.pass_time(REPEAT_SECONDS)  # others like it would have been counted for so long
        loop.turn()
        assert loop.wait == 1.0


def test_a_client_that_takes_some_of_its_answers_now_and_then_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="scoop_server")  # errors are not counted for the log, then
    limits = Limits(output_seconds_max=60.0)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        sent = 0
        for _ in range(100):
            sent += peer.send_all_that_fits(b"\n")
            loop.turn()
        answers = b""
        while len(answers) < len(b"ERROR\n") * sent:
            loop.pass_time(50.0)
            answers += peer.received()
        assert answers == b"ERROR\n" * sent
        loop.turn()
        assert loop.wait == 1.0  # nothing is unsent
        loop.pass_time(1_000.0)
        assert not peer.has_ended()


# Accepting


def test_many_connections_are_accepted_over_several_turns() -> None:
    with Loop(Limits(accepts_per_turn_max=4)) as loop:
        peers = [loop.call() for _ in range(10)]
        for peer in peers:
            peer.send(QUERY)
        loop.turn()
        loop.turn()
        assert [peer.received() for peer in peers] == [ANSWER] * 4 + [b""] * 6
        loop.turn(3)
        assert [peer.received() for peer in peers] == [b""] * 4 + [ANSWER] * 6


def test_past_the_most_clients_a_connection_is_closed_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(clients_max=2)) as loop:
        peers = [loop.connect() for _ in range(3)]
        assert [peer.has_ended() for peer in peers] == [False, False, True]
        assert "closed the connection of 192.0.2.1:3: too many clients (limit 2)" in caplog.messages
        peers[0].socket.close()
        loop.turn()
        late = loop.connect()
        for peer in (peers[1], late):
            peer.send(QUERY)
        loop.turn()
        assert [peers[1].received(), late.received()] == [ANSWER, ANSWER]


def test_a_connection_that_is_gone_before_it_is_accepted_does_not_hold_up_the_next() -> None:
    with Loop() as loop:
        loop.listeners[0].add(ConnectionAbortedError())
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        assert peer.received() == ANSWER


OUT_OF_DESCRIPTORS = [
    OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
]


@pytest.mark.parametrize("error", OUT_OF_DESCRIPTORS, ids=lambda error: errno.errorcode[error.errno])
def test_out_of_descriptors_accepting_rests_and_resumes(error: OSError, caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(accept_pause_seconds=1.0)
    with Loop(limits) as loop:
        healthy = loop.connect()
        loop.listeners[0].error = error
        waiting = loop.call()
        waiting.send(QUERY)
        loop.turn()
        assert error.strerror is not None
        assert f"cannot accept connections (1 are open): {error.strerror}" in caplog.text
        for _ in range(5):
            loop.turn()
            assert loop.wait is not None
            assert loop.wait > 0  # the connection that waits wakes no one
        assert len(caplog.records) == 2
        healthy.send(QUERY)
        loop.turn()
        assert healthy.received() == ANSWER
        loop.pass_time(1.0)  # time is over, and it is no better
        loop.turn()
        assert len(caplog.records) == 3
        loop.listeners[0].error = None
        loop.pass_time(1.0)
        loop.turn(2)
        assert waiting.received() == ANSWER


def test_accepting_resumes_as_soon_as_a_client_leaves() -> None:
    with Loop() as loop:
        leaving = loop.connect()
        loop.listeners[0].error = OUT_OF_DESCRIPTORS[0]
        waiting = loop.call()
        loop.turn()
        loop.listeners[0].error = None
        waiting.send(QUERY)
        leaving.socket.close()
        loop.turn(3)
        assert waiting.received() == ANSWER


def test_out_of_descriptors_all_listeners_rest() -> None:
    with Loop(listener_count=2) as loop:
        waiting = [loop.call(listener=number) for number in (0, 1)]
        for listener, peer in zip(loop.listeners, waiting, strict=True):
            listener.error = OUT_OF_DESCRIPTORS[0]
            peer.send(QUERY)
        loop.turn(2)
        for listener in loop.listeners:
            listener.error = None
        loop.pass_time(1.0)
        loop.turn(2)
        assert [peer.received() for peer in waiting] == [ANSWER, ANSWER]


# Shutdown


def test_without_clients_a_shutdown_is_immediate() -> None:
    with Loop() as loop:
        loop.signal()
        loop.run_down()
        assert all(wait in (0.0, 1.0) for wait in loop.selector.timeouts)
        assert loop.listeners[0].is_closed


def test_a_client_with_nothing_to_say_sees_a_proper_end() -> None:
    with Loop() as loop:
        peer = loop.connect()
        loop.signal()
        loop.run_down()
        with pytest.raises(EOFError):
            peer.received()
        assert all(wait in (0.0, 1.0) for wait in loop.selector.timeouts)


def test_what_had_arrived_whole_is_answered_however_much_it_is() -> None:
    limits = Limits(read_bytes_max=10 * len(QUERY))
    with Loop(limits) as loop:
        peers = [loop.connect() for _ in range(5)]
        for peer in peers:
            peer.send(QUERY * 100 + b"QUERY|")
        loop.signal()
        loop.turn(20)
        for peer in peers:
            assert peer.received() == ANSWER * 100
            assert peer.has_ended()
            peer.socket.close()
        loop.run_down()
        assert loop.clock.now == 1_000.0


@pytest.mark.parametrize("first", ["connection", "signal"])
def test_who_had_connected_before_is_answered_as_well(first: str) -> None:
    with Loop() as loop:
        if first == "signal":
            loop.signal()
        peer = loop.call()
        peer.send(QUERY)
        if first == "connection":
            loop.signal()
        loop.turn(5)
        assert peer.received() == ANSWER
        assert peer.has_ended()
        peer.socket.close()
        loop.run_down()


def test_changes_of_a_shutdown_are_committed_before_their_answers() -> None:
    with Loop() as loop:
        peer = loop.connect()
        received: list[bytes] = []
        loop.store.on_commit = lambda: received.append(peer.received())
        peer.send(b"INDEX|a|\n")
        loop.signal()
        loop.turn(3)
        assert loop.store.commits == [["INDEX|a|"]]
        assert received == [b""]
        assert peer.received() == b"OK\n"


def test_all_who_wait_are_accepted_at_a_shutdown_however_many_a_turn_takes() -> None:
    with Loop(Limits(accepts_per_turn_max=4), listener_count=2) as loop:
        peers = [loop.call(listener=number % 2) for number in range(30)]
        for peer in peers:
            peer.send(QUERY)
        loop.signal()
        loop.run_down()
        assert [peer.received() for peer in peers] == [ANSWER] * 30


def test_a_shutdown_accepts_no_more_than_there_is_room_for() -> None:
    with Loop(Limits(accepts_per_turn_max=4, clients_max=10)) as loop:
        peers = [loop.connect() for _ in range(3)]
        waiting = [loop.call() for _ in range(20)]
        for peer in (*peers, *waiting):
            peer.send(QUERY)
        loop.signal()
        loop.run_down()
        assert [peer.received() for peer in (*peers, *waiting[:7])] == [ANSWER] * 10
        assert all(peer.has_ended() for peer in waiting[7:])


# Shutdown, with a successor on the same listening sockets


def test_those_who_wait_are_left_to_the_successor() -> None:
    with Loop(has_successor=True) as loop:
        loop.call().send(QUERY)
        loop.server.request_shutdown()
        assert loop.listeners[0].is_closed
        loop.run_down()
        assert loop.statistics.connections_accepted == 0


def test_who_connected_long_ago_and_never_asked_holds_up_no_restart() -> None:
    limits = Limits()
    with Loop(limits, has_successor=True) as loop:
        silent = loop.connect()
        loop.pass_time(limits.handover_seconds_max + 1)
        loop.signal()
        loop.turn()
        assert loop.server.state is not Lifecycle.HANDING_OVER
        loop.run_down()
        assert silent.has_ended()


def test_who_has_just_connected_may_ask_before_the_server_goes() -> None:
    with Loop(has_successor=True) as loop:
        early, late = loop.connect(), loop.connect()
        early.send(QUERY)
        loop.signal()
        loop.turn()
        assert loop.state() is Lifecycle.HANDING_OVER
        loop.pass_time(1.0)
        assert loop.wait is not None
        assert loop.wait > 0  # who waits for someone to ask does not spin
        assert early.received() == ANSWER
        early.send(QUERY)
        late.send(QUERY[:3])
        loop.pass_time(1.0)
        assert (early.received(), late.received()) == (ANSWER, b"")
        assert loop.state() is Lifecycle.HANDING_OVER
        late.send(QUERY[3:])
        loop.pass_time(1.0)
        assert late.received() == ANSWER
        loop.run_down()
        assert early.has_ended()
        assert late.has_ended()


def test_where_all_have_asked_there_is_nothing_to_wait_for() -> None:
    with Loop(has_successor=True) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.clock.now += 0.001
        loop.turn()
        loop.signal()
        loop.run_down()
        assert peer.received() == ANSWER
        assert loop.clock.now == 1_000.001


def test_who_does_not_ask_at_all_holds_up_the_successor_no_longer_than_the_limit() -> None:
    with Loop(Limits(handover_seconds_max=5.0), has_successor=True) as loop:
        peer = loop.connect()
        loop.signal()
        loop.turn()
        loop.pass_time(4.9)
        assert loop.state() is Lifecycle.HANDING_OVER
        loop.pass_time(0.2)
        loop.run_down()
        assert peer.has_ended()


def test_a_second_request_hurries_the_handover() -> None:
    with Loop(has_successor=True) as loop:
        loop.connect()
        loop.signal()
        loop.turn()
        loop.signal()
        loop.turn()
        assert loop.state() is Lifecycle.STOPPED


# Shutdown, as it goes on


def test_a_shutdown_accepts_no_one() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.signal()
        loop.turn()
        assert loop.state() is Lifecycle.DRAINING
        assert loop.listeners[0].is_closed


def test_a_shutdown_while_accepting_rests() -> None:
    with Loop() as loop:
        peer = loop.connect()
        loop.listeners[0].error = OUT_OF_DESCRIPTORS[0]
        loop.call()
        loop.turn()
        peer.send(QUERY)
        loop.signal()
        loop.turn(3)
        assert peer.received() == ANSWER
        peer.socket.close()
        loop.run_down()


def test_a_shutdown_for_which_descriptors_are_missing() -> None:
    with Loop(listener_count=2) as loop:
        loop.listeners[0].error = OUT_OF_DESCRIPTORS[0]
        loop.signal()
        loop.call()
        loop.run_down()
        assert all(listener.is_closed for listener in loop.listeners)


def test_a_client_that_never_stops_sending_is_answered_for_a_while_and_then_seen_off() -> None:
    limits = Limits(read_bytes_max=1_000, drain_bytes_max=1_000_000, linger_seconds_max=2.0)
    with Loop(limits) as loop:
        peer = loop.connect()
        peer.send_all_that_fits(QUERY)
        loop.signal()
        answered = 0
        for _ in range(10_000):
            peer.send_all_that_fits(QUERY)
            loop.turn()
            try:
                answered += len(peer.received())
            except EOFError:
                break
        else:
            pytest.fail("the sender is not seen off")
        assert answered > 0
        for _ in range(100):  # what it still sends is thrown away, so that the end does not become a reset
            peer.send_all_that_fits(QUERY)
            loop.turn()
        assert loop.state() is Lifecycle.DRAINING
        loop.pass_time(2.0)
        loop.run_down()
        assert loop.clock.now == 1_002.0


def test_a_client_that_takes_its_answers_slowly_still_gets_all_that_it_had_asked_for() -> None:
    limits = Limits(read_bytes_max=1_000, output_bytes_high_water=20_000, drain_seconds_max=10.0)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        sent = 0
        for _ in range(200):
            sent += peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.signal()
        answers = b""
        for _ in range(1_000):
            loop.pass_time(9.0 / 1_000)
            try:
                answers += peer.socket.recv(1_000)
            except BlockingIOError:
                continue
        assert answers == b"ERROR\n" * sent
        assert peer.has_ended()


def behind_with_answers(loop: Loop) -> Peer:
    """Return a client that has asked for more than it has taken, and has not been asked to take it yet."""
    peer = loop.connect(buffer_bytes=5_000)
    for _ in range(20):
        peer.send(b"\n" * 100)
        loop.turn()
    return peer


def test_a_client_that_was_behind_with_its_answers_is_given_time_to_close_first() -> None:
    with Loop(Limits(linger_seconds_max=5.0, output_seconds_max=1.0)) as loop:
        peer = behind_with_answers(loop)
        loop.signal()
        loop.turn(3)
        answers = b""
        while len(answers) < 20 * 100 * len(b"ERROR\n"):
            answers += peer.received()
            loop.turn()
        assert peer.has_ended()
        peer.send(QUERY)  # it has not seen the end yet, and this does not turn the end into a reset
        loop.turn()
        loop.pass_time(4.9)
        assert loop.state() is Lifecycle.DRAINING
        loop.pass_time(0.2)
        assert loop.state() is Lifecycle.STOPPED


def test_a_client_that_closes_is_not_waited_for() -> None:
    with Loop() as loop:
        peer = behind_with_answers(loop)
        loop.signal()
        loop.turn(3)
        while not peer.has_ended():
            loop.turn()
        assert loop.state() is Lifecycle.DRAINING
        peer.socket.close()
        loop.turn()
        assert loop.state() is Lifecycle.STOPPED


@pytest.mark.parametrize("when", ["before its answers are sent", "before its end is sent", "while it lingers"])
def test_a_client_that_breaks_during_the_shutdown_is_not_waited_for(when: str) -> None:
    with Loop() as loop:
        near, peer = loop.pair(buffer_bytes=5_000)
        counting = CountingSocket(near)
        loop.listeners[0].add(counting)
        for _ in range(20):
            peer.send(b"\n" * 100)
            loop.turn()
        loop.signal()
        loop.turn(3)
        if when == "before its end is sent":
            counting.shutdown_error = BrokenPipeError()
        if when != "before its answers are sent":
            for _ in range(10):
                loop.turn()
                with contextlib.suppress(EOFError):
                    peer.received()
        if when == "while it lingers":
            assert loop.state() is Lifecycle.DRAINING
            peer.send(QUERY)
        counting.error = ConnectionResetError()
        with contextlib.suppress(EOFError):
            peer.received()
        loop.turn()
        assert loop.state() is Lifecycle.STOPPED


def test_a_sender_that_breaks_as_it_is_seen_off_is_not_waited_for() -> None:
    with Loop(Limits(read_bytes_max=len(QUERY), drain_bytes_max=2 * len(QUERY))) as loop:
        peer, near = loop.connect_counting()
        peer.send(QUERY * 10)
        near.shutdown_error = BrokenPipeError()
        loop.signal()
        loop.turn(3)
        assert loop.state() is Lifecycle.STOPPED


def test_a_client_that_is_in_the_middle_of_a_line_is_not_waited_for() -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(b"INDEX|a")
        loop.turn()
        loop.signal()
        loop.turn(3)
        assert peer.has_ended()
        assert len(loop.graph) == 0


def test_a_client_that_does_not_take_its_answers_holds_a_shutdown_no_longer_than_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = Limits(output_bytes_high_water=20_000, drain_seconds_max=10.0)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(50):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.signal()
        loop.turn()
        for _ in range(79):
            loop.pass_time(0.125)
            loop.turn()
        assert loop.state() is Lifecycle.DRAINING
        assert loop.wait is not None
        assert 0 < loop.wait <= limits.tick_seconds
        loop.pass_time(0.125)
        assert loop.state() is Lifecycle.STOPPED
        assert "clients that did not get all answers within 10 s: 1" in caplog.text


def test_what_wants_every_tick_gets_it_while_nothing_else_happens() -> None:
    with Loop() as loop:
        ticks: list[float] = []
        loop.server.on_tick(lambda: ticks.append(loop.clock.now))
        started = loop.clock.now
        for seconds in (1.0, 2.0, 2.5):
            loop.clock.now = started + seconds
            loop.turn()
            assert loop.wait is not None
        assert ticks == [started + 1.0, started + 2.0]


def test_a_server_that_is_watched_tells_once_a_second_that_it_takes_turns() -> None:
    with Loop(counts=True) as loop:
        told = [loop.statistics.last_tick]
        loop.selector.clock = loop.clock
        for _ in range(6):
            loop.turn()
            if loop.statistics.last_tick != told[-1]:
                told.append(loop.statistics.last_tick)
        assert told == [1_000.0, 1_001.0, 1_002.0, 1_003.0, 1_004.0, 1_005.0, 1_006.0]


def test_a_turn_that_took_long_has_ended_when_its_tick_is_told() -> None:
    with Loop(counts=True) as loop:

        def take_long() -> None:
            loop.clock.now += 20.0

        loop.store.on_commit = take_long
        peer = loop.connect()
        peer.send(b"INDEX|a|\n")
        loop.pass_time(1.0)
        assert loop.statistics.last_tick == 1_021.0


def test_a_shutdown_waits_for_its_deadline_and_not_for_the_next_tick(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(output_bytes_high_water=20_000, drain_seconds_max=10.0, tick_seconds=4.0)
    with Loop(limits) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(50):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.signal()
        loop.turn()
        loop.selector.clock = loop.clock
        loop.run_down()
        assert loop.clock.now == 1_010.0
        assert max(wait for wait in loop.selector.timeouts if wait is not None) == 4.0
        assert "clients that did not get all answers within 10 s: 1" in caplog.text


def test_a_second_request_hurries() -> None:
    with Loop(Limits(output_bytes_high_water=20_000)) as loop:
        peer = loop.connect(buffer_bytes=5_000)
        for _ in range(50):
            peer.send_all_that_fits(b"\n")
            loop.turn()
        loop.signal()
        loop.turn(3)
        assert loop.state() is Lifecycle.DRAINING
        loop.signal()
        loop.turn()
        assert loop.state() is Lifecycle.STOPPED


def test_close_closes_everything() -> None:
    with Loop() as loop:
        peers = [loop.connect() for _ in range(3)]
        loop.server.close()
        assert all(peer.has_ended() for peer in peers)
        assert loop.listeners[0].is_closed
        loop.server.close()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 8080), "127.0.0.1:8080"),
        (("::1", 8080, 0, 0), "[::1]:8080"),
        ("/run/scoop", "/run/scoop"),
    ],
)
def test_an_address_is_written_as_people_write_it(address: Sequence[object], text: str) -> None:
    assert format_address(address) == text


# Access


def test_a_read_only_listener_answers_queries_and_rejects_changes(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(policy=AccessPolicy(is_read_only=True)) as loop:
        loop.graph.index("a")
        peer = loop.connect()
        for lines in (b"QUERY|a|\nREMOVE|a|\nQUERY|a|\n", b"INDEX|b|\nQUERY|b|\n"):
            peer.send(lines)
            loop.turn()
        assert peer.received() == b"OK\nERROR\nOK\nERROR\nFAIL\n"
        assert loop.store.commits == []
        assert loop.statistics.changes_rejected == 2
        assert "this listener is read-only" in caplog.text


def test_a_client_whose_first_line_is_an_http_request_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    with Loop() as loop:
        peer = loop.connect()
        peer.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nINDEX|a|\n")
        loop.turn()
        assert peer.has_ended()
        assert len(loop.graph) == 0
        assert loop.statistics.connections_closed[CloseReason.HTTP] == 1
        assert "its first line is an HTTP request" in caplog.text


def test_only_the_first_line_can_be_an_http_request() -> None:
    with Loop() as loop:
        peer = loop.connect()
        for lines in (QUERY, b"GET / HTTP/1.1\n"):
            peer.send(lines)
            loop.turn()
        assert peer.received() == ANSWER + b"ERROR\n"


def test_busy_turns_that_take_too_long_execute_less_until_they_are_short_enough() -> None:
    with Loop(Limits(turn_lines_max=64, turn_cpu_seconds_max=0.01)) as loop:
        peer = loop.connect()
        peer.send((QUERY + b"INDEX|a|\nREMOVE|a|\n") * 100)
        loop.store.on_commit = lambda: loop.clock.advance(0.02)
        executed = []
        for turn in range(7):
            if turn == 4:
                loop.store.on_commit = lambda: None
            loop.turn()
            executed.append(peer.received().count(b"\n"))
        assert executed == [64, 64, 32, 16, 8, 16, 32], "the first of several busy turns is not measured"
