"""The speed of a dependency graph beside networkx, pickle and plain alternatives, as ratios within one run.

``python -m bench.core_ratios`` prints a table for each size, with a row for each operation. A ratio below 1 means that
scoop-core is faster. Each pair is timed alternately, in processor time, without garbage collection, and the shortest
of several runs counts. rustworkx, whose nodes are numbers, is there for orientation.
"""

import argparse
import gc
import pickle
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import networkx as nx  # type: ignore[import-untyped]  # it has no types of its own
import rustworkx as rx

from scoop_core import (
    DependencyGraph,
    IndexedGraph,
    critical_path,
    decode_dot,
    decode_node_link,
    decode_snapshot,
    encode_dot,
    encode_node_link,
    encode_snapshot,
)

SIZES: Final = (10_000, 100_000, 1_000_000)
DEPENDENCIES_EACH: Final = 5
SAMPLE: Final = 200
"""Packages of which the questions about one package are asked."""
SMALL_RESULT_MAX: Final = 20
"""The most transitive dependents of a small result."""
SECONDS_EACH: Final = 2.0
"""The time for which a pair is repeated, but at least twice and at most 20 times."""


@dataclass(frozen=True)
class Row:
    """An operation, its alternative, and the highest ratio that is promised, if any."""

    name: str
    beside: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    target: float | None = None
    rust: Callable[[], object] | None = None


@dataclass(frozen=True)
class Figure:
    """The seconds of one row: ours, theirs, and those of rustworkx."""

    row: Row
    ours: float
    theirs: float
    rust: float | None

    def __str__(self) -> str:
        rust = "" if self.rust is None else f", rustworkx {_duration(self.rust)}"
        ratio = self.ours / self.theirs
        missed = " !" if self.row.target is not None and ratio > self.row.target else ""
        return f"{ratio:.2f}{missed} ({_duration(self.ours)} to {_duration(self.theirs)}{rust})"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.2f} s"
        if seconds >= 1
        else f"{seconds * 1e3:.3g} ms"
        if seconds >= 1e-3
        else f"{seconds * 1e6:.3g} us"
    )


def make_mapping(count: int) -> dict[str, list[str]]:
    """Return packages that each depend on five others, which precede them."""
    chance = random.Random(count)
    names = [f"package-{number:07}" for number in range(count)]
    chance.shuffle(names)
    mapping: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        numbers = {chance.randrange(number) for _ in range(DEPENDENCIES_EACH)} if number else ()
        mapping[name] = [names[each] for each in numbers]
    return mapping


