"""Analyses of a whole graph: the longest chain of builds, the dependencies that follow from others, and its cycles."""

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Final, NamedTuple
from zlib import crc32

from scoop_core.graph import DependencyGraph, Graph
from scoop_core.graph_algorithms import component_layers, reachable
from scoop_core.graph_queries import names_by_layer
from scoop_core.messages import ENCODING

_STEPS_TO_SHRINK_MAX: Final = 20_000_000
"""Bounds the search for edges that need not be removed: some ten seconds for one component."""


class CriticalPath(NamedTuple):
    """The chain of packages that determines how long a build takes, dependencies first, and how long that is.

    >>> CriticalPath(("gmp",), 5.0).duration
    5.0
    """

    packages: tuple[str, ...]
    duration: float


def critical_path(graph: DependencyGraph, durations: Mapping[str, float], *, default: float = 0.0) -> CriticalPath:
    """Return the longest chain of packages that can only be built one after the other.

    A package that is not in ``durations`` takes ``default``. Packages that need each other in a cycle are
    built one after the other, all of them before what needs one of them. Raises ValueError for a negative duration,
    and :exc:`UnknownPackage` for that of a package that is not indexed. O(P log P + D).

    >>> graph = DependencyGraph.from_mapping({"gcc": ["isl", "mpfr"], "isl": ["gmp"], "mpfr": ["gmp"], "gmp": []})
    >>> critical_path(graph, {"gcc": 60, "isl": 5, "mpfr": 4, "gmp": 3})
    CriticalPath(packages=('gmp', 'isl', 'gcc'), duration=68.0)
    """
    for name in durations:
        graph._known(name)
    lists = graph._dependencies
    took = {name: durations.get(name, default) for name in lists}
    if (lowest := min(took.values(), default=0)) < 0:
        raise ValueError(f"expected durations of at least 0, got {lowest!r}")
    layer_of, groups = component_layers(lists)
    component_of = {name: tuple(sorted(group)) for group in groups for name in group}
    finish: dict[str, float] = {}  # when the component of a package can be ready at the earliest
    finish_of = finish.__getitem__
    order = list(chain.from_iterable(names_by_layer(layer_of)))
    for name in order:
        if name not in finish:
            listed = lists[name]
            try:
                finish[name] = took[name] + max(map(finish_of, listed.split(","))) if listed else took[name]
            except KeyError:  # on a cycle
                component = component_of.get(name, (name,))
                before = max(map(finish_of, _needed_by(graph, component)), default=0)
                finish.update(dict.fromkeys(component, sum(map(took.__getitem__, component)) + before))
    if not order:
        return CriticalPath((), 0.0)
    last = max(order, key=finish_of)
    path = [component_of.get(last, (last,))]
    while needed := _needed_by(graph, path[-1]):
        name = max(needed, key=finish_of)
        path.append(component_of.get(name, (name,)))
    return CriticalPath(tuple(chain.from_iterable(reversed(path))), float(finish[last]))


def _needed_by(graph: DependencyGraph, component: tuple[str, ...]) -> list[str]:
    """Return the packages outside of ``component`` on which it depends, sorted."""
    return sorted({name for member in component for name in graph.dependencies(member)}.difference(component))


def transitive_reduction(graph: Graph) -> Graph:
    """Return the graph without the dependencies that follow from others: each package reaches the same packages.

    Of a graph without cycles there is one smallest result. Within a cyclic component all dependencies are kept; of
    several between two components the first by name is kept. O(P log P + D) at best, O(P * D)
    at worst.

    >>> graph = DependencyGraph.from_mapping({"cloog": ["isl", "gmp"], "isl": ["gmp"], "gmp": []})
    >>> transitive_reduction(graph).to_mapping()
    mappingproxy({'cloog': ('isl',), 'isl': ('gmp',), 'gmp': ()})
    """
    number_of: dict[str, int] = {}  # of the component of each package; dependencies have lower numbers
    reduced: list[list[int]] = []  # the components on which each component still depends
    kept: dict[str, set[str]] = {name: set() for name in graph}
    for number, component in enumerate(graph.strongly_connected_components()):
        number_of.update(dict.fromkeys(component, number))
        edges: dict[int, tuple[str, str]] = {}  # the first to each other component
        for member in component:
            for name in sorted(graph.dependencies(member)):
                if number_of[name] == number:
                    kept[member].add(name)
                else:
                    edges.setdefault(number_of[name], (member, name))
        reduced.append(_without_implied(sorted(edges, reverse=True), reduced))
        for target in reduced[number]:
            member, name = edges[target]
            kept[member].add(name)
    return graph._with_lists(
        {name: ",".join(filter(kept[name].__contains__, graph.dependencies(name))) for name in graph}
    )


def _without_implied(targets: list[int], reduced: list[list[int]]) -> list[int]:
    """Return those of ``targets``, highest first, that no other of them reaches."""
    if len(targets) < 2:
        return targets
    lowest = targets[-1]
    reached: set[int] = set()
    needed = []
    for target in targets:
        if target in reached:
            continue
        needed.append(target)
        unexplored = [target]
        while unexplored:
            for following in reduced[unexplored.pop()]:
                if following >= lowest and following not in reached:
                    reached.add(following)
                    unexplored.append(following)
    return needed


