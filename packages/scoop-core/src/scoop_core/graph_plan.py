"""A plan: changes that are not made, held as differences from a graph, and their consequences."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType

from scoop_core.errors import UnknownPackage
from scoop_core.graph import DependencyGraph
from scoop_core.graph_algorithms import dependencies_first, reachable
from scoop_core.graph_state import split_names
from scoop_core.names import listed_names, package_names, parse_name


class Plan:
    """Changes of a graph that are not made, and what would follow from them.

    A plan accepts what a graph refuses, such as the removal of a package on which others depend. It holds only the
    differences, and the graph may change meanwhile. A question costs O(p + d) if the graph is an
    :class:`~scoop_core.IndexedGraph`, else O(P + D).

    >>> graph = DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": ["m4"], "m4": [], "make": []})
    >>> plan = Plan(graph)
    >>> plan.remove("gmp")
    >>> plan.index("make", ["bash"])
    >>> plan.index("bash")
    >>> plan.broken(), plan.orphans(), plan.rebuilt()
    (('isl', 'gcc'), ('m4',), ('bash', 'make'))
    """

    def __init__(self, graph: DependencyGraph) -> None:
        self._graph = graph
        self._lists: dict[str, str | None] = {}  # of the packages that differ; None: removed

    def index(self, package: str, dependencies: Iterable[str] = ()) -> None:
        """Plan to add ``package`` or to change it, also without other dependencies. Raises :exc:`InvalidName`.

        >>> Plan(DependencyGraph()).index("isl", ["gmp"])
        """
        names = ",".join(map(parse_name, dict.fromkeys(listed_names(dependencies))))
        self._lists[parse_name(package)] = names

    def remove(self, packages: str | Iterable[str]) -> None:
        """Plan to remove one package or several. Raises :exc:`UnknownPackage`.

        >>> Plan(DependencyGraph.from_mapping({"isl": [], "gmp": []})).remove(["isl", "gmp"])
        """
        for package in dict.fromkeys(package_names(packages)):
            if self._list_of(package) is None:
                raise UnknownPackage(package)
            self._lists[package] = None

    def missing_dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """Return the packages that would depend on missing ones, with the missing ones.

        >>> plan = Plan(DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": []}))
        >>> plan.remove("gmp")
        >>> plan.missing_dependencies()
        mappingproxy({'isl': ('gmp',)})
        """
        missing: dict[str, list[str]] = {}
        dependents = self._dependents()
        for name in sorted(self._missing()):
            for dependent in dependents(name):
                missing.setdefault(dependent, []).append(name)
        return MappingProxyType({package: tuple(missing[package]) for package in sorted(missing)})

    def broken(self) -> tuple[str, ...]:
        """Return all packages that would depend on a missing one, directly or not, dependencies first.

        >>> plan = Plan(DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": []}))
        >>> plan.remove("gmp")
        >>> plan.broken()
        ('isl', 'gcc')
        """
        return self._in_order(reachable(self._missing(), self._dependents()))

    def orphans(self, keep: str | Iterable[str] = ()) -> tuple[str, ...]:
        """Return what the changed packages needed, directly or not, and none would need any more, dependents first.

        As ``apt autoremove`` finds them: packages that only need each other are orphans together. The indexed ones of
        the plan and those of ``keep`` stay, and all that they need.

        >>> plan = Plan(DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": []}))
        >>> plan.remove("gcc")
        >>> plan.orphans(), plan.orphans(keep="gmp")
        (('isl', 'gmp'), ('isl',))
        """
        dependents = self._dependents()
        found = reachable(self._lists, self._former_names).difference(self._lists, package_names(keep))
        needed = [name for name in found if not found.issuperset(dependents(name))]
        return self._in_order(found.difference(needed, reachable(needed, self._names)))[::-1]

    def rebuilt(self) -> tuple[str, ...]:
        """Return the packages that are added or changed and all that depend on them, but those that break.

        In an order in which they can be rebuilt, as :meth:`DependencyGraph.transitive_dependents` returns them.

        >>> plan = Plan(DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": []}))
        >>> plan.index("isl")
        >>> plan.rebuilt()
        ('isl', 'gcc')
        """
        dependents = self._dependents()
        starts = [name for name, listed in self._lists.items() if listed is not None]
        found = reachable(starts, dependents).union(starts)
        return self._in_order(found - reachable(self._missing(), dependents))

    def to_graph(self) -> DependencyGraph:
        """Return the graph as it would be: a copy. Raises what :meth:`DependencyGraph.from_mapping` raises. O(P + D).

        >>> plan = Plan(graph := DependencyGraph.from_mapping({"gmp": []}))
        >>> plan.index("isl", ["gmp"])
        >>> graph.diff(plan.to_graph())
        (Request(command=<Command.INDEX: 'INDEX'>, package='isl', dependencies=('gmp',)),)
        """
        return self._graph._changed(self._lists)

    def _list_of(self, package: str) -> str | None:
        """Return the planned dependencies of ``package``, None if it would not be indexed."""
        return self._lists[package] if package in self._lists else self._graph._dependencies.get(package)

    def _names(self, package: str) -> list[str]:
        return split_names(self._list_of(package) or "")

    def _former_names(self, package: str) -> list[str]:
        return split_names(self._graph._dependencies.get(package, ""))

    def _missing(self) -> list[str]:
        """Return all names that would not be indexed, but on which a package may depend."""
        named = {*self._lists, *chain.from_iterable(map(self._names, self._lists))}
        return [name for name in named if self._list_of(name) is None]

    def _dependents(self) -> Callable[[str], list[str]]:
        """Return a function to the packages that would depend on one."""
        former = self._graph._all_dependents()
        planned: dict[str, list[str]] = {}
        for package in self._lists:
            for name in self._names(package):
                planned.setdefault(name, []).append(package)

        def dependents(name: str) -> list[str]:
            return [each for each in former.get(name, ()) if each not in self._lists] + planned.get(name, [])

        return dependents

    def _in_order(self, names: set[str]) -> tuple[str, ...]:
        """Return ``names``, dependencies first."""
        return tuple(dependencies_first(names, lambda name: sorted(self._names(name))))
