"""The operations that are written for speed, which make few calls however many packages or requests there are.

And those that take linear time, by the ratio of the processor times of two in one run.
"""

import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest

from scoop_core import (
    ClientConnection,
    Command,
    Connection,
    DependencyGraph,
    IndexedGraph,
    Request,
    decode_snapshot,
    elementary_cycles,
    encode_snapshot,
    parse_names,
)

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="PyPy counts calls within its own library, such as those of namedtuple"
)

CALLS_MAX = 100
"""A tenth of the packages, and far more than the calls of any of the operations."""


def count_calls(action: Callable[[], object]) -> int:
    """Return how many Python functions ``action`` calls."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return count


NAMES = [f"p{number:03}" for number in range(1_000)]
LISTS = ["", NAMES[0], *(f"{NAMES[number - 1]},{NAMES[number // 3]}" for number in range(2, 1_000))]
GRAPH = DependencyGraph.from_mapping(dict(zip(NAMES, map(parse_names, LISTS), strict=True)))
INDEXED = IndexedGraph.from_graph(GRAPH)
QUERIES = [f"QUERY|{name}|\n" for name in NAMES]
REPEATED = [f"INDEX|{name}|{listed}\n" for name, listed in zip(NAMES, LISTS, strict=True)]
MIXED = [*QUERIES[:500], *REPEATED[:500]]
REQUESTS = [Request.of(Command.QUERY, name) for name in NAMES]
SNAPSHOT = b"".join(encode_snapshot(GRAPH))


def receive_responses() -> None:
    client = ClientConnection()
    client.send_all(REQUESTS)
    assert len(client.receive(b"OK\n" * len(REQUESTS))) == len(REQUESTS)


ACTIONS: dict[str, Callable[[], object]] = {
    "queries": lambda: GRAPH.apply_lines("".join(QUERIES)),
    "repeated lists": lambda: GRAPH.apply_lines("".join(REPEATED)),
    "queries and repeated lists": lambda: GRAPH.apply_lines("".join(MIXED)),
    "queries of many clients": lambda: GRAPH.apply_batches(QUERIES),
    "repeated lists of many clients": lambda: GRAPH.apply_batches(REPEATED),
    "with an index, queries": lambda: INDEXED.apply_lines("".join(QUERIES)),
    "with an index, queries and repeated lists": lambda: INDEXED.apply_lines("".join(MIXED)),
    "receive lines": lambda: Connection().receive("".join(QUERIES).encode()),
    "send requests and receive responses": receive_responses,
    "from_lists": lambda: DependencyGraph.from_lists(NAMES, LISTS),
    "copy": GRAPH.copy,
    "from_graph": lambda: IndexedGraph.from_graph(GRAPH),
    "compare equal graphs": lambda: GRAPH.copy() == GRAPH,
    "diff of equal graphs": lambda: GRAPH.diff(GRAPH.copy()),
    "dependents": lambda: GRAPH.dependents(NAMES[998]),
    "layers": GRAPH.layers,
    "topological_order": GRAPH.topological_order,
    "cyclic_components": GRAPH.cyclic_components,
    "encode_snapshot": lambda: list(encode_snapshot(GRAPH)),
    "encode_snapshot of a decoded graph": lambda: list(encode_snapshot(decode_snapshot(SNAPSHOT, trust_checksum=True))),
    "encode_snapshot of a graph that had an index": lambda: list(encode_snapshot(INDEXED.to_graph())),
    "decode_snapshot": lambda: decode_snapshot(SNAPSHOT),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_a_thousand_packages_need_few_calls(action: Callable[[], object]) -> None:
    assert count_calls(action) <= CALLS_MAX


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
