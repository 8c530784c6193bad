"""Questions to a graph. scoop-core answers them; this module only chooses what is asked and shown."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import pairwise
from typing import Final

from scoop_core import Command, DependencyGraph, IndexedGraph, UnknownPackage, feedback_edges

from scoop_explorer.answers import (
    CyclicGroup,
    DrawnPackage,
    Edge,
    Graph,
    Listing,
    Needed,
    Neighbours,
    Path,
    Reach,
    Rebuild,
    RebuildSizes,
    RelatedPackage,
    Removal,
    Step,
    Survey,
)

NAMES_SHOWN: Final = 60
"""Names in a list of a package page: they fit on one screen; the others have a page of their own."""

FIRST_REMOVED: Final = 24
"""Requests of a removal on a package page: the first ones suffice there."""

ORDERED_MAX: Final = 100_000
"""The most packages whose orders are on a package page: more take over a second, and have pages of their own."""

NAMES_PER_PAGE: Final = 500
"""Names on a page of a long list: 50 kB of HTML."""

DRAWN: Final = 9
"""Neighbours in each column of the drawing of the server, and in one that has no room for all: the most needed."""

GRAPH_NODES: Final = 40
"""Packages of a drawing: more cannot be read. Each level beyond the first is drawn if all of it fits."""

GRAPH_LEVELS: Final = 2

NEEDS_MAX: Final = 500
"""Dependencies of a package of a drawing that are sent: most have a dozen."""

STEPS_SHOWN: Final = 20
"""Steps on a rebuild page, each with :data:`NAMES_SHOWN` packages: 100 kB of HTML."""

STEPS_COUNTED: Final = 100
"""Steps of a rebuild whose sizes are on a package page."""

PATH_SHOWN: Final = 200
"""Packages of a path on a page: a longer one is not readable as a sentence."""

GROUPS_SHOWN: Final = 20
"""Cyclic groups on a page, each with :data:`NAMES_SHOWN` packages and dependencies."""

POPULAR: Final = 20_000
"""Packages that a search looks at first: some hundred kilobytes."""

MOST_NEEDED: Final = 12
"""Packages in the list of the most needed ones."""


def listing(names: Sequence[str], offset: int = 0, limit: int = NAMES_SHOWN) -> Listing:
    """Return the part of ``names`` from ``offset`` on."""
    return Listing(len(names), tuple(names[offset : offset + limit]), offset)


# Around a package


def neighbours(graph: IndexedGraph, name: str) -> Neighbours:
    """Return the direct neighbours of ``name``. Raises :exc:`~scoop_core.UnknownPackage`."""
    dependencies = graph.dependencies(name)
    dependents = graph.blocking_dependents(name)
    return Neighbours(
        name,
        listing(dependencies),
        listing(dependents),
        name in dependencies,
        _most_needed(graph, (each for each in dependencies if each != name), DRAWN),
        _most_needed(graph, dependents, DRAWN),
    )


def _most_needed(graph: DependencyGraph, names: Iterable[str], limit: int) -> tuple[Needed, ...]:
    counted = nlargest(limit, ((graph.dependent_count(name), name) for name in names), key=lambda pair: pair[0])
    return tuple(Needed(name, count) for count, name in counted)


def around(
    graph: DependencyGraph, names: Sequence[str], directions: Collection[str], levels: int = GRAPH_LEVELS
) -> Graph:
    """Return the part of the graph around ``names`` that can be drawn, in one or both of the ``directions``."""
    drawn = dict.fromkeys(names)
    room = (GRAPH_NODES - len(drawn)) // max(1, len(directions))
    for direction in directions:
        is_down = direction == "dependencies"
        neighbours_of = graph.dependencies if is_down else graph.dependents
        count_of = graph.dependency_count if is_down else graph.dependent_count
        left, level = room, list(names)
        for number in range(levels):
            if number and max(map(count_of, level), default=0) > GRAPH_NODES:
                break  # without a look at each of them
            following = dict.fromkeys(each for name in level for each in neighbours_of(name) if each not in drawn)
            if number and len(following) > left:
                break
            is_readable = len(following) <= left or levels == 1  # which a person has asked for, package by package
            level = [each.name for each in _most_needed(graph, following, left if is_readable else DRAWN)]
            drawn.update(dict.fromkeys(level))
            left -= len(level)
    return among(graph, tuple(drawn))


def among(graph: DependencyGraph, names: Iterable[str]) -> Graph:
    """Return the drawing of ``names``, which must be few."""
    drawn = dict.fromkeys(names)
    nodes = []
    for name in drawn:
        needed = graph.dependencies(name)
        if len(needed) > NEEDS_MAX:
            needed = tuple(each for each in needed if each in drawn)
        nodes.append(DrawnPackage(name, graph.dependent_count(name), graph.dependency_count(name), needed))
    return Graph(tuple(nodes))


def reach(graph: DependencyGraph, name: str) -> Reach:
    """Return what ``name`` reaches, and what reaches it."""
    dependencies = graph.transitive_dependencies(name)
    dependents = graph.transitive_dependents(name)
    return Reach(
        len(graph.layers([*dependencies, name])),
        listing(dependencies),
        listing(dependents),
        listing(sorted(set(dependencies).intersection(dependents))),
    )


# Lists of related packages


@dataclass(frozen=True, slots=True)
class Related:
    """All dependencies or dependents of a package, with their distances."""

    names: tuple[str, ...]
    distances: Mapping[str, int]

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.names)


def related(graph: DependencyGraph, name: str, relation: str, scope: str) -> Related:
    """Return the dependencies or dependents (``relation``) of ``name``, the direct ones or all (``scope``)."""
    is_down = relation == "dependencies"
    if scope == "direct":
        names = graph.dependencies(name) if is_down else graph.dependents(name)
        return Related(names, {each: int(each != name) for each in names})
    successors: Callable[[str], Iterable[str]] = graph.dependencies if is_down else graph.dependents
    if not is_down and not isinstance(graph, IndexedGraph):  # where each look would walk over all packages
        successors = graph.dependents_by_package().__getitem__
    distances = _distances(name, successors)
    names = graph.transitive_dependencies(name) if is_down else graph.transitive_dependents(name)
    return Related(names, distances)


def _distances(start: str, successors: Callable[[str], Iterable[str]]) -> Mapping[str, int]:
    distances = {start: 0}
    level = [start]
    while level:
        following = dict.fromkeys(each for name in level for each in successors(name) if each not in distances)
        distances.update(dict.fromkeys(following, distances[level[0]] + 1))
        level = list(following)
    return distances


def arranged(graph: DependencyGraph, found: Related, sort: str, contained: str) -> Related:
    """Return those of the packages that contain a text, in another order: by name, dependents or distance."""
    wanted = contained.lower()
    names = [name for name in found.names if wanted in name.lower()] if wanted else list(found.names)
    if sort == "name":
        names.sort()
    elif sort == "distance":
        names.sort(key=found.distances.__getitem__)
    elif sort == "dependents":
        names.sort(key=lambda name: (-dependent_count(graph, name), name))
    return Related(tuple(names), found.distances)


def related_part(graph: DependencyGraph, found: Related, names: Iterable[str]) -> tuple[RelatedPackage, ...]:
    """Return a part of a list, with figures."""
    return tuple(RelatedPackage(name, dependent_count(graph, name), found.distances[name]) for name in names)


def dependent_count(graph: DependencyGraph, name: str) -> int:
    """Return the number of dependents; 0 for a package that is not indexed any more."""
    try:
        return graph.dependent_count(name)
    except UnknownPackage:
        return 0


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of a search, the best first, and the number of all."""

    names: tuple[str, ...]
    total: int

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.names)


