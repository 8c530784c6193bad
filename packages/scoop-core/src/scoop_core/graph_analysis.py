"""Analyses of a whole graph: the dependencies that follow from others, and the longest chain of builds."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from scoop_core.graph import DependencyGraph

Graph = TypeVar("Graph", bound=DependencyGraph)


class CriticalPath(NamedTuple):
    """The chain of packages that determines how long a build takes, dependencies first, and how long that is.

    >>> CriticalPath(("gmp", "isl"), 5.0).duration
    5.0
    """

    packages: tuple[str, ...]
    duration: float


def critical_path(graph: DependencyGraph, durations: Mapping[str, float], *, default: float = 0.0) -> CriticalPath:
    """Return the longest chain of packages that can only be built one after the other.

    A package that is not in ``durations`` takes ``default``. Packages that need each other in a cycle are
    built one after the other, all of them before what needs one of them. Raises ValueError for a negative duration.
    O(P log P + D).

    >>> graph = DependencyGraph.from_mapping({"gcc": ["isl", "mpfr"], "isl": ["gmp"], "mpfr": ["gmp"], "gmp": []})
    >>> critical_path(graph, {"gcc": 60, "isl": 5, "mpfr": 4, "gmp": 3})
    CriticalPath(packages=('gmp', 'isl', 'gcc'), duration=68.0)
    """
    finish: dict[str, float] = {}  # when the component of a package can be ready at the earliest
    component_of: dict[str, tuple[str, ...]] = {}
    before: dict[tuple[str, ...], tuple[str, ...]] = {}
    longest: tuple[str, ...] = ()
    for component in graph.strongly_connected_components():
        took = [durations.get(name, default) for name in component]
        if min(took) < 0:
            raise ValueError(f"expected durations of at least 0, got {min(took)!r}")
        needed = [name for member in component for name in graph.dependencies(member) if name in finish]
        last = max(sorted(needed), key=finish.__getitem__) if needed else None
        total = sum(took) + (finish[last] if last is not None else 0.0)
        if last is not None:
            before[component] = component_of[last]
        finish.update(dict.fromkeys(component, total))
        component_of.update(dict.fromkeys(component, component))
        if not longest or total > finish[longest[0]]:
            longest = component
    if not longest:
        return CriticalPath((), 0.0)
    chain = [longest]
    while chain[-1] in before:
        chain.append(before[chain[-1]])
    return CriticalPath(tuple(name for component in reversed(chain) for name in component), float(finish[longest[0]]))


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
