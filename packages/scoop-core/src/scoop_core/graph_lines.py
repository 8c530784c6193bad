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
        written: set[str] = set()
        for package in sorted(self._dependencies):
            if package in written:
                continue
            names = sorted(split_names(self._dependencies[package]))
            if written.issuperset(names):
                written.add(package)
                yield _index_line(package, names)
            else:
                yield from self._lines_up_to(package, names, written)

    def to_requests(self) -> tuple[Request, ...]:
        """Return the requests of :meth:`to_lines`, as one list. O(P log P + D log D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"gmp": []}).to_requests()
        (Request(command=<Command.INDEX: 'INDEX'>, package='gmp', dependencies=()),)
        """
        return tuple(map(parse_request, self.to_lines()))

    def _lines_up_to(self, package: str, names: list[str], written: set[str]) -> Iterator[str]:
        """Yield the lines of ``package`` and of all that it needs, without those in ``written``; add them there."""
        entered = {package}
        path = [(package, names, iter(names))]
        incomplete: list[tuple[str, list[str]]] = []
        while path:
            package, names, unvisited = path[-1]
            for name in unvisited:
                if name not in written and name not in entered:
                    entered.add(name)
                    next_names = sorted(split_names(self._dependencies[name]))
                    path.append((name, next_names, iter(next_names)))
                    break
            else:
                path.pop()
                present = [name for name in names if name in written]
                written.add(package)
                yield _index_line(package, present)
                if len(present) < len(names):  # the others wait further up the path, so a cycle leads there
                    incomplete.append((package, names))
        for package, names in incomplete:
            yield _index_line(package, names)


def _index_line(package: str, names: Iterable[str]) -> str:
    return f"INDEX|{package}|{','.join(names)}"
