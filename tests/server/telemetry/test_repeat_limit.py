"""Similar log lines within a period share one line."""

import json
import logging
from typing import Final

import pytest

from scoop_server.telemetry.logs import REPEAT_SECONDS, JsonFormatter, RepeatLimit

from tests.support.event_loop import Clock

TEMPLATE: Final = "refused %(peer)s"


class Limited:
    """A limit with a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limit = RepeatLimit(self.clock)

    def refuse(self, peer: str, count: int = 1) -> None:
        self.limit.log(logging.WARNING, TEMPLATE, {"peer": peer}, count)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.limit.flush()


@pytest.fixture
def limited(caplog: pytest.LogCaptureFixture) -> Limited:
    caplog.set_level(logging.DEBUG, logger="scoop_server")
    return Limited()


def test_the_first_event_is_logged_at_once_and_later_ones_as_one_line(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_236):
        limited.refuse(str(number))
    limited.pass_time(REPEAT_SECONDS - 1)
    assert caplog.messages == ["refused 0"]
    limited.pass_time(1)
    assert caplog.messages[1:] == ["refused 1235 (and 1234 more like it in the last 10 s)"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_the_number_left_out_is_a_field(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    limited.refuse("a", count=1_000)
    limited.pass_time(REPEAT_SECONDS)
    assert json.loads(JsonFormatter().format(caplog.records[-1]))["left_out"] == 998


def test_templates_and_kinds_are_counted_separately(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    limited.refuse("a")
    limited.limit.log(logging.WARNING, "lost %(peer)s", {"peer": "a"})
    for reason in ("closed", "no certificate", "closed"):
        limited.limit.log(logging.INFO, "failed: %(reason)s", {"reason": reason}, kind=reason)
    assert caplog.messages == ["refused a", "lost a", "failed: closed", "failed: no certificate"]
    limited.limit.flush(at_once=True)
    assert caplog.messages[4:] == ["failed: closed"]


def test_endless_repetition_is_one_line_per_period(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        limited.refuse("a")
        limited.pass_time(1)
    assert len(caplog.messages) == 1 + 100 // REPEAT_SECONDS


def test_an_event_is_forgotten_after_a_period_without_it(limited: Limited) -> None:
    limited.refuse("a")
    limited.pass_time(REPEAT_SECONDS)
    assert not limited.limit._repeated


def test_events_below_the_level_are_not_counted(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="scoop_server")
    limited.refuse("a")
    assert not limited.limit._repeated


def test_fields_that_are_a_function_are_computed_for_written_lines_only(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def fields() -> dict[str, object]:
        calls.append(1)
        return {"peer": "a"}

    for _ in range(100):
        limited.limit.log(logging.WARNING, TEMPLATE, fields)
    limited.limit.flush(at_once=True)
    assert caplog.messages == ["refused a", "refused a (and 98 more like it in the last 0 s)"]
    assert len(calls) == 2
