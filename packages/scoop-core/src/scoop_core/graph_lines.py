"""A whole graph written as requests, lines of the protocol or a mapping."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from scoop_core.graph_requests import GraphRequests
from scoop_core.graph_state import split_names
from scoop_core.messages import Request, parse_request


class GraphLines(GraphRequests):
    """The text forms of a :class:`~scoop_core.DependencyGraph`.

    >>> from scoop_core import DependencyGraph
    >>> isinstance(DependencyGraph(), GraphLines)
    True
    """

    __slots__ = ()

    def to_mapping(self) -> Mapping[str, tuple[str, ...]]:
        """Return the whole graph as a mapping from each package to its dependencies: a copy, in no special order.

        O(P + D). :meth:`DependencyGraph.from_mapping` is the way back.

        >>> from scoop_core import DependencyGraph
        >>> dict(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).to_mapping())
        {'isl': ('gmp',), 'gmp': ()}
        """
        lists = self._dependencies.items()
        return MappingProxyType({package: tuple(split_names(listed)) for package, listed in lists})

    def to_lines(self) -> Iterator[str]:
        """Yield the INDEX lines, without newline, that make this graph out of an empty one.

        A package comes after its dependencies. Dependencies are sorted, and so are packages whose order is
        open: equal graphs give equal lines. If packages depend on each other in a cycle, one of them comes
        first without the dependencies that are still to come, and a second time, complete, after them.
        O(P log P + D log D). The graph must not change meanwhile.

        >>> from scoop_core import DependencyGraph
        >>> list(DependencyGraph.from_mapping({"a": ["b"], "b": ["a", "c"], "c": []}).to_lines())
        ['INDEX|c|', 'INDEX|b|c', 'INDEX|a|b', 'INDEX|b|a,c']
        """
        return (f"INDEX|{package}|{listed}" for package, listed in lists_in_order(self))

    def to_requests(self) -> tuple[Request, ...]:
        """Return the requests of :meth:`to_lines`, as one list. O(P log P + D log D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"gmp": []}).to_requests()
        (Request(command=<Command.INDEX: 'INDEX'>, package='gmp', dependencies=()),)
        """
        return tuple(map(parse_request, self.to_lines()))


def lists_in_order(graph: GraphRequests) -> Iterator[tuple[str, str]]:
    """Yield the package and the dependency list of each line of :meth:`GraphLines.to_lines`."""
    written: set[str] = set()
    for package in sorted(graph._dependencies):
        if package not in written:
            yield from _lists_up_to(package, graph._dependencies, written)


def dependent_counts_of(graph: GraphRequests, packages: Iterable[str]) -> Iterable[int]:
    """Return the numbers of dependents of many packages, by one call."""
    return map(graph._dependent_counts.__getitem__, packages)


def _lists_up_to(package: str, dependencies: dict[str, str], written: set[str]) -> Iterator[tuple[str, str]]:
    """Yield ``package`` and all that it needs, without those in ``written``; add them there."""
    names = _sorted_names(dependencies[package])
    path = [(package, names, iter(names))]
    entered = {package}
    cyclic: set[str] = set()  # packages with a dependency further up the path
    incomplete: list[tuple[str, str]] = []
    while path:
        package, names, unvisited = path[-1]
        for name in unvisited:
            if name in written:
                continue
            if name in entered:
                cyclic.add(package)
                continue
            following = _sorted_names(dependencies[name])
            if written.issuperset(following):  # half of all packages: no need to go down there
                written.add(name)
                yield name, ",".join(following)
                continue
            entered.add(name)
            path.append((name, following, iter(following)))
            break
        else:
            path.pop()
            if package in cyclic:
                incomplete.append((package, ",".join(names)))
                names = [name for name in names if name in written]
            written.add(package)
            yield package, ",".join(names)
    yield from incomplete


def _sorted_names(listed: str) -> list[str]:
    return sorted(listed.split(",")) if "," in listed else [listed] if listed else []
