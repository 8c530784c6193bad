"""Time-outs of incomplete lines, of idle clients and of responses that are not read."""

from collections.abc import Sequence

import pytest

from scoop_server.config.limits import Limits
from scoop_server.telemetry.logs import REPEAT_SECONDS
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, QUERY, Loop

LINE_SECONDS_MAX = 30.0
LONG, TOO_LONG = b"x" * 60, b"x" * 101


@pytest.mark.parametrize(
    ("limits", "sent", "reason", "message"),
    [
        (
            Limits(incomplete_line_seconds_max=30.0),
            b"QUERY|a",
            CloseReason.INCOMPLETE_LINE,
            "line time-out: incomplete for 30 s",
        ),
        (Limits(idle_seconds_max=30.0), b"", CloseReason.IDLE, "idle time-out: no data for 30 s"),
        (
            Limits(output_seconds_max=30.0),
            QUERY,
            CloseReason.UNREAD_OUTPUT,
            "write time-out: no data accepted for 30 s",
        ),
    ],
    ids=lambda value: value.value if isinstance(value, CloseReason) else "",
)
def test_a_time_out_closes_one_client_and_is_logged(
    limits: Limits, sent: bytes, reason: CloseReason, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Loop(limits) as loop:
        healthy, overdue = loop.connect(), loop.connect_unreading()
        overdue.send(sent)
        loop.turn()
        loop.pass_time(29.0)
        assert loop.exchange(healthy) == ANSWER
        assert loop.wait <= limits.tick_seconds
        assert loop.statistics.connections_now == 2
        loop.pass_time(1.0)
        assert loop.statistics.connections_closed == {reason: 1}
        assert ("INFO", f"closed the connection of 192.0.2.1:2: {message}") in [
            (record.levelname, record.getMessage()) for record in caplog.records
        ]
        assert loop.exchange(healthy) == ANSWER


def test_no_timer_remains_after_a_time_out() -> None:
    with Loop(Limits(incomplete_line_seconds_max=LINE_SECONDS_MAX)) as loop:
        loop.connect().send(b"QUERY")
        loop.turn()
        loop.pass_time(LINE_SECONDS_MAX)
        loop.pass_time(REPEAT_SECONDS)  # the limit on repeated log messages has a timer until then
        loop.turn()
        assert loop.wait == 1.0


# Incomplete lines


@pytest.mark.parametrize(
    ("sent", "closed_after"),
    [
        pytest.param([(0.0, b"QUERY|a"), (29.0, b"b")], 30.0, id="more bytes do not extend the time"),
        pytest.param([(0.0, TOO_LONG)] + [(time, TOO_LONG) for time in (10.0, 20.0, 29.0)], 30.0, id="too long"),
        pytest.param([(0.0, QUERY + LONG), (20.0, LONG)], 30.0, id="too long later"),
        pytest.param([(0.0, b"QUERY|"), (20.0, b"a|\n"), (90.0, b"QUERY|")], 120.0, id="each line has its own time"),
        pytest.param([(0.0, b"QUERY|"), (20.0, b"a|\nQUERY|")], 50.0, id="the next begins in the same read"),
        *(
            pytest.param([(0.0, first), (20.0, LONG + b"\n" + rest)], 50.0, id=f"{name} then {rest_name}")
            for name, first in (("nothing", b""), ("a long line", LONG), ("a line too long", TOO_LONG))
            for rest_name, rest in (("a line", b"QUERY|"), ("a line too long", TOO_LONG))
        ),
    ],
)
def test_an_incomplete_line_is_timed_from_its_first_byte(
    sent: Sequence[tuple[float, bytes]], closed_after: float
) -> None:
    with Loop(Limits(line_bytes_max=100, incomplete_line_seconds_max=LINE_SECONDS_MAX)) as loop:
        peer = loop.connect()
        started = loop.clock.now
        for when, data in sent:
            loop.pass_time(started + when - loop.clock.now)
            peer.send(data)
            loop.turn()
        loop.pass_time(started + closed_after - 1.0 - loop.clock.now)
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()


def test_each_client_has_its_own_deadline() -> None:
    with Loop(Limits(incomplete_line_seconds_max=LINE_SECONDS_MAX)) as loop:
        peers = [loop.connect() for _ in range(4)]
        for peer in peers:
            peer.send(b"QUERY|")
            loop.turn()
            loop.pass_time(10.0)
        assert [peer.has_ended() for peer in peers] == [True, True, False, False]
        loop.pass_time(10.0)
        assert [peer.has_ended() for peer in peers] == [True, True, True, False]


def test_an_incomplete_line_is_not_timed_while_the_client_is_not_read() -> None:
    limits = Limits(output_bytes_high_water=0, output_seconds_max=2_000.0, incomplete_line_seconds_max=LINE_SECONDS_MAX)
    with Loop(limits) as loop:
        peer = loop.connect_unreading()
        peer.send(b"\nQUERY|")
        loop.turn()
        loop.pass_time(1_000.0)
        peer.received()
        loop.turn()
        assert peer.received() == b"ERROR\n"
        loop.pass_time(29.0)
        assert loop.exchange(peer, b"a|\nQUERY|") == ANSWER
        loop.pass_time(29.0)
        assert not peer.has_ended()
        loop.pass_time(1.0)
        assert peer.has_ended()


# Idle clients


def test_a_client_may_be_idle_forever_by_default(loop: Loop) -> None:
    peer = loop.connect()
    loop.pass_time(1e9)
    assert loop.exchange(peer) == ANSWER


def test_a_client_that_reads_its_answers_is_not_idle() -> None:
    with Loop(Limits(idle_seconds_max=60.0)) as loop:
        peer = loop.connect_with_unsent_answers(20_000)
        for _ in range(4):
            loop.pass_time(40.0)
            assert peer.received()
            loop.turn()
        assert not peer.has_ended()


def test_a_client_that_does_not_read_its_answers_is_idle() -> None:
    with Loop(Limits(idle_seconds_max=60.0, output_seconds_max=120.0)) as loop:
        loop.connect_with_unsent_answers(20_000)
        loop.pass_time(61.0)
        assert loop.statistics.connections_closed == {CloseReason.IDLE: 1}


# Unread responses


def test_further_requests_do_not_extend_the_time_to_read_answers() -> None:
    with Loop(Limits(output_seconds_max=60.0)) as loop:
        peer = loop.connect_unreading()
        for _ in range(3):
            peer.send(QUERY)
            loop.turn()
            loop.pass_time(20.0)
        assert loop.statistics.connections_closed == {CloseReason.UNREAD_OUTPUT: 1}


def test_a_client_that_reads_some_of_its_answers_now_and_then_is_kept() -> None:
    with Loop(Limits(output_seconds_max=60.0)) as loop:
        peer = loop.connect_with_unsent_answers(20_000)
        answers = b""
        while len(answers) < 20_000 * len(b"ERROR\n"):
            loop.pass_time(50.0)
            answers += peer.received()
        assert answers == b"ERROR\n" * 20_000
        loop.pass_time(1_000.0)
        assert not peer.has_ended()
