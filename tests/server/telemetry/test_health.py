"""The health of a run: stuck, read-only, ready."""

import pytest

from scoop_core import DependencyGraph

from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.telemetry.health import STUCK_SECONDS, Health
from scoop_server.telemetry.statistics import Stage, Statistics

from tests.support.event_loop import Loop


def test_a_run_is_stuck_while_its_event_loop_takes_no_turns() -> None:
    with Loop(counts=True) as loop:
        health = Health(loop.statistics)
        loop.statistics.stage = Stage.SERVING
        was_stuck = []
        for seconds in (STUCK_SECONDS, 0.1):
            loop.clock.now += seconds
            was_stuck.append(health.is_stuck)
        loop.turn()
        assert [*was_stuck, health.is_stuck] == [False, True, False]


@pytest.mark.parametrize("stage", Stage)
def test_only_a_run_that_serves_or_drains_can_be_stuck(stage: Stage) -> None:
    health = Health(Statistics(clock=lambda: 1_000.0))
    health.statistics.stage = stage
    assert not health.is_stuck, "no loop has begun"
    health.statistics.last_tick = 1.0
    assert health.is_stuck == (stage in {Stage.SERVING, Stage.DRAINING})


def test_the_reason_for_not_being_ready_is_the_most_serious_one() -> None:
    store = MemoryStore()
    health = Health(Statistics(clock=lambda: 1_000.0), index=LocalIndex[object](DependencyGraph(), store))
    reasons = [health.not_ready_reason]
    health.statistics.stage = Stage.SERVING
    reasons.append(health.not_ready_reason)
    store.read_only_reason = "the disk is full"
    reasons.append(health.not_ready_reason)
    health.statistics.last_tick = 1.0
    reasons.append(health.not_ready_reason)
    assert reasons == ["loading", "", "read-only", "stuck"]