def rows_for(count: int) -> Iterator[Row]:
    """Yield the rows, with what they need for one size."""
    mapping = make_mapping(count)
    graph = DependencyGraph.from_mapping(mapping)
    indexed = IndexedGraph.from_graph(graph)
    other = graph.copy()
    oracle = nx.DiGraph(mapping)
    number_of = {name: number for number, name in enumerate(mapping)}
    rust = rx.PyDiGraph()
    rust.add_nodes_from(list(mapping))
    rust.add_edges_from_no_data([(number_of[a], number_of[b]) for a, b in graph.edges()])
    snapshot, pickled = b"".join(encode_snapshot(graph)), pickle.dumps(graph)
    text = "".join(f"INDEX|{name}|{','.join(dependencies)}\n" for name, dependencies in mapping.items())
    chance = random.Random(1)
    names = list(mapping)
    sample = chance.sample(names, SAMPLE)
    last = chance.sample(names[-count // 5 :], min(SAMPLE * 10, count // 5))  # few depend on the last ones
    small = [name for name in last if 0 < len(indexed.transitive_dependents(name)) <= SMALL_RESULT_MAX][:SAMPLE]
    numbers, small_numbers = [number_of[name] for name in sample], [number_of[name] for name in small]
    wide = sample[:3]
    hub = max(names, key=indexed.dependent_count)
    dot, json = "".join(encode_dot(graph)), "".join(encode_node_link(graph))

    def index_one_by_one() -> DependencyGraph:
        made = DependencyGraph()
        for name, dependencies in mapping.items():
            made.index(name, dependencies)
        return made

    def add_one_by_one() -> nx.DiGraph:
        made = nx.DiGraph()
        for name, dependencies in mapping.items():
            made.add_node(name)
            for dependency in dependencies:
                made.add_edge(name, dependency)
        return made

    def nx_paths(chosen: list[str]) -> None:
        for start, goal in pairwise(chosen):
            with suppress(nx.NetworkXNoPath):
                nx.shortest_path(oracle, start, goal)

    yield Row(
        "dependents, with the reverse index",
        "networkx predecessors",
        lambda: [indexed.dependents(name) for name in sample],
        lambda: [list(oracle.predecessors(name)) for name in sample],
        2.0,
        lambda: [rust.predecessors(number) for number in numbers],
    )
    yield Row(
        "transitive_dependents, with the reverse index, small results",
        "networkx ancestors",
        lambda: [indexed.transitive_dependents(name) for name in small],
        lambda: [nx.ancestors(oracle, name) for name in small],
        2.0,
        lambda: [rx.ancestors(rust, number) for number in small_numbers],
    )
    yield Row(
        "from_mapping", "index for each package", lambda: DependencyGraph.from_mapping(mapping), index_one_by_one, 1.0
    )
    yield Row(
        "layers",
        "networkx topological_generations",
        graph.layers,
        lambda: list(nx.topological_generations(oracle)),
        1.0,
        lambda: list(rx.topological_generations(rust)),
    )
    yield Row(
        "cyclic_components",
        "networkx strongly_connected_components",
        graph.cyclic_components,
        lambda: list(nx.strongly_connected_components(oracle)),
        0.8,
        lambda: rx.strongly_connected_components(rust),
    )
    yield Row("diff of equal graphs", "==", lambda: graph.diff(other), lambda: graph == other, 2.0)
    yield Row(
        "encode_snapshot", "pickle.dumps", lambda: b"".join(encode_snapshot(graph)), lambda: pickle.dumps(graph), 3.0
    )
    yield Row("decode_snapshot", "pickle.loads", lambda: decode_snapshot(snapshot), lambda: pickle.loads(pickled))
    yield Row(
        "decode_snapshot with trust_checksum",
        "pickle.loads",
        lambda: decode_snapshot(snapshot, trust_checksum=True),
        lambda: pickle.loads(pickled),
        1.5,
    )
    yield Row(
        "from_mapping",
        "networkx DiGraph",
        lambda: DependencyGraph.from_mapping(mapping),
        lambda: nx.DiGraph(mapping),
        1.0,
    )
    yield Row(
        "topological_order",
        "networkx topological_sort",
        graph.topological_order,
        lambda: list(nx.topological_sort(oracle)),
        1.0,
        lambda: rx.topological_sort(rust),
    )
    yield Row(
        "dependencies",
        "networkx successors",
        lambda: [graph.dependencies(name) for name in sample],
        lambda: [list(oracle.successors(name)) for name in sample],
        None,
        lambda: [rust.successors(number) for number in numbers],
    )
    yield Row(
        "transitive_dependencies",
        "networkx descendants",
        lambda: [graph.transitive_dependencies(name) for name in wide],
        lambda: [nx.descendants(oracle, name) for name in wide],
        None,
        lambda: [rx.descendants(rust, number_of[name]) for name in wide],
    )
    yield Row(
        "find_path",
        "networkx shortest_path",
        lambda: [graph.find_path(a, b) for a, b in pairwise(wide)],
        lambda: nx_paths(wide),
    )
    yield Row(
        "find_path, with the reverse index",
        "networkx shortest_path",
        lambda: [indexed.find_path(a, b) for a, b in pairwise(sample)],
        lambda: nx_paths(sample),
        1.0,
    )
    yield Row(
        "apply_lines of new packages, with the reverse index",
        "apply_lines without it",
        lambda: IndexedGraph().apply_lines(text),
        lambda: DependencyGraph().apply_lines(text),
    )
    yield Row("IndexedGraph.from_graph", "networkx copy", lambda: IndexedGraph.from_graph(graph), oracle.copy, 1.0)
    yield Row("copy", "networkx copy", graph.copy, oracle.copy, 1.0)
    yield Row(
        "topological_order",
        "rustworkx topological_sort",
        graph.topological_order,
        lambda: rx.topological_sort(rust),
        3.0,
    )
    yield Row(
        "critical_path",
        "rustworkx dag_weighted_longest_path",
        lambda: critical_path(graph, {}, default=1.0),
        lambda: rx.dag_weighted_longest_path(rust, lambda _source, _target, _weight: 1.0),
        3.0,
    )
    yield Row(
        "transitive_dependents of a hub, with the reverse index",
        "rustworkx ancestors, in topological order",
        lambda: indexed.transitive_dependents(hub),
        lambda: rx.topological_sort(rust.subgraph(list(rx.ancestors(rust, number_of[hub])))),
        2.0,
    )
    yield Row("index for each package", "networkx add_edge for each dependency", index_one_by_one, add_one_by_one, 0.8)
    yield Row("decode_dot", "from_mapping", lambda: decode_dot(dot), lambda: DependencyGraph.from_mapping(mapping))
    yield Row(
        "decode_node_link",
        "from_mapping",
        lambda: decode_node_link(json),
        lambda: DependencyGraph.from_mapping(mapping),
    )


def measure(row: Row) -> Figure:
    """Time both sides alternately; return the shortest of each."""
    ours: list[float] = []
    theirs: list[float] = []
    started = time.process_time()
    while len(ours) < 2 or (time.process_time() - started < SECONDS_EACH and len(ours) < 20):
        ours.append(_seconds(row.ours))
        theirs.append(_seconds(row.theirs))
    rust = None if row.rust is None else min(_seconds(row.rust) for _ in range(3))
    return Figure(row, min(ours), min(theirs), rust)


def _seconds(call: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    started = time.process_time()
    result = call()
    seconds = time.process_time() - started
    gc.enable()
    del result
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, size by size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="the numbers of packages")
    for size in parser.parse_args(arguments).sizes:
        print(f"\n{size:,} packages with {DEPENDENCIES_EACH} dependencies each\n")
        print("| operation | beside | ratio | target |")
        print("|---|---|---|---|")
        for row in rows_for(size):
            target = "" if row.target is None else f"at most {row.target:.1f}"
            print(f"| {row.name} | {row.beside} | {measure(row)} | {target} |", flush=True)


if __name__ == "__main__":
    main()