# Removals and rebuilds


@dataclass(frozen=True, slots=True)
class RemovalOrder:
    """The packages of all requests that remove some packages and all that needs them."""

    released: tuple[str, ...]
    """Those that are indexed without dependencies first, because they are in cycles."""
    removed: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.released) + len(self.removed)

    def lines(self, start: int, end: int) -> tuple[str, ...]:
        """Return some of the requests, as lines of the protocol."""
        count = len(self.released)
        releases = [f"INDEX|{name}|" for name in self.released[start:end]]
        return (*releases, *(f"REMOVE|{name}|" for name in self.removed[max(0, start - count) : max(0, end - count)]))


def removal_order(graph: DependencyGraph, goals: Sequence[str]) -> RemovalOrder:
    """Return the order in which ``goals`` and all that needs them can be removed; a single goal comes last.

    A goal in a cycle is released first, so that nothing else of its cycle need be released for it.
    """
    dependents = graph.transitive_dependents(goals)
    if len(goals) == 1:  # without a cycle, this order is right backward: a third of the time
        order = (*goals, *dependents)
        place = {name: number for number, name in enumerate(order)}
        place_of = place.get
        if all(place_of(each, -1) <= number for name, number in place.items() for each in graph.dependencies(name)):
            return RemovalOrder((), order[::-1])
    affected = dict.fromkeys((*goals, *dependents))
    released = tuple(goal for goal in goals if _is_in_cycle(graph, goal))  # of others: one of its own hinders nothing
    if released:
        graph = graph.subgraph(affected)
        for goal in released:
            graph.index(goal)
    requests = graph.removal_requests(affected)
    released += tuple(each.package for each in requests if each.command is Command.INDEX)
    removed = [str(each.package) for each in requests if each.command is Command.REMOVE]
    if len(goals) == 1:  # it needs none of the others now, so nothing waits for its removal
        removed.remove(goals[0])
        removed.append(goals[0])
    return RemovalOrder(released, tuple(removed))


