"""The performance goals of Scoop, as ratios within one run, and the results."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bench.measurements import Figures, Result
from bench.report import marks, table
from bench.size import Growths, Turns


class Goal(NamedTuple):
    """Under the load ``row``, ``peer`` gives at least ``factor`` times the responses of another peer or load."""

    row: str
    peer: str
    factor: float
    other_row: str
    other_peer: str

    def __str__(self) -> str:
        of_load = "" if self.other_row == self.row else f" at {self.other_row}"
        return f"{self.row}: {self.peer} >= {self.factor:g} x {self.other_peer}{of_load}"


GOALS: Final = (
    Goal("100/1/query", "scoop", 0.9, "100/1/query", "floor"),
    Goal("100/1/query", "scoop", 1, "100/1/query", "redis"),
    Goal("1/1/query", "scoop", 0.9, "1/1/query", "floor"),
    Goal("50/16/query", "scoop", 1.3, "50/16/query", "redis"),
    Goal("50/100/query", "scoop", 2, "50/100/query", "redis"),
    Goal("50/100/index", "scoop", 8, "50/100/index", "redis"),
    Goal("1/100/cycle", "scoop", 5, "1/100/cycle", "redis-aof"),
    Goal("1/100/cycle", "scoop-memory", 5, "1/100/cycle", "redis"),
    Goal("1/1/cycle", "scoop", 1.2, "1/1/cycle", "redis-aof"),
    Goal("100/1/mix", "scoop-memory", 0.8, "100/1/query", "scoop"),
    Goal("100/1/mix", "scoop", 0.6, "100/1/query", "scoop"),
    # A million responses per second, on a machine where Redis answers 2.6 million queries.
    Goal("50/100/mix", "scoop", 0.38, "50/100/query", "redis"),
)

INDEX_AT_SIZE_FACTOR: Final = 2.0
BYTES_PER_PACKAGE_MAX: Final = 300
START_SECONDS_MAX: Final = 3.0
LARGE_QUERY_FACTOR: Final = 0.7
TURN_MILLISECONDS_MAX: Final = 20
IDLE_FACTOR: Final = 0.9


class Reached(NamedTuple):
    """The result of a goal, as a table shows it."""

    goal: str
    reached: str
    by_cpu: str
    """The same for responses per second of processor time, or for processor time alone."""


def goals_of_loads(results: Sequence[Result]) -> Iterator[Reached]:
    """Yield the goals of the loads that were measured."""
    medians = {(str(each.shape), each.peer): each.median for each in results}
    for goal in GOALS:
        ours, theirs = medians.get((goal.row, goal.peer)), medians.get((goal.other_row, goal.other_peer))
        if ours and theirs:
            yield _compare(str(goal), ours, theirs)


def goals_of_idle(results: Sequence[Result]) -> Iterator[Reached]:
    """Yield the goals of Scoop beside idle connections; ``results`` alternate between without and with."""
    for quiet, crowded in zip(results[0::2], results[1::2], strict=True):
        if crowded.peer == "scoop":
            goal = f"{quiet.shape}: scoop with {crowded.idle_clients:,} idle >= {IDLE_FACTOR:g} x without"
            yield _compare(goal, crowded.median, quiet.median)


def goals_of_size(found: Growths) -> Iterator[Reached]:
    """Yield the goals of a large index."""
    growths = {each.peer: each for each in found.growths}
    ours, theirs = growths.get("scoop"), growths.get("redis")
    if ours is None:
        return
    count = f"{ours.package_count:,} packages"
    if theirs:
        yield Reached(
            f"{count}: scoop >= {INDEX_AT_SIZE_FACTOR:g} x redis in INDEX",
            f"{ours.index_per_second / theirs.index_per_second:.2f}",
            f"{theirs.index_cpu_us / ours.index_cpu_us:.2f}",
        )
    yield Reached(f"{count}: bytes per package <= {BYTES_PER_PACKAGE_MAX}", f"{ours.bytes_per_package:.0f}", "")
    if ours.restart:
        goal = f"{count}: start within {START_SECONDS_MAX:g} s"
        yield Reached(goal, f"{ours.restart.start_seconds:.2f}", f"{ours.restart.start_cpu_seconds:.2f}")
    for small, large in zip(found.small_and_large[0::2], found.small_and_large[1::2], strict=True):
        if large.peer == "scoop":
            goal = f"{count}: scoop in QUERY >= {LARGE_QUERY_FACTOR:g} x with {small.package_count:,}"
            yield _compare(goal, large.median, small.median)


def goals_of_turns(found: Sequence[Turns]) -> Iterator[Reached]:
    """Yield the goals of the turns; the processor time excludes other programs and the disk."""
    kinds = (
        ("longest", f"longest turn without table growth <= {TURN_MILLISECONDS_MAX} ms"),
        ("longest_with_table_growth", "longest turn with table growth"),
    )
    for each in found:
        for key, goal in kinds:
            if turns := each.report[key]:
                milliseconds, of_cpu = (max(turn[what] for turn in turns) * 1e3 for what in ("seconds", "cpu_seconds"))
                yield Reached(f"{each.peer}: {goal}", f"{milliseconds:.1f} ms", f"{of_cpu:.1f} ms")


def _compare(goal: str, ours: Figures, theirs: Figures) -> Reached:
    return Reached(
        goal,
        f"{ours.answers_per_second / theirs.answers_per_second:.2f}{marks(ours, theirs)}",
        f"{ours.answers_per_cpu_second / theirs.answers_per_cpu_second:.2f}",
    )


def goal_table(found: Sequence[Reached]) -> str:
    """Return the table of goals."""
    return table("Goals", ("", "reached", "by CPU"), found)
