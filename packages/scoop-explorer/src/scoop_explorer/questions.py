"""Questions to a graph. scoop-core answers them; this module only chooses what is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from heapq import nlargest
from typing import Final

from scoop_core import Command, DependencyGraph, IndexedGraph, encode_request, feedback_edges

from scoop_explorer.answers import (
    CyclicGroup,
    Edge,
    Listing,
    Needed,
    Neighbours,
    Path,
    Reach,
    Rebuild,
    RelatedPackages,
    Removal,
    Survey,
)

NAMES_SHOWN: Final = 60
"""Names in a list of a package page: they fit on one screen; the others have a page of their own."""

FIRST_REMOVED: Final = 24
"""Packages of a removal order on a package page: the first ones suffice there."""

ORDERED_MAX: Final = 20_000
"""The most packages whose orders are on a package page: more take over a second, and have pages of their own."""

NAMES_PER_PAGE: Final = 500
"""Names on a page of a long list: 50 kB of HTML."""

DRAWN: Final = 9
"""Neighbours in each column of the drawing: more cannot be read."""

STEPS_SHOWN: Final = 20
"""Steps on a rebuild page, each with :data:`NAMES_SHOWN` packages: 100 kB of HTML."""

STEPS_COUNTED: Final = 100
"""Steps of a rebuild whose sizes are on a package page."""

PATH_SHOWN: Final = 200
"""Packages of a path on a page: a longer one is not readable as a sentence."""

GROUPS_SHOWN: Final = 20
"""Cyclic groups on a page, each with :data:`NAMES_SHOWN` packages and dependencies."""

MOST_NEEDED: Final = 12
"""Packages in the list of the most needed ones."""


def listing(names: Sequence[str], offset: int = 0, limit: int = NAMES_SHOWN) -> Listing:
    """Return the part of ``names`` from ``offset`` on."""
    return Listing(len(names), tuple(names[offset : offset + limit]), offset)


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


def reach(graph: DependencyGraph, name: str, batch: int) -> Reach:
    """Return what ``name`` reaches, and what reaches it; no orders if those are more than :data:`ORDERED_MAX`."""
    dependencies = graph.transitive_dependencies(name)
    dependents = graph.transitive_dependents(name)
    affected = [name, *dependents]
    removal_listing, request_count = Listing(len(affected), ()), len(affected)
    steps: list[int] = []
    if len(affected) <= ORDERED_MAX:
        requests = graph.removal_requests(*affected)
        removed = [request.package for request in requests if request.command is Command.REMOVE]
        removal_listing, request_count = listing(removed, limit=FIRST_REMOVED), len(requests)
        steps = list(map(len, graph.layers(affected)))
    return Reach(
        batch,
        len(graph.layers([*dependencies, name])),
        listing(dependencies),
        listing(dependents),
        removal_listing,
        request_count,
        tuple(steps[:STEPS_COUNTED]),
        len(steps),
    )


def related(graph: DependencyGraph, name: str, relation: str, scope: str, offset: int) -> RelatedPackages:
    """Return the dependencies or dependents (``relation``) of ``name``, the direct ones or all (``scope``)."""
    if relation == "dependencies":
        names = graph.dependencies(name) if scope == "direct" else graph.transitive_dependencies(name)
    else:
        names = graph.dependents(name) if scope == "direct" else graph.transitive_dependents(name)
    return RelatedPackages(name, relation, scope, listing(names, offset, NAMES_PER_PAGE))


def removal(graph: DependencyGraph, name: str, offset: int) -> Removal:
    """Return the requests that remove ``name`` and all that needs it, each of which is answered OK."""
    requests = graph.removal_requests(name, *graph.transitive_dependents(name))
    shown = requests[offset : offset + NAMES_PER_PAGE]
    return Removal(name, Listing(len(requests), tuple(encode_request(each).rstrip("\n") for each in shown), offset))


def rebuild(graph: DependencyGraph, name: str, step: int, offset: int) -> Rebuild:
    """Return the steps in which a change of ``name`` rebuilds what needs it: from ``offset`` on.

    If ``step`` is not 0, the packages of that step from ``offset`` on.
    """
    steps = graph.layers([name, *graph.transitive_dependents(name)])
    if step:
        shown = tuple(listing(each, offset, NAMES_PER_PAGE) for each in steps[step - 1 : step])
    else:
        shown = tuple(map(listing, steps[offset : offset + STEPS_SHOWN]))
    return Rebuild(name, sum(map(len, steps)), shown, len(steps), step - 1 if step else offset, is_single=bool(step))


def path(graph: DependencyGraph, start: str, goal: str, offset: int) -> Path:
    """Return a shortest path from ``start`` to ``goal``, or else from ``goal`` to ``start``, from ``offset`` on."""
    found = graph.find_path(start, goal)
    is_reversed = not found and bool(found := graph.find_path(goal, start))
    return Path(start, goal, found[offset : offset + PATH_SHOWN], is_reversed, len(found), offset)


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


def cyclic_groups(graph: DependencyGraph) -> tuple[CyclicGroup, ...]:
    """Return the groups of packages that need each other, the largest first, and what would break each, at length."""
    components = graph.cyclic_components()
    group_of = {name: number for number, names in enumerate(components) for name in names}
    breaking: list[list[Edge]] = [[] for _ in components]
    for package, dependency in feedback_edges(graph) if components else ():
        breaking[group_of[package]].append(Edge(package, dependency))
    largest_first = sorted(zip(components, breaking, strict=True), key=lambda pair: -len(pair[0]))
    return tuple(
        CyclicGroup(number, listing(names, 0, len(names)), tuple(edges), len(edges))
        for number, (names, edges) in enumerate(largest_first, 1)
    )


def part_of_group(group: CyclicGroup, offset: int = 0, limit: int = NAMES_SHOWN) -> CyclicGroup:
    """Return a group with parts of its lists."""
    names, edges = group.packages.names, group.breaking
    return replace(group, packages=listing(names, offset, limit), breaking=edges[offset : offset + limit])
