"""Fair shares of a turn, and backpressure: no client delays the others or needs much memory."""

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, QUERY, Loop

# Answers that the client does not read


def test_a_client_that_does_not_read_its_answers_is_not_read_and_costs_no_turns() -> None:
    limits = Limits(output_bytes_high_water=20_000, read_bytes_max=1_000)
    with Loop(limits) as loop:
        healthy, hostile = loop.connect(), loop.connect_unreading()
        hostile.send(b"\n" * 10_000)
        loop.turn(20)
        assert hostile.server_end.received_sizes == [1_000] * 4, "4,000 answers are more than the high-water mark"
        assert loop.exchange(healthy) == ANSWER
        assert loop.wait == limits.tick_seconds
        answers = b""
        while len(answers) < 10_000 * len(b"ERROR\n"):
            answers += hostile.received()
            loop.turn()
        assert answers == b"ERROR\n" * 10_000
        loop.turn()
        assert loop.selector.ready_count == 0, "a client without unsent responses is not watched for writing"
        assert loop.exchange(hostile) == ANSWER


def test_a_client_above_the_hard_limit_of_unsent_answers_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(output_bytes_high_water=1_000_000, output_bytes_max=20_000, read_bytes_max=1_000)
    with Loop(limits) as loop:
        healthy, hostile = loop.connect(), loop.connect_unreading()
        hostile.send(b"\n" * 10_000)
        loop.turn(4)
        assert hostile.has_ended()
        assert "24,000 bytes of responses are unsent" in caplog.text
        assert loop.exchange(healthy) == ANSWER


def test_a_client_that_disconnects_while_it_is_not_read_is_closed() -> None:
    with Loop(Limits(output_bytes_high_water=0)) as loop:
        peer = loop.connect_unreading()
        peer.send(QUERY)
        loop.turn()
        peer.socket.close()
        loop.turn()
        assert loop.statistics.connections_closed[CloseReason.BROKEN] == 1


# Requests without pause


def test_a_client_that_sends_without_pause_delays_another_by_one_batch_at_most() -> None:
    with Loop(Limits(read_bytes_max=100 * len(QUERY))) as loop:
        greedy, modest = loop.connect(), loop.connect()
        greedy.send_all_that_fits(QUERY)
        assert loop.exchange(modest) == ANSWER
        assert greedy.received() == ANSWER * 100


def test_a_turn_reads_an_equal_share_from_each_ready_client() -> None:
    with Loop(Limits(turn_bytes_max=8 * 1_024)) as loop:
        peers = [loop.connect() for _ in range(8)]
        for peer in peers:
            peer.send(QUERY * 500)
        loop.turn()
        assert [peer.server_end.received_sizes for peer in peers] == [[1_024]] * 8


def test_a_turn_executes_an_equal_share_of_lines_of_each_client() -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_lines_max=40)) as loop:
        peers = [loop.connect() for _ in range(4)]
        for peer in peers:
            peer.send(b"\n" * 25)
        answers = []
        for _ in range(4):
            loop.turn()
            answers.append([peer.received().count(b"ERROR\n") for peer in peers])
        assert answers == [[10] * 4, [10] * 4, [5] * 4, [0] * 4]
        assert loop.wait == 1.0


def test_a_client_may_use_what_those_before_it_have_left_of_their_shares() -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_text_bytes_max=4 * 1_024)) as loop:
        peers = [loop.connect() for _ in range(4)]
        for peer, count in zip(peers, (10, 10, 10, 300), strict=True):
            peer.send(QUERY * count)
        loop.turn()
        assert [peer.received() for peer in peers] == [ANSWER * 10] * 3 + [ANSWER * 300]


def test_long_lines_that_arrive_together_are_executed_a_few_per_turn() -> None:
    long = b"INDEX|x|" + b"a," * 1_000 + b"a\n"
    limits = Limits(uncounted_bytes_max=0, turn_text_bytes_max=2 * len(long))
    with Loop(limits) as loop:
        hostile, healthy = [loop.connect() for _ in range(7)], loop.connect()
        for peer in hostile:
            peer.send(long * 2)
        order = []
        for _ in range(7):
            assert loop.exchange(healthy) == ANSWER
            order.append([number for number, peer in enumerate(hostile) if peer.received()])
        assert order == [[0, 1], [0, 1], [2, 3], [4, 5], [2, 6], [3, 4], [5, 6]], "those that wait longest come first"


