"""What a run counts."""

from scoop_server.statistics import BATCH_CHANGES, COMMIT_SECONDS, TURN_SECONDS, Histogram, Stage, Statistics


def test_a_histogram_counts_what_equals_a_bound_under_it() -> None:
    histogram = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 7.5


def test_bounds_ascend() -> None:
    for bounds in (TURN_SECONDS, COMMIT_SECONDS, BATCH_CHANGES):
        assert list(bounds) == sorted(set(bounds))


def test_a_run_begins_by_loading_and_has_counted_nothing() -> None:
    statistics = Statistics()
    assert statistics.stage is Stage.LOADING
    assert statistics.recovery_seconds is None
    assert not statistics.answers
    assert sum(statistics.turn_seconds.counts) == 0
