"""Requests and their reasons: why one is refused, which lead from one graph to another, which remove a set of packages.

A method that explains a request takes every valid name, as the request does. A method about packages of the graph
raises :exc:`UnknownPackage` for one that is not indexed.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import (
    BlockedByDependents,
    BlockedSet,
    ClosesCycle,
    MissingDependencies,
    NotIndexed,
    Refusal,
    RequestRefused,
    SearchTooLong,
)
from scoop_core.graph_algorithms import dependencies_first, successors_first
from scoop_core.graph_queries import GraphQueries
from scoop_core.graph_state import same_names, split_names
from scoop_core.messages import Command, Request, parse_request
from scoop_core.names import PackageName, listed_names, package_names, parse_name


@mypyc_attr(allow_interpreted_subclasses=True)
class GraphRequests(GraphQueries):
    """The explanations, differences and text forms of :class:`~scoop_core.DependencyGraph`."""

    __slots__ = ()

    # One request

    def explain(self, request: Request) -> Refusal | None:
        """Return why ``request`` would be answered FAIL now, or None if it would be answered OK.

        Nothing changes. O(dependencies) for INDEX, but O(p + d) for what its dependencies need if the graph rejects
        cycles; O(D) for a REMOVE that is blocked; else O(1).

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> print(graph.explain(parse_request("REMOVE|gmp|")))
        cannot remove gmp: 1 package depends on it: isl
        """
        package = request.package
        if request.command == Command.INDEX:  # a text is equal, too
            if missing := self.missing_dependencies(package, request.dependencies):
                return MissingDependencies(package, missing)
            if self.reject_cycles and (cycle := self.find_closed_cycle(package, request.dependencies)):
                return ClosesCycle(package, cycle)
            limit = self._search_limit if self.reject_cycles else None
            if limit is not None and not self._is_within_limit(package, request.dependencies):
                return SearchTooLong(package, limit)
        elif request.command == Command.REMOVE:
            if self._is_indexed(package) and (blockers := self.blocking_dependents(package)):
                return BlockedByDependents(package, blockers)
        elif not self._is_indexed(package):
            return NotIndexed(package)
        return None

    def _is_within_limit(self, package: str, names: Iterable[str]) -> bool:
        """Return whether no search is needed, or one within the limit, to index ``package`` with indexed ``names``."""
        refused = self.refused_searches
        is_within = package not in self._dependencies or self._make_room(package, names)
        self.refused_searches = refused
        return is_within

    def missing_dependencies(self, package: str, dependencies: Iterable[str]) -> tuple[str, ...]:
        """Return the ``dependencies`` whose absence makes an INDEX of ``package`` fail, each once.

        A package that is not indexed and depends on itself is missing itself. O(dependencies).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"gmp": []}).missing_dependencies("cloog", ["gmp", "isl"])
        ('isl',)
        """
        self._is_indexed(package)  # only to check the name
        return tuple(dict.fromkeys(name for name in listed_names(dependencies) if not self._is_indexed(name)))

    def find_closed_cycle(self, package: str, dependencies: Iterable[str]) -> tuple[str, ...]:
        """Return a shortest cycle that an INDEX of ``package`` would close; empty if it would close none.

        It leads from ``package`` to ``package``, and each package on it depends on the next. Dependencies
        that ``package`` has already close nothing: a cycle through them exists already. O(p + d), whether or not the
        graph rejects cycles.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.find_closed_cycle("gmp", ["cloog"])
        ('gmp', 'cloog', 'isl', 'gmp')
        """
        existing = set(self._names(package)) if self._is_indexed(package) else set[str]()
        new = [name for name in dict.fromkeys(listed_names(dependencies)) if name not in existing]
        indexed = [name for name in new if self._is_indexed(name) or name == package]
        return self._path(package, indexed, package)

    def _is_indexed(self, name: str) -> bool:
        """Return whether ``name`` is indexed. Raises :exc:`InvalidName` if it is no name."""
        if name in self._dependencies:
            return True
        parse_name(name)
        return False

    # The removal of one package, or of several

    def blocking_dependents(self, package: str) -> tuple[str, ...]:
        """Return the packages that block a REMOVE of ``package``: its direct dependents without itself.

        O(D) if there are any, else O(1).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).blocking_dependents("gmp")
        ('isl',)
        """
        return tuple(name for name in self.dependents(package) if name != package)

    def explain_removal(self, packages: str | Iterable[str]) -> BlockedSet | None:
        """Return why ``packages`` cannot be removed together, or None if they can.

        They can if all that depend on them are among them. O(their dependencies), and O(D) if they cannot.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl", "gmp"], "isl": ["gmp"], "gmp": []})
        >>> print(graph.explain_removal(["gmp", "isl"]))
        cannot remove gmp, isl together: 1 other package depends on them: cloog
        """
        removed = set(map(self._known, package_names(packages)))
        counts = dict.fromkeys(removed, 0)
        for package in removed:
            for name in removed.intersection(self._names(package)):
                counts[name] += name != package
        blocked = sorted(name for name in removed if counts[name] < self._dependent_counts[name])
        if not blocked:
            return None
        dependents = self._all_dependents()
        others = {name for package in blocked for name in dependents[package]} - removed
        return BlockedSet(tuple(blocked), tuple(sorted(others)))

    def removal_requests(self, packages: str | Iterable[str]) -> tuple[Request, ...]:
        """Return the requests that remove ``packages``, each answered OK if they are applied in this order.

        Dependents go first. A package of a cycle must be released before: it is indexed again without
        dependencies. Raises :exc:`RequestRefused` if a package that is not among them depends on one of them.

        >>> from scoop_core import DependencyGraph, encode_request
        >>> graph = DependencyGraph.from_mapping({"gcc": ["glibc"], "glibc": ["gcc", "make"], "make": []})
        >>> for request in graph.removal_requests(["gcc", "glibc"]):
        ...     print(encode_request(request), end="")
        INDEX|glibc|
        REMOVE|gcc|
        REMOVE|glibc|
        """
        removed = set(package_names(packages))
        if refusal := self.explain_removal(removed):
            raise RequestRefused(refusal)
        return self._requests_to_remove(removed)

    def _requests_to_remove(self, removed: set[str]) -> tuple[Request, ...]:
        """Return the requests that remove packages on which nothing else depends."""
        order = dependencies_first(removed, self._sorted_names)
        position = {package: place for place, package in enumerate(order)}
        releases = [
            _request(Command.INDEX, package, ())
            for package in order
            if any(position.get(name, -1) > position[package] for name in self._names(package))
        ]
        return (*releases, *(_request(Command.REMOVE, package, ()) for package in reversed(order)))

    # From one graph to another

    def diff(self, target: GraphQueries) -> tuple[Request, ...]:
        """Return the requests that lead from this graph to ``target``; none if they are equal.

        Applied in this order, each request is answered OK; also by a graph that rejects cycles, if ``target`` has none.
        Packages of a cycle can take two requests, all others take one. O(P), and O(p + d log d) of what differs and its
        dependencies.

        >>> from scoop_core import DependencyGraph, encode_request
        >>> current = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": []})
        >>> wanted = DependencyGraph.from_mapping({"cloog": ["gmp"], "gmp": []})
        >>> for request in current.diff(wanted):
        ...     print(encode_request(request), end="")
        INDEX|gmp|
        INDEX|cloog|gmp
        REMOVE|isl|
        """
        if self._dependencies == target._dependencies:
            return ()
        surplus = self._dependencies.keys() - target._dependencies.keys()
        return _requests_between(self._dependencies, target) + self._requests_to_remove(surplus)

    # The whole graph

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

        A package comes after its dependencies. Equal graphs give equal lines. If packages depend on each other in a
        cycle, one of them comes first without the dependencies that are still to come, and a second time, complete,
        after them. O(P log P + D log D). The graph must not change meanwhile.

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


def _requests_between(current: Mapping[str, str], target: GraphQueries) -> tuple[Request, ...]:
    """Return the INDEX requests that bring the packages of ``target`` into ``current``, lists by package.

    Once a package is indexed, all that it reaches is as in ``target``, but for the edges that wait to close a
    cycle of ``target``. So no cycle is closed that ``target`` does not have.
    """
    wanted = target._dependencies
    changed = {name for name in wanted if name not in current or not same_names(current[name], wanted[name])}
    requests: list[Request] = []
    incomplete: list[Request] = []
    indexed = set(current)
    for package in successors_first(sorted(changed), target._sorted_names):
        if package not in changed:
            continue
        names = target._sorted_names(package)
        present = [name for name in names if name in indexed]
        complete = _request(Command.INDEX, package, names)
        if len(present) == len(names):
            requests.append(complete)
        else:  # the others are indexed later, so a cycle leads there
            incomplete.append(complete)
            if package not in indexed:
                requests.append(_request(Command.INDEX, package, present))
        indexed.add(package)
    return (*requests, *incomplete)


def _request(command: Command, package: str, names: Iterable[str]) -> Request:
    """Return the request with names that are indexed, and therefore checked."""
    return Request(command, PackageName(package), tuple(map(PackageName, names)))


def lists_in_order(graph: GraphRequests) -> Iterable[tuple[str, str]]:
    """Return each package with its dependency list after its dependencies, in the order of ``graph`` where possible.

    Packages of a cycle come as in :meth:`GraphRequests.to_lines`.
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
