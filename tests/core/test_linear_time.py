"""Operations whose time is linear, by the ratio of the processor times of two in one run."""

import time
from collections.abc import Callable

import pytest

from scoop_core import Command, DependencyGraph, IndexedGraph, Request, elementary_cycles


def seconds(action: Callable[[], object]) -> float:
    """Return the processor time of ``action``, the shorter of two runs."""
    times = []
    for _ in range(2):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


LONG = [f"n{number}" for number in range(10_000)]
OTHER = [*LONG[:-1], "another"]
HUB = {"hub": LONG, **dict.fromkeys([*LONG, "another"], ())}


def index_again(graph: DependencyGraph) -> None:
    assert graph.index("hub", OTHER)
    assert graph.index("hub", LONG)


def ring(length: int) -> DependencyGraph:
    """Return packages that depend on the one before and the one after, in a ring."""
    names = [f"p{number:05}" for number in range(length)]
    return DependencyGraph.from_mapping(
        {name: [names[number - 1], names[(number + 1) % length]] for number, name in enumerate(names)}
    )


PLAIN, FULL = DependencyGraph.from_mapping(HUB), IndexedGraph.from_mapping(HUB)
CYCLES_REJECTED = DependencyGraph.from_mapping(HUB, reject_cycles=True)
SMALL_RING, LARGE_RING = ring(200), ring(1_600)
LINEAR: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {
    "index again in a graph with an index": (lambda: index_again(FULL), lambda: index_again(PLAIN), 30),
    "find_closed_cycle": (lambda: PLAIN.find_closed_cycle("hub", OTHER), lambda: index_again(PLAIN), 30),
    "explain": (
        lambda: CYCLES_REJECTED.explain(Request.of(Command.INDEX, "hub", OTHER)),
        lambda: index_again(PLAIN),
        30,
    ),
    "elementary_cycles of a double ring": (
        lambda: sum(1 for _ in elementary_cycles(LARGE_RING)),
        lambda: sum(1 for _ in elementary_cycles(SMALL_RING)),
        24,
    ),
}
"""What is measured, what it is compared with, and the limit of the ratio: a quadratic one has twice as much or more."""


@pytest.mark.parametrize("name", LINEAR)
def test_some_operations_take_linear_time(name: str) -> None:
    measured, compared, limit = LINEAR[name]
    assert seconds(measured) < limit * seconds(compared)
