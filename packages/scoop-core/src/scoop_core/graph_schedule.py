"""The scheduler, which hands out the packages of a graph in dependency order, also while the graph changes."""

from collections.abc import Iterable
from itertools import chain
from typing import Self

from scoop_core.graph_algorithms import component_layers, reachable
from scoop_core.graph_index import GraphEvent, IndexedGraph
from scoop_core.names import package_names


class _Unit:
    """A package, or the packages of a cycle, which are handed out together."""

    __slots__ = ("is_begun", "members", "pending", "unfinished")

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members
        self.pending = 0
        """The dependencies of its packages on packages of other open units."""
        self.is_begun = False
        """It has been handed out."""
        self.unfinished = len(members)


class Scheduler:
    """Hands out packages once all their dependencies are done, as ``graphlib.TopologicalSorter`` does.

    Without ``packages`` all packages of the graph are scheduled, and new ones as they are indexed; with it only
    these, and all other dependencies count as done. Packages that need each other in a cycle are a unit: they are
    handed out together, once all else that they need is done, and what needs one of them waits for all.

    The graph is live: a package that is removed is no longer scheduled, and a package that has not been handed out
    waits for the dependencies that it has now. A change costs O(its dependencies), and O(p + d) of the waiting packages
    that it needs if it may have closed or opened a cycle.

    >>> graph = IndexedGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": [], "make": []})
    >>> with Scheduler(graph) as scheduler:
    ...     while scheduler.is_active():
    ...         print(ready := scheduler.get_ready())
    ...         scheduler.done(ready)
    ('gmp', 'make')
    ('isl',)
    ('cloog',)
    """

    def __init__(self, graph: IndexedGraph, packages: str | Iterable[str] | None = None) -> None:
        if not isinstance(graph, IndexedGraph):
            raise TypeError(
                f"expected an IndexedGraph, got a {type(graph).__name__}; IndexedGraph.from_graph makes one"
            )
        self._graph = graph
        self._chosen = None if packages is None else frozenset(map(graph._known, package_names(packages)))
        self._open: dict[str, _Unit] = {}  # of each package whose unit is not done
        self._ready: dict[_Unit, None] = {}
        self._running: dict[str, _Unit] = {}
        self._done: set[str] = set()
        self._schedule(list(graph if self._chosen is None else self._chosen))
        self._unsubscribe = graph.subscribe(self._follow)

    def get_ready(self) -> tuple[str, ...]:
        """Return the packages that have become ready since the last call, sorted.

        >>> Scheduler(IndexedGraph.from_mapping({"isl": ["gmp"], "gmp": []})).get_ready()
        ('gmp',)
        """
        return tuple(sorted(chain.from_iterable(self.get_ready_components())))

    def get_ready_components(self) -> tuple[tuple[str, ...], ...]:
        """Return the same as units: a tuple of one package, or of all packages of a cycle; sorted.

        >>> graph = IndexedGraph.from_mapping({"gcc": ["glibc"], "glibc": ["gcc"], "make": []})
        >>> Scheduler(graph).get_ready_components()
        (('gcc', 'glibc'), ('make',))
        """
        for unit in self._ready:
            unit.is_begun = True
            self._running.update(dict.fromkeys(unit.members, unit))
        ready = tuple(sorted(unit.members for unit in self._ready))
        self._ready.clear()
        return ready

    def done(self, packages: str | Iterable[str]) -> None:
        """Mark ``packages``, which have been handed out, as done. Raises ValueError for any other.

        >>> scheduler = Scheduler(IndexedGraph.from_mapping({"gmp": []}))
        >>> scheduler.done(scheduler.get_ready())
        """
        finished = dict.fromkeys(package_names(packages))
        for package in finished:
            if package not in self._running:
                raise ValueError(f"cannot mark {package!r} as done: it has not been handed out")
        for package in finished:
            unit = self._running.pop(package)
            unit.unfinished -= 1
            if not unit.unfinished:
                self._finish(unit)

    def is_active(self) -> bool:
        """Return whether there are packages that are not done.

        >>> Scheduler(IndexedGraph()).is_active()
        False
        """
        return bool(self._open)

    def close(self) -> None:
        """Stop following the graph; also done at the end of a ``with`` block.

        >>> Scheduler(IndexedGraph()).close()
        """
        self._unsubscribe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, unit: _Unit) -> None:
        """Release the units that waited for ``unit``."""
        for member in unit.members:
            del self._open[member]
        present = [member for member in unit.members if member in self._graph]
        self._done.update(present)
        for dependent in chain.from_iterable(map(self._graph.dependents, present)):
            waiting = self._open.get(dependent)
            if waiting is not None and not waiting.is_begun:
                waiting.pending -= 1
                if not waiting.pending:
                    self._ready[waiting] = None

    def _follow(self, event: GraphEvent) -> None:
        """Adapt to changes of the graph: make the units again that may differ."""
        changed = {change.package for change in event.changes}
        self._done.difference_update([name for name in changed if name not in self._graph])
        changed = {name for name in changed - self._done if not self._is_begun(name)}
        # Only what a package needs can be on a cycle that its change has closed, if something depends on it.
        starts = [name for name in changed if name in self._graph and self._graph.dependents(name)]
        loose = changed | reachable(starts, lambda name: self._unbegun(name, changed))
        loose.update(*(self._open[name].members for name in loose if name in self._open))
        for name in loose:
            unit = self._open.pop(name, None)
            if unit is not None:
                self._ready.pop(unit, None)
        self._schedule([name for name in loose if name in self._graph])

    def _unbegun(self, package: str, changed: set[str]) -> list[str]:
        """Return the dependencies of ``package`` that are in ``changed`` or waiting."""
        names = self._graph.dependencies(package)
        return [name for name in names if name in changed or (name in self._open and not self._is_begun(name))]

    def _is_begun(self, package: str) -> bool:
        unit = self._open.get(package)
        return unit is not None and unit.is_begun

    def _schedule(self, packages: Iterable[str]) -> None:
        """Make the units of those of ``packages`` that are chosen, and let them wait for their dependencies."""
        chosen = {name: None for name in packages if self._chosen is None or name in self._chosen}
        _, groups = component_layers(self._graph._lists_among(chosen))
        units = [_Unit(tuple(sorted(group))) for group in groups]
        units += [_Unit((name,)) for name in chosen.keys() - set(chain.from_iterable(groups))]
        for unit in units:
            self._open.update(dict.fromkeys(unit.members, unit))
        for unit in units:
            names = chain.from_iterable(map(self._graph.dependencies, unit.members))
            unit.pending = sum(self._open.get(name, unit) is not unit for name in names)
            if not unit.pending:
                self._ready[unit] = None