def _is_in_cycle(graph: DependencyGraph, name: str) -> bool:
    """Return whether a package needs another one that needs it."""
    others = {*graph.dependencies(name)} - {name}
    return bool(others) and not others.isdisjoint(graph.transitive_dependents(name))


def removal(order: RemovalOrder, goals: Sequence[str], offset: int, limit: int, graph: Graph | None = None) -> Removal:
    """Return a part of a removal."""
    lines = order.lines(offset, offset + limit)
    return Removal(tuple(goals), Listing(len(order), lines, offset), len(order.released), graph)


@dataclass(frozen=True, slots=True)
class RebuildSteps:
    """All steps of a rebuild, and the groups of packages that need each other, which share a step."""

    steps: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        """Return the number of packages."""
        return sum(map(len, self.steps))


def rebuild_steps(graph: DependencyGraph, changed: Sequence[str]) -> RebuildSteps:
    """Return the steps in which a change of packages rebuilds what needs them."""
    steps = graph.layers(dict.fromkeys((*changed, *graph.transitive_dependents(changed))))
    cyclic: list[str] = []  # only packages of a cycle need others of their step
    for step in steps:
        names = set(step)
        cyclic += (name for name in step if not names.isdisjoint({*graph.dependencies(name)} - {name}))
    groups = graph.subgraph(cyclic).cyclic_components() if cyclic else ()
    return RebuildSteps(steps, groups)


def rebuild_sizes(found: RebuildSteps) -> RebuildSizes:
    """Return the numbers of packages of a rebuild."""
    sizes = tuple(map(len, found.steps[:STEPS_COUNTED]))
    return RebuildSizes(len(found), len(found.steps), sizes, sum(map(len, found.groups)))


def rebuild(found: RebuildSteps, changed: Sequence[str], step: int, offset: int, limit: int) -> Rebuild:
    """Return the steps of a rebuild from ``offset`` on; if ``step`` is not 0, the packages of that step instead."""
    group_of = {name: group for group in found.groups for name in group}

    def part(names: Sequence[str], offset: int, limit: int) -> Step:
        shown = tuple(names[offset : offset + limit])
        groups = dict.fromkeys(group_of[name] for name in shown if name in group_of)
        parallel = tuple(name for name in shown if name not in group_of)
        return Step(len(names), shown, offset, parallel, tuple(map(listing, groups)))

    if step:
        shown = tuple(part(each, offset, limit) for each in found.steps[step - 1 : step])
    else:
        shown = tuple(part(each, 0, NAMES_SHOWN) for each in found.steps[offset : offset + min(limit, STEPS_SHOWN)])
    first = step - 1 if step else offset
    return Rebuild(tuple(changed), len(found), shown, len(found.steps), first, is_single=bool(step))


# Paths


@dataclass(frozen=True, slots=True)
class FoundPath:
    """A shortest path between two packages, in the one direction or the other, and what is on every such path."""

    packages: tuple[str, ...]
    is_reversed: bool
    cut_packages: tuple[str, ...]
    cut_edges: tuple[Edge, ...]

    def __len__(self) -> int:
        """Return the number of packages."""
        return len(self.packages)


