"""What can be asked of a dependency graph beside QUERY: neighbours, closures, paths, orders, explanations, a diff.

The queries need the two dictionaries of :mod:`scoop_core.graph` and nothing else: no index of dependents, no
cache. So a server that only answers requests pays nothing for them, in memory or in time, and who asks pays
what the docstring says, in terms of

- *P*, the packages that are indexed,
- *D*, the dependencies of all packages together,
- *p* and *d*, the packages that an answer reaches, and their dependencies.

Answers are immutable and sorted, as far as their order has no other meaning: equal graphs answer equally.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from scoop_core.errors import UnknownPackage
from scoop_core.graph_algorithms import (
    layers,
    predecessors,
    reachable,
    shortest_path,
    strongly_connected_components,
    successors_first,
)
from scoop_core.messages import Command, PackageName, Request, listed_names, parse_name
from scoop_core.refusals import BlockedByDependents, ClosesCycle, MissingDependencies, NotIndexed, Refusal


class GraphQueries:
    """The queries of :class:`~scoop_core.DependencyGraph`, which holds the data and changes it.

    >>> from scoop_core import DependencyGraph
    >>> isinstance(DependencyGraph(), GraphQueries)
    True
    """

    __slots__ = ()

    reject_cycles: bool
    _dependencies: dict[str, str]
    _dependent_counts: dict[str, int]

    # Neighbours

    def dependencies(self, package: str) -> tuple[str, ...]:
        """Return what ``package`` depends on directly, in the order in which it was indexed with them.

        O(its dependencies). Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).dependencies("isl")
        ('gmp',)
        """
        return tuple(self._names(package))

    def dependents(self, package: str) -> tuple[str, ...]:
        """Return the packages that depend on ``package`` directly: all that have it among their dependencies.

        O(D) where there are any, because no index of them is kept, else O(1); for the dependents of many
        packages, :meth:`dependents_by_package` finds all at once. Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": [], "cloog": ["isl", "gmp"]}).dependents("gmp")
        ('cloog', 'isl')
        """
        if not self._dependent_counts[self._known(package)]:  # which does not count the package itself
            return (package,) if package in self._names(package) else ()
        # Most lists are ruled out by a search for the text, without being split.
        lists = self._dependencies.items()
        return tuple(sorted(name for name, listed in lists if package in listed and package in split_names(listed)))

    def dependent_count(self, package: str) -> int:
        """Return how many other packages depend on ``package`` directly. O(1). Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "gmp": []}).dependent_count("gmp")
        1
        """
        return self._dependent_counts[self._known(package)]

    def edge_count(self) -> int:
        """Return how many dependencies all packages have together. O(P).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "cloog": ["gmp"], "gmp": []}).edge_count()
        3
        """
        texts = list(filter(None, self._dependencies.values()))
        return sum(text.count(",") for text in texts) + len(texts)

    def to_mapping(self) -> Mapping[str, tuple[str, ...]]:
        """Return the whole graph as a mapping from each package to its dependencies: a copy, in no special order.

        O(P + D). :meth:`DependencyGraph.from_mapping` is the way back.

        >>> from scoop_core import DependencyGraph
        >>> dict(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).to_mapping())
        {'isl': ('gmp',), 'gmp': ()}
        """
        lists = self._dependencies.items()
        return MappingProxyType({package: tuple(split_names(listed)) for package, listed in lists})

    def dependents_by_package(self) -> Mapping[str, tuple[str, ...]]:
        """Return a mapping from each package to the packages that depend on it: a copy, in no special order.

        O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> dict(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).dependents_by_package())
        {'gmp': ('isl',), 'isl': ()}
        """
        turned = self._turned()
        return MappingProxyType({package: tuple(dependents) for package, dependents in turned.items()})

    # Closures and paths

    def transitive_dependencies(self, package: str) -> tuple[str, ...]:
        """Return all that must be there before ``package``: what it depends on, what that depends on, and so on.

        They come in an order in which they can be installed, each after its own dependencies; only
        packages that need each other in a cycle cannot all keep to that. ``package`` itself is left out.
        O(p + d log d). Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.transitive_dependencies("cloog")
        ('gmp', 'isl')
        """
        return tuple(successors_first([self._known(package)], self._sorted_names)[:-1])

    def transitive_dependents(self, package: str) -> tuple[str, ...]:
        """Return all that a change of ``package`` affects: what depends on it, what depends on that, and so on.

        They come in an order in which they can be built again, dependencies first; in reverse, they can be
        removed. ``package`` itself is left out. O(P log P + D). Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.transitive_dependents("gmp")
        ('isl', 'cloog')
        """
        if not self._dependent_counts[self._known(package)]:
            return ()
        affected = reachable(package, self._turned().__getitem__)
        affected.discard(package)
        return tuple(successors_first(sorted(affected), lambda name: sorted(affected.intersection(self._names(name)))))

    def find_path(self, package: str, dependency: str) -> tuple[str, ...]:
        """Return a shortest path by which ``package`` needs ``dependency``, both included; empty where it does not.

        Each package on it depends directly on the next. Where both are the same, it is a shortest cycle
        through it. O(p + d log d). Raises :exc:`UnknownPackage`.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"gcc": ["cloog"], "cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.find_path("gcc", "gmp")
        ('gcc', 'cloog', 'isl', 'gmp')
        >>> graph.find_path("gmp", "gcc")
        ()
        """
        return shortest_path(self._known(package), self._known(dependency), self._sorted_names)

    # Orders

    def topological_order(self) -> tuple[str, ...]:
        """Return all packages, each after its dependencies.

        Packages that need each other in a cycle cannot all keep to that; :meth:`cyclic_components` names them.
        O(P log P + D log D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}).topological_order()
        ('c', 'b', 'a')
        """
        return tuple(successors_first(sorted(self._dependencies), self._sorted_names))

    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Return all packages in layers, each package in the first layer possible.

        The packages of a layer depend on earlier layers only, so they can be built in parallel once those
        are built. A cycle can only be built as a whole: its packages share a layer. O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}).layers()
        (('d',), ('b', 'c'), ('a',))
        """
        return tuple(tuple(sorted(layer)) for layer in layers(self._dependencies, self._names))

    def cyclic_components(self) -> tuple[tuple[str, ...], ...]:
        """Return the groups of packages that all need each other, and those that depend on themselves.

        In the terms of graph theory: the strongly connected components that hold a cycle. Where there is
        none, each package can be installed after its dependencies. O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"]}).cyclic_components()
        (('b', 'c'), ('d',))
        """
        groups = strongly_connected_components(self._dependencies, self._names)
        return tuple(sorted(tuple(sorted(group)) for group in groups if len(group) > 1 or self._needs_itself(group[0])))

    # Explanations

    def explain(self, request: Request) -> Refusal | None:
        """Return why ``request`` would be answered FAIL now, or None where it would be answered OK.

        Nothing changes. O(dependencies) for INDEX, but O(p + d log d) for what its dependencies need where the
        graph rejects cycles; O(D) for a REMOVE that is blocked; else O(1). Raises :exc:`InvalidName` where a
        name is none.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> print(graph.explain(Request.of(Command.REMOVE, "gmp")))
        cannot remove gmp: 1 package depends on it: isl
        >>> graph.explain(Request.of(Command.REMOVE, "isl"))
        """
        package = request.package
        if request.command is Command.INDEX:
            if missing := self.missing_dependencies(package, request.dependencies):
                return MissingDependencies(package, missing)
            if self.reject_cycles and (cycle := self.find_closed_cycle(package, request.dependencies)):
                return ClosesCycle(package, cycle)
        elif request.command is Command.REMOVE:
            if blockers := self.blocking_dependents(package):
                return BlockedByDependents(package, blockers)
        elif not self._is_indexed(package):
            return NotIndexed(package)
        return None

    def missing_dependencies(self, package: str, dependencies: Iterable[str]) -> tuple[str, ...]:
        """Return what is missing for an INDEX of ``package``: its ``dependencies`` that are not indexed, each once.

        A package that is not indexed and depends on itself misses itself. O(dependencies). Raises
        :exc:`InvalidName` where a name is none.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"gmp": []}).missing_dependencies("cloog", ["gmp", "isl"])
        ('isl',)
        """
        self._is_indexed(package)  # only to check the name
        return tuple(dict.fromkeys(name for name in listed_names(dependencies) if not self._is_indexed(name)))

    def blocking_dependents(self, package: str) -> tuple[str, ...]:
        """Return who blocks a REMOVE of ``package``: the packages that depend on it directly, but for itself.

        Empty where it is not indexed. O(D) where there are any, else O(1). Raises :exc:`InvalidName` where
        it is no name.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).blocking_dependents("gmp")
        ('isl',)
        """
        if not self._is_indexed(package):
            return ()
        return tuple(name for name in self.dependents(package) if name != package)

    def find_closed_cycle(self, package: str, dependencies: Iterable[str]) -> tuple[str, ...]:
        """Return a shortest cycle that an INDEX of ``package`` would close; empty where it would close none.

        It leads from ``package`` to ``package``, and each package on it depends on the next. Dependencies
        that ``package`` has already close nothing: a cycle through them exists already. O(p + d log d), whether
        or not the graph rejects cycles. Raises :exc:`InvalidName` where a name is none.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.find_closed_cycle("gmp", ["cloog"])
        ('gmp', 'cloog', 'isl', 'gmp')
        """
        existing = self._names(package) if self._is_indexed(package) else []
        new = [name for name in dict.fromkeys(listed_names(dependencies)) if name not in existing]
        indexed = [name for name in new if self._is_indexed(name) or name == package]
        return shortest_path(package, package, lambda name: indexed if name == package else self._sorted_names(name))

    # From one graph to another

    def diff(self, target: "GraphQueries") -> tuple[Request, ...]:
        """Return the requests that lead from this graph to ``target``; none where they are equal.

        First what is new or changed is indexed, in the dependency order of ``target``; then what ``target``
        does not have is removed, dependents first. Applied in this order, each request is answered OK; also
        by a graph that rejects cycles, where ``target`` has none. Packages that need each other in a cycle
        can take two requests, all others take one. O(P log P + D log D) of both graphs.

        >>> from scoop_core import DependencyGraph, encode_request
        >>> current = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": []})
        >>> wanted = DependencyGraph.from_mapping({"cloog": ["gmp"], "gmp": []})
        >>> for request in current.diff(wanted):
        ...     print(encode_request(request), end="")
        INDEX|gmp|
        INDEX|cloog|gmp
        REMOVE|isl|
        """
        surplus = self._dependencies.keys() - target._dependencies.keys()
        return target._requests_from(self._dependencies) + self._requests_to_remove(surplus)

    def _requests_from(self, current: Mapping[str, str]) -> tuple[Request, ...]:
        """Return the INDEX requests that bring the packages of this graph into ``current``, lists by package.

        Once a package is written, all that it reaches is as in this graph, but for the edges that wait to
        close a cycle of this graph. So no cycle is closed that this graph does not have.
        """
        requests: list[Request] = []
        incomplete: list[Request] = []
        indexed = set(current)
        for package in self.topological_order():
            if package in current and same_names(current[package], self._dependencies[package]):
                continue
            names = self._sorted_names(package)
            present = [name for name in names if name in indexed]
            whole = _request(Command.INDEX, package, names)
            if len(present) == len(names):
                requests.append(whole)
            else:  # the rest is indexed later, so a cycle leads there
                incomplete.append(whole)
                if package not in indexed:
                    requests.append(_request(Command.INDEX, package, present))
            indexed.add(package)
        return (*requests, *incomplete)

    def _requests_to_remove(self, packages: Iterable[str]) -> tuple[Request, ...]:
        """Return the requests that remove ``packages``, on which no package but each other depends by then."""
        doomed = set(packages)
        order = successors_first(sorted(doomed), lambda name: sorted(doomed.intersection(self._names(name))))
        position = {package: place for place, package in enumerate(order)}
        releases = [
            _request(Command.INDEX, package, ())
            for package in order
            if any(position.get(name, -1) > position[package] for name in self._names(package))
        ]
        return (*releases, *(_request(Command.REMOVE, package, ()) for package in reversed(order)))

    # Names

    def _known(self, package: str) -> str:
        if package not in self._dependencies:
            raise UnknownPackage(package)
        return package

    def _is_indexed(self, name: str) -> bool:
        """Tell whether ``name`` is indexed. Raises :exc:`InvalidName` where it is no name."""
        if name in self._dependencies:
            return True
        parse_name(name)
        return False

    def _names(self, package: str) -> list[str]:
        return split_names(self._dependencies[self._known(package)])

    def _sorted_names(self, package: str) -> list[str]:
        return sorted(self._names(package))

    def _needs_itself(self, package: str) -> bool:
        return package in self._names(package)

    def _turned(self) -> dict[str, list[str]]:
        """Return the dependents of each package, sorted."""
        return predecessors({package: self._names(package) for package in sorted(self._dependencies)})


def split_names(listed: str) -> list[str]:
    """Return the names of a list that is known to be well-formed.

    >>> split_names("gmp,isl"), split_names("")
    (['gmp', 'isl'], [])
    """
    return listed.split(",") if listed else []


def same_names(listed: str, other: str) -> bool:
    """Tell whether two lists, neither of which holds a name twice, hold the same names.

    >>> same_names("gmp,isl", "isl,gmp"), same_names("gmp", "")
    (True, False)
    """
    return listed == other or (len(listed) == len(other) and set(listed.split(",")) == set(other.split(",")))


def _request(command: Command, package: str, names: Iterable[str]) -> Request:
    """Return the request with names that are indexed, and therefore checked."""
    return Request(command, PackageName(package), tuple(map(PackageName, names)))
