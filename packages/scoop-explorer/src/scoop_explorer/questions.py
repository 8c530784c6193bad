"""Questions to a graph. scoop-core answers them; this module only chooses what is shown."""

from collections.abc import Iterable, Sequence
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
"""Packages of the order of a removal on a package page: the first ones show the way."""

ORDERED_MAX: Final = 20_000
"""Packages whose orders are on a package page: a second of work; larger ones have pages of their own."""

NAMES_PER_PAGE: Final = 500
"""Names on a page of a long list: 50 kB of HTML."""

DRAWN: Final = 9
"""Neighbours in each column of the drawing: more cannot be read."""

STEPS_SHOWN: Final = 100
"""Steps on a rebuild page."""

GROUPS_SHOWN: Final = 50
"""Cyclic groups on a page."""

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
    steps: tuple[int, ...] = ()
    if len(affected) <= ORDERED_MAX:
        requests = graph.removal_requests(*affected)
        removed = [request.package for request in requests if request.command is Command.REMOVE]
        removal_listing, request_count = listing(removed, limit=FIRST_REMOVED), len(requests)
        steps = tuple(map(len, graph.subgraph(affected).layers()))
    return Reach(
        batch,
        len(graph.subgraph([name, *dependencies]).layers()),
        listing(dependencies),
        listing(dependents),
        removal_listing,
        request_count,
        steps,
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


def rebuild(graph: DependencyGraph, name: str) -> Rebuild:
    """Return the steps in which a change of ``name`` rebuilds what needs it."""
    steps = graph.subgraph([name, *graph.transitive_dependents(name)]).layers()
    shown = tuple(listing(step) for step in steps[:STEPS_SHOWN])
    return Rebuild(name, sum(map(len, steps)), shown, len(steps) - len(shown))


def path(graph: DependencyGraph, start: str, goal: str) -> Path:
    """Return a shortest path from ``start`` to ``goal``, or else from ``goal`` to ``start``."""
    if forward := graph.find_path(start, goal):
        return Path(start, goal, forward, is_reversed=False)
    backward = graph.find_path(goal, start)
    return Path(start, goal, backward, is_reversed=bool(backward))


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
    """Return the groups of packages that need each other, the largest first, and what would break each."""
    components = graph.cyclic_components()
    group_of = {name: number for number, names in enumerate(components) for name in names}
    breaking: list[list[Edge]] = [[] for _ in components]
    for package, dependency in feedback_edges(graph) if components else ():
        breaking[group_of[package]].append(Edge(package, dependency))
    groups = [
        CyclicGroup(listing(names), tuple(edges[:NAMES_SHOWN]), len(edges))
        for names, edges in zip(components, breaking, strict=True)
    ]
    return tuple(sorted(groups, key=lambda group: -group.packages.total))