def elementary_cycles(graph: DependencyGraph) -> Iterator[tuple[str, ...]]:
    """Yield each cycle that visits no package twice: each package depends on the next, the last on the first.

    A package that depends on itself is a cycle of one. Each cycle begins with the first of its names. There can be
    exponentially many; the time between two is O(p + d) of their component. The algorithm is that of D. B.
    Johnson ("Finding all the elementary circuits of a directed graph", 1975). The graph must not change meanwhile.

    >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c", "a"], "c": ["a", "c"]})
    >>> sorted(elementary_cycles(graph))
    [('a', 'b'), ('a', 'b', 'c'), ('c',)]
    """
    for component in graph.cyclic_components():
        for package in component:
            if package in graph.dependencies(package):
                yield (package,)
        # Cycles through one package are found; without it, the others fall into smaller components.
        parts = [component] if len(component) > 1 else []
        while parts:
            part = parts.pop()
            start = min(part, key=_by_chance)
            for cycle in _cycles_through(start, _edges_within(graph, part)):
                first = cycle.index(min(cycle))
                yield cycle[first:] + cycle[:first]
            _, groups = component_layers(graph._lists_among(dict.fromkeys(name for name in part if name != start)))
            parts += map(tuple, groups)


def _by_chance(name: str) -> int:
    """Return a number that has nothing to do with the order of names.

    Without a package from somewhere in the middle, a long ring with edges in both directions falls into two halves;
    without the first or the last, all others stay together, and repeating that takes quadratic time.
    """
    return crc32(name.encode(ENCODING))


def _edges_within(graph: DependencyGraph, component: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the dependencies among the packages of ``component``, but for those of a package on itself."""
    members = set(component)
    return {name: sorted(members.intersection(graph.dependencies(name)) - {name}) for name in component}


def _cycles_through(start: str, edges: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the elementary cycles that begin at ``start``, a package of a strongly connected component."""
    path = [start]
    remaining = [iter(edges[start])]
    closes = [False]  # whether a cycle was found beyond each package of the path
    blocked = {start}  # on the path, or known to lead to no cycle with the current path
    waiting: dict[str, set[str]] = {}  # unblocked with the key
    while path:
        for name in remaining[-1]:
            if name == start:
                closes[-1] = True
                yield tuple(path)
            elif name not in blocked:
                blocked.add(name)
                path.append(name)
                remaining.append(iter(edges[name]))
                closes.append(False)
                break
        else:
            left = path.pop()
            remaining.pop()
            if closes.pop():
                _unblock(left, blocked, waiting)
                if closes:
                    closes[-1] = True
            else:
                for name in edges[left]:
                    waiting.setdefault(name, set()).add(left)


def _unblock(package: str, blocked: set[str], waiting: dict[str, set[str]]) -> None:
    names = [package]
    while names:
        name = names.pop()
        if name in blocked:
            blocked.remove(name)
            names += waiting.pop(name, ())


def feedback_edges(graph: DependencyGraph) -> tuple[tuple[str, str], ...]:
    """Return a small set of dependencies without which the graph has no cycle, as pairs of package and dependency.

    It comes from the greedy order of P. Eades, X. Lin and W. F. Smyth ("A fast and effective heuristic for the feedback
    arc set problem", 1993), and has no dependency that could stay, unless a component has more than some thousand
    packages.

    >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c", "a"], "c": ["a", "c"]})
    >>> feedback_edges(graph)
    (('a', 'b'), ('c', 'c'))
    """
    removed: list[tuple[str, str]] = []
    for component in graph.cyclic_components():
        removed += ((name, name) for name in component if name in graph.dependencies(name))
        if len(component) > 1:
            edges = _edges_within(graph, component)
            place = {name: number for number, name in enumerate(_greedy_order(edges))}
            backward = [(name, other) for name in edges for other in edges[name] if place[other] < place[name]]
            removed += _shrink(backward, edges)
    return tuple(sorted(removed))


def _greedy_order(edges: Mapping[str, list[str]]) -> list[str]:
    """Return the packages in an order in which few edges lead backward."""
    incoming: dict[str, list[str]] = {name: [] for name in edges}
    for name, names in edges.items():
        for other in names:
            incoming[other].append(name)
    outs = {name: len(names) for name, names in edges.items()}
    ins = {name: len(names) for name, names in incoming.items()}

    def entry_of(name: str) -> tuple[bool, int, str]:
        has_both = bool(outs[name] and ins[name])  # a package without edges in one direction goes to an end first
        return has_both, (ins[name] - outs[name]) * has_both, name

    heap = list(map(entry_of, edges))
    heapify(heap)
    placed: set[str] = set()
    first: list[str] = []
    last: list[str] = []
    while heap:
        entry = heappop(heap)
        name = entry[-1]
        if name in placed or entry != entry_of(name):  # out of date
            continue
        placed.add(name)
        (first if outs[name] else last).append(name)
        for other in edges[name]:
            ins[other] -= 1
        for other in incoming[name]:
            outs[other] -= 1
        for other in {*edges[name], *incoming[name]} - placed:
            heappush(heap, entry_of(other))
    return first + last[::-1]


def _shrink(removed: list[tuple[str, str]], edges: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return those of the ``removed`` edges without which the others would not break all cycles."""
    if len(removed) * sum(map(len, edges.values())) > _STEPS_TO_SHRINK_MAX:
        return removed
    kept = {name: set(names) for name, names in edges.items()}
    for name, other in removed:
        kept[name].remove(other)
    needed = []
    for name, other in removed:
        if name in reachable([other], kept.__getitem__):
            needed.append((name, other))
        else:
            kept[name].add(other)
    return needed