def path(graph: DependencyGraph, start: str, goal: str) -> FoundPath:
    """Return a shortest path from ``start`` to ``goal``, or else from ``goal`` to ``start``."""
    found = graph.find_path(start, goal)
    is_reversed = not found and bool(found := graph.find_path(goal, start))
    return FoundPath(found, is_reversed, *_cuts(graph, found))


def _cuts(graph: DependencyGraph, found: Sequence[str]) -> tuple[tuple[str, ...], tuple[Edge, ...]]:
    """Return the inner packages and the dependencies of a shortest path that are on every path between its ends.

    It walks along the path, and from each of its packages through all others that it reaches, each once. A package or
    a dependency is on every path if no walk has yet led behind it. If both ends are the same, it is about cycles.
    """
    place = {name: number for number, name in enumerate(found[1:], 1)}
    visited = set(found[:1])
    packages: list[str] = []
    edges: list[Edge] = []
    farthest = 0
    for number, (name, following) in enumerate(pairwise(found)):
        if number > 0 and farthest <= number:
            packages.append(name)
        unexplored = [name]
        while unexplored:
            each = unexplored.pop()
            for needed in graph.dependencies(each):
                if each == name and needed == following:
                    continue
                if needed in place:
                    farthest = max(farthest, place[needed])
                elif needed not in visited:
                    visited.add(needed)
                    unexplored.append(needed)
        if farthest <= number:
            edges.append(Edge(name, following))
    return tuple(packages), tuple(edges)


def path_part(found: FoundPath, start: str, goal: str, offset: int, limit: int, graph: Graph | None = None) -> Path:
    """Return a part of a path."""
    return Path(
        start,
        goal,
        found.packages[offset : offset + limit],
        found.is_reversed,
        len(found),
        offset,
        listing(found.cut_packages),
        found.cut_edges[:NAMES_SHOWN],
        len(found.cut_edges),
        graph,
    )


# The whole graph


def survey(graph: DependencyGraph, batch: int) -> Survey:
    """Return the figures of the whole graph."""
    counts = [(graph.dependent_count(name), name) for name in graph]
    top = nlargest(MOST_NEEDED, counts)
    return Survey(
        batch,
        len(graph),
        graph.edge_count(),
        sum(not count for count, _ in counts),
        sum(not graph.dependency_count(name) for name in graph),
        len(graph.layers()),
        tuple(Needed(name, count) for count, name in top if count),
    )


def popular(graph: DependencyGraph) -> tuple[str, ...]:
    """Return the packages that most others need directly."""
    needed = ((graph.dependent_count(name), name) for name in graph if graph.dependent_count(name))
    return tuple(name for _, name in nlargest(POPULAR, needed))


def cyclic_groups(graph: DependencyGraph) -> tuple[CyclicGroup, ...]:
    """Return the groups of packages that need each other, the largest first, and what would break each, at length."""
    components = graph.cyclic_components()
    group_of = {name: number for number, names in enumerate(components) for name in names}
    breaking: list[list[Edge]] = [[] for _ in components]
    for package, dependency in feedback_edges(graph) if components else ():
        breaking[group_of[package]].append(Edge(package, dependency))
    largest_first = sorted(zip(components, breaking, strict=True), key=lambda pair: -len(pair[0]))
    return tuple(
        CyclicGroup(
            number,
            listing(names, 0, len(names)),
            tuple(edges),
            len(edges),
            among(graph, names if len(names) <= GRAPH_NODES else _shortest_cycle(graph, names)),
        )
        for number, (names, edges) in enumerate(largest_first, 1)
    )


def _shortest_cycle(graph: DependencyGraph, names: Sequence[str]) -> Sequence[str]:
    """Return as much of a shortest cycle in a group as can be drawn."""
    start = next((name for name in names if name not in graph.dependencies(name)), names[0])
    return graph.find_path(start, start)[:GRAPH_NODES]


def part_of_group(group: CyclicGroup, offset: int = 0, limit: int = NAMES_SHOWN) -> CyclicGroup:
    """Return a group with parts of its lists."""
    names, edges = group.packages.names, group.breaking
    return replace(group, packages=listing(names, offset, limit), breaking=edges[offset : offset + limit])
