"""Queries on a dependency graph: neighbours, transitive neighbours, paths, orders, components, parts.

They need no reverse index. Docstrings give the cost in terms of

- *P*, the packages that are indexed,
- *D*, the dependencies of all packages together,
- *p* and *d*, the packages that an answer reaches, and their dependencies.

``packages`` are an iterable of names, or one name. Answers are immutable, and sorted unless their order has another
meaning. A package that is not indexed raises :exc:`UnknownPackage`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, compress
from operator import contains
from types import MappingProxyType

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import UnknownPackage
from scoop_core.graph_algorithms import component_layers, dependencies_first, reachable, shortest_path, successors_first
from scoop_core.graph_state import GraphState, split_names
from scoop_core.names import package_names


@mypyc_attr(allow_interpreted_subclasses=True)
class GraphQueries(GraphState):
    """The queries of :class:`~scoop_core.DependencyGraph`."""

    __slots__ = ()

    # Neighbours

    def dependencies(self, package: str) -> tuple[str, ...]:
        """Return the direct dependencies of ``package``, in the order in which it was indexed with them.

        O(its dependencies).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).dependencies("isl")
        ('gmp',)
        """
        return tuple(self._names(package))

    def dependents(self, package: str) -> tuple[str, ...]:
        """Return the packages that depend directly on ``package``.

        O(D) if there are any, because no index of them is kept, else O(1). For many questions, make one
        :class:`~scoop_core.IndexedGraph` of the graph.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).dependents("gmp")
        ('isl',)
        """
        if not self._dependent_counts[self._known(package)]:  # which does not count the package itself
            return (package,) if package in self._names(package) else ()
        # Most lists are ruled out by a search for the text, without being split.
        lists = self._dependencies.items()
        return tuple(sorted(name for name, listed in lists if package in listed and package in split_names(listed)))

    def dependency_count(self, package: str) -> int:
        """Return the number of direct dependencies of ``package``. O(its dependencies).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "gmp": []}).dependency_count("isl")
        2
        """
        return len(self._names(package))

    def dependent_count(self, package: str) -> int:
        """Return the number of other packages that depend directly on ``package``. O(1).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "gmp": []}).dependent_count("gmp")
        1
        """
        return self._dependent_counts[self._known(package)]

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield each package with each of its dependencies. The graph must not change meanwhile.

        >>> from scoop_core import DependencyGraph
        >>> list(DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "gmp": []}).edges())
        [('isl', 'gmp'), ('isl', 'isl')]
        """
        return ((package, name) for package, listed in self._dependencies.items() for name in split_names(listed))

    def edge_count(self) -> int:
        """Return the number of dependencies of all packages together. O(P).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"isl": ["gmp", "isl"], "gmp": []}).edge_count()
        2
        """
        texts = list(filter(None, self._dependencies.values()))
        return sum(text.count(",") for text in texts) + len(texts)

    def dependents_by_package(self) -> Mapping[str, tuple[str, ...]]:
        """Return a mapping from each package to the packages that depend on it: a copy, in no special order.

        O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> dict(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}).dependents_by_package())
        {'gmp': ('isl',), 'isl': ()}
        """
        dependents = self._all_dependents()
        return MappingProxyType({name: tuple(sorted(dependents.get(name, ()))) for name in sorted(self._dependencies)})

    # Transitive neighbours and paths

    def transitive_dependencies(self, packages: str | Iterable[str]) -> tuple[str, ...]:
        """Return all that ``packages`` depend on, directly or not, without ``packages`` themselves.

        In an order in which they can be installed, each after its own dependencies; only packages that need each
        other in a cycle cannot all be in that order. O(p + d log d).

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": [], "make": []})
        >>> graph.transitive_dependencies(["cloog", "make"])
        ('gmp', 'isl')
        """
        starts = set(map(self._known, package_names(packages)))
        order = successors_first(sorted(starts), self._sorted_names)
        return tuple(name for name in order if name not in starts)

    def transitive_dependents(self, packages: str | Iterable[str]) -> tuple[str, ...]:
        """Return all that depend on ``packages``, directly or not, without ``packages`` themselves.

        In an order in which they can be rebuilt, each after its own dependencies; only packages that need each
        other in a cycle cannot all be in that order. O(P + D), because no reverse index is kept; for
        many questions, make one :class:`~scoop_core.IndexedGraph` of the graph.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": [], "make": []})
        >>> graph.transitive_dependents("gmp")
        ('isl', 'cloog')
        """
        starts = set(map(self._known, package_names(packages)))
        if not any(map(self._dependent_counts.__getitem__, starts)):
            return ()
        dependents = self._all_dependents()
        affected = reachable(starts, lambda name: dependents.get(name, ())) - starts
        return tuple(dependencies_first(affected, self._sorted_names))

    def find_path(self, package: str, dependency: str) -> tuple[str, ...]:
        """Return a shortest path by which ``package`` depends on ``dependency``, both included; empty without a path.

        Each package on it depends directly on the next. If both are the same, it is a shortest cycle
        through it. O(p + d).

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"gcc": ["cloog"], "cloog": ["isl"], "isl": ["gmp"], "gmp": []})
        >>> graph.find_path("gcc", "gmp")
        ('gcc', 'cloog', 'isl', 'gmp')
        """
        return self._path(package, self._names(package), self._known(dependency))

    def paths_to(self, dependency: str) -> Mapping[str, tuple[str, ...]]:
        """Return a shortest path to ``dependency`` from each package that depends on it, directly or not, by package.

        As :meth:`find_path` from each of them, but by one search; the nearest packages come first. O(P + D), or with a
        reverse index the packages that depend on it and their dependents. The paths take O(their lengths).

        >>> from scoop_core import DependencyGraph
        >>> dict(DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []}).paths_to("gmp"))
        {'isl': ('isl', 'gmp'), 'cloog': ('cloog', 'isl', 'gmp')}
        """
        dependents = self._all_dependents()
        nearest = [self._known(dependency)]
        paths: dict[str, tuple[str, ...]] = {dependency: (dependency,)}
        while nearest:
            found: list[str] = []
            for name in nearest:
                path = paths[name]
                for dependent in dependents.get(name, ()):
                    if dependent not in paths:
                        paths[dependent] = (dependent, *path)
                        found.append(dependent)
            nearest = sorted(found)  # so that of several next packages the first by name counts
        del paths[dependency]
        return MappingProxyType(paths)

    def shortest_paths(self, package: str, dependency: str) -> Iterator[tuple[str, ...]]:
        """Yield all paths from ``package`` to ``dependency`` that are as short as that of :meth:`find_path`, sorted.

        There can be exponentially many. O(p + d) before the first. The graph must not change meanwhile.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"gcc": ["isl", "mpfr"], "isl": ["gmp"], "mpfr": ["gmp"], "gmp": []})
        >>> list(graph.shortest_paths("gcc", "gmp"))
        [('gcc', 'isl', 'gmp'), ('gcc', 'mpfr', 'gmp')]
        """
        levels = [set(self._names(package))]  # the packages at each distance
        found = set[str]()
        while self._known(dependency) not in levels[-1]:
            found |= levels[-1]
            following = set(chain.from_iterable(map(self._names, levels[-1]))) - found
            if not following:
                return iter(())
            levels.append(following)
        useful = [{dependency}]
        for level in reversed(levels[:-1]):
            useful.append({name for name in level if not useful[-1].isdisjoint(self._names(name))})
        return self._paths_through(package, useful[::-1])

    def _paths_through(self, package: str, levels: list[set[str]]) -> Iterator[tuple[str, ...]]:
        """Yield all paths with one package of each level, from each of which one leads to the end."""
        path = [package]
        remaining = [iter(sorted(levels[0]))]
        while remaining:
            name = next(remaining[-1], None)
            if name is None:
                remaining.pop()
                path.pop()
            elif len(path) == len(levels):
                yield (*path, name)
            else:
                remaining.append(iter(sorted(levels[len(path)].intersection(self._names(name)))))
                path.append(name)

    def cut_packages(self, package: str, dependency: str) -> tuple[str, ...]:
        """Return the packages through which every path from ``package`` to ``dependency`` leads, in this order.

        Without any one of them, ``package`` would not depend on ``dependency``. Neither end is among them; there are
        none if there is no path. O(p + d).

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["e"], "e": []})
        >>> graph.cut_packages("a", "e")
        ('d',)
        """
        path = self.find_path(package, dependency)
        places = {name: place for place, name in reversed(list(enumerate(path)))}  # a cycle begins at 0
        if path:
            places[dependency] = len(path) - 1
        cut: list[str] = []
        seen = set[str]()
        farthest = 0  # of the places that all before this one reach, without a step along the rest of the path
        for place, start in enumerate(path[:-1]):
            if place and place == farthest:
                cut.append(start)
            unexplored = [start]
            while unexplored:
                for name in self._names(unexplored.pop()):
                    if name in places:
                        farthest = max(farthest, places[name])
                    elif name not in seen:
                        seen.add(name)
                        unexplored.append(name)
        return tuple(cut)

    # Orders and components

    def topological_order(self) -> tuple[str, ...]:
        """Return all packages, each after its dependencies: the :meth:`layers`, one after the other.

        Packages that need each other in a cycle cannot all be in that order; :meth:`cyclic_components` names them.
        O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}).topological_order()
        ('c', 'b', 'a')
        """
        return tuple(chain.from_iterable(names_by_layer(component_layers(self._dependencies)[0])))

    def layers(self, packages: str | Iterable[str] | None = None) -> tuple[tuple[str, ...], ...]:
        """Return all packages in layers, each package in the first layer possible.

        The packages of a layer depend on earlier layers only, so they can be built in parallel once those
        are built. A cycle can only be built as a whole: its packages share a layer. With ``packages``, only these,
        as if nothing else were indexed. O(P log P + D), or O(p log p + d) of the ``packages`` and their dependencies.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []})
        >>> graph.layers()
        (('d',), ('b', 'c'), ('a',))
        >>> graph.layers(["a", "b"])
        (('b',), ('a',))
        """
        return tuple(map(tuple, names_by_layer(component_layers(self._lists_of(packages))[0])))

    def component_layers(self, packages: str | Iterable[str] | None = None) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """Return the :meth:`layers` as units: a tuple of one package, or of all packages of a cycle.

        The units of a layer can be built in parallel, and one with a cycle as a whole.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}).component_layers()
        ((('b', 'c'), ('d',)), (('a',),))
        """
        layer_of, groups = component_layers(self._lists_of(packages))
        group_of = {min(group): tuple(sorted(group)) for group in groups}
        for name in set(chain.from_iterable(groups)).difference(group_of):
            del layer_of[name]
        return tuple(tuple([group_of.get(name) or (name,) for name in names]) for names in names_by_layer(layer_of))

    def strongly_connected_components(self) -> tuple[tuple[str, ...], ...]:
        """Return the largest groups of packages in which each depends on each, every group after its dependencies.

        A package that is on no cycle with another is a group of its own. These are the :meth:`component_layers`, one
        after the other. O(P log P + D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["b"]}).strongly_connected_components()
        (('b', 'c'), ('a',))
        """
        return tuple(chain.from_iterable(self.component_layers()))

    def cyclic_components(self) -> tuple[tuple[str, ...], ...]:
        """Return the groups of packages that all depend on each other, and the packages that depend on themselves.

        These are the strongly connected components with a cycle. Without them, each package can be
        installed after its dependencies. O(P + D).

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"]}).cyclic_components()
        (('b', 'c'), ('d',))
        """
        _, groups = component_layers(self._dependencies)
        components = {tuple(sorted(group)) for group in groups}
        grouped = set(chain.from_iterable(groups))
        # First a cheap test, which errs to one side.
        for package in compress(self._dependencies, map(contains, self._dependencies.values(), self._dependencies)):
            if package not in grouped and package in self._names(package):
                components.add((package,))
        return tuple(sorted(components))

    # For the queries of all kinds

    def _known(self, package: str) -> str:
        if package not in self._dependencies:
            raise UnknownPackage(package)
        return package

    def _names(self, package: str) -> list[str]:
        return split_names(self._dependencies[self._known(package)])

    def _lists_among(self, packages: Collection[str]) -> dict[str, str]:
        """Return the dependencies of ``packages`` among them."""
        lists = self._dependencies
        return {name: ",".join(filter(packages.__contains__, split_names(lists[name]))) for name in packages}

    def _lists_of(self, packages: str | Iterable[str] | None) -> Mapping[str, str]:
        """Return the dependencies of all packages, or those of ``packages`` among them."""
        if packages is None:
            return self._dependencies
        return self._lists_among(dict.fromkeys(map(self._known, package_names(packages))))

    def _path(self, start: str, names: Iterable[str], goal: str) -> tuple[str, ...]:
        return shortest_path(start, names, goal, self._dependencies, None)

    def _sorted_names(self, package: str) -> list[str]:
        return sorted(self._names(package))

    def _all_dependents(self) -> Mapping[str, Iterable[str]]:
        """Return the dependents of each package that has any, in no special order."""
        dependents: dict[str, list[str]] = {}
        for package, listed in self._dependencies.items():
            for name in split_names(listed):
                dependents.setdefault(name, []).append(package)
        return dependents


def names_by_layer(layer_of: Mapping[str, int]) -> list[list[str]]:
    """Return the sorted names of each layer."""
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for name, number in layer_of.items():
        layers[number].append(name)
    for names in layers:
        names.sort()
    return layers
