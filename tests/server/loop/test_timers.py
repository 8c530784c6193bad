"""Timers: order, cancelling, and the removal of cancelled ones."""

from functools import partial
from math import inf

import pytest

from scoop_server.loop.timers import Timers


def test_timers_run_in_the_order_of_their_times_and_then_of_their_creation() -> None:
    timers = Timers(0.0)
    called: list[str] = []
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "d")):
        timers.call_at(when, partial(called.append, name))
    timers.begin_turn(2.5)
    timers.run()
    assert called == ["a", "b", "c"]
    assert timers.due == 3.0


def test_a_timer_that_a_callback_sets_runs_in_the_next_run() -> None:
    timers = Timers(0.0)
    called: list[float] = []

    def set_another() -> None:
        timers.call_at(1.0, lambda: called.append(timers.now))

    timers.call_at(1.0, set_another)
    timers.begin_turn(1.0)
    timers.run()
    assert called == []
    timers.begin_turn(2.0)
    timers.run()
    assert called == [2.0]


@pytest.mark.parametrize("count", [1, 1_001])
def test_cancelled_timers_never_run_and_are_removed(count: int) -> None:
    timers = Timers(0.0)
    called: list[str] = []
    kept = timers.call_at(2.0, lambda: called.append("kept"))
    cancelled = [timers.call_at(1.0, lambda: called.append("cancelled")) for _ in range(count)]
    for timer in cancelled * 2:
        timers.cancel(timer)
    assert timers.due == (1.0 if count == 1 else 2.0), "many cancelled timers are removed before they are due"
    timers.begin_turn(3.0)
    timers.run()
    assert called == ["kept"]
    assert timers.due == inf
    timers.cancel(kept)
    assert timers.due == inf, "cancelling a timer that has run does nothing"