def test_long_lines_that_arrive_in_pieces_are_read_to_their_ends_a_few_per_turn() -> None:
    long = b"INDEX|x|" + b"a," * 1_000 + b"a\n"
    limits = Limits(uncounted_bytes_max=0, turn_text_bytes_max=2 * len(long), read_bytes_max=1_000, long_line_bytes=500)
    with Loop(limits) as loop:
        hostile, healthy = [loop.connect() for _ in range(7)], loop.connect()
        for peer in hostile:
            peer.send(long)
        completed = []
        for turn in range(6):
            healthy.send(QUERY[3:] + QUERY[:3] if turn else QUERY + QUERY[:3])
            loop.turn()
            assert healthy.received() == ANSWER, "a short line is read to its end in every turn"
            completed.append([number for number, peer in enumerate(hostile) if len(peer.server_end.received_sizes) > 2])
        assert completed == [[], [], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]
        assert [peer.received() for peer in hostile] == [ANSWER] * 7


def test_many_short_lines_beside_long_ones_get_a_share_of_every_turn() -> None:
    long = b"INDEX|x|" + b"a," * 1_000 + b"a\n"
    with Loop(Limits(uncounted_bytes_max=0, turn_text_bytes_max=len(long))) as loop:
        hostile, healthy = [loop.connect() for _ in range(3)], loop.connect()
        for peer in hostile:
            peer.send(long * 2)
        healthy.send(QUERY * 100)
        counts = []
        for _ in range(4):
            loop.turn()
            counts.append(healthy.received().count(b"\n"))
        assert counts[0] == 512 // len(QUERY)
        assert sum(counts) == 100


def test_a_client_with_queued_lines_is_not_read() -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_lines_max=2)) as loop:
        peer = loop.connect()
        peer.send(QUERY * 5)
        loop.turn()
        peer.send(QUERY)
        loop.turn(2)
        assert peer.server_end.received_sizes == [5 * len(QUERY)]
        loop.turn()
        assert peer.server_end.received_sizes == [5 * len(QUERY), len(QUERY)]
        assert peer.received() == ANSWER * 6


def test_a_signal_is_processed_while_clients_send_without_pause() -> None:
    with Loop(Limits(read_bytes_max=len(QUERY), turn_bytes_max=len(QUERY))) as loop:
        peers = [loop.connect() for _ in range(5)]
        for peer in peers:
            peer.send(QUERY * 100)
        loop.turn()
        loop.signal()
        loop.turn()
        assert loop.state() is not Lifecycle.SERVING


def test_busy_turns_that_take_too_long_execute_less_until_they_are_short_enough() -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_lines_max=64, turn_cpu_seconds_max=0.01)) as loop:
        peer = loop.connect()
        peer.send((QUERY + b"INDEX|a|\nREMOVE|a|\n") * 100)
        loop.store.on_commit = lambda: loop.clock.advance(0.02)
        executed = []
        for turn in range(7):
            if turn == 4:
                loop.store.on_commit = lambda: None
            loop.turn()
            executed.append(peer.received().count(b"\n"))
        assert executed == [64, 32, 16, 8, 4, 8, 16]


def test_a_client_that_breaks_off_with_queued_and_unread_lines_is_closed_once() -> None:
    long = b"QUERY|a|" + b"a," * 2_000 + b"a\n"
    limits = Limits(uncounted_bytes_max=0, turn_text_bytes_max=2_000, read_bytes_max=len(long))
    with Loop(limits) as loop:
        healthy, first, broken = (loop.connect() for _ in range(3))
        first.send(long)
        broken.send(long + QUERY)
        loop.turn()  # executes the line of the first one, and queues that of the other
        broken.server_end.send_error = BrokenPipeError()
        loop.turn(3)
        assert broken.has_ended()
        assert loop.statistics.connections_closed == {CloseReason.BROKEN: 1}
        assert loop.exchange(healthy) == ANSWER
