"""A whole graph written as requests, lines of the protocol or a mapping."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
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
        ['INDEX|a|', 'INDEX|c|', 'INDEX|b|a,c', 'INDEX|a|b']
        """
        lists = {package: ",".join(self._sorted_names(package)) for package in sorted(self._dependencies)}
        return (f"INDEX|{package}|{listed}" for package, listed in _dependencies_first(lists, lists.keys()))

    def to_requests(self) -> tuple[Request, ...]:
        """Return the requests of :meth:`to_lines`, as one list. O(P log P + D log D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"gmp": []}).to_requests()
        (Request(command=<Command.INDEX: 'INDEX'>, package='gmp', dependencies=()),)
        """
        return tuple(map(parse_request, self.to_lines()))


def lists_in_order(graph: GraphRequests) -> Iterable[tuple[str, str]]:
    """Return each package with its dependency list after its dependencies, in the order of ``graph`` where possible.

    Packages of a cycle come as in :meth:`GraphLines.to_lines`.
    """
    lists = graph._dependencies
    late = lists.keys() if graph._late is None else graph._late
    return _dependencies_first(lists, late) if late else lists.items()


def dependent_counts_of(graph: GraphRequests, packages: Iterable[str]) -> Iterable[int]:
    """Return the numbers of dependents of many packages, by one call."""
    return map(graph._dependent_counts.__getitem__, packages)


def _dependencies_first(lists: Mapping[str, str], late: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    """Yield each package and its list after its dependencies; only those of ``late`` may precede one in ``lists``."""
    written: set[str] = set()
    for package, listed in lists.items():
        if package in written:
            continue
        if package in late and not written.issuperset(split_names(listed)):
            yield from _lists_up_to(package, lists, written)
        else:
            written.add(package)
            yield package, listed


def _lists_up_to(package: str, lists: Mapping[str, str], written: set[str]) -> Iterator[tuple[str, str]]:
    """Yield ``package`` and all that it needs, without those in ``written``; add them there."""
    path = [(package, iter(split_names(lists[package])))]
    entered = {package}
    incomplete: dict[str, str] = {}  # the lists of packages that a cycle needs before all of their dependencies
    while path:
        package, unvisited = path[-1]
        for name in unvisited:
            if name in written:
                continue
            names = split_names(lists[name])
            if name in entered:
                incomplete[name] = ",".join(filter(written.__contains__, names))
                written.add(name)
                yield name, incomplete[name]
            elif written.issuperset(names):  # half of all packages: no need to go down there
                written.add(name)
                yield name, lists[name]
            else:
                entered.add(name)
                path.append((name, iter(names)))
                break
        else:
            path.pop()
            written.add(package)
            if incomplete.get(package) != lists[package]:
                yield package, lists[package]
