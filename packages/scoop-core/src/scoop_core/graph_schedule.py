"""A scheduler of the packages of a graph that may change meanwhile."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from scoop_core.graph_index import GraphEvent, IndexedGraph


class Scheduler:
    """Hands out packages once all their dependencies are done, as ``graphlib.TopologicalSorter`` does.

    Without ``packages`` all packages of the graph are scheduled, and new ones as they are indexed; with it only
    these, and all other dependencies count as done. The graph is live: a package that is removed is no longer
    scheduled, and a package that has not been handed out waits for the dependencies that it has now. Packages that need
    each other in a cycle are handed out together, once nothing else can be.

    >>> graph = IndexedGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": [], "make": []})
    >>> with Scheduler(graph) as scheduler:
    ...     while scheduler.is_active():
    ...         print(ready := scheduler.get_ready())
    ...         scheduler.done(*ready)
    ('gmp', 'make')
    ('isl',)
    ('cloog',)
    """

    def __init__(self, graph: IndexedGraph, packages: Iterable[str] | None = None) -> None:
        self._graph = graph
        self._chosen = None if packages is None else frozenset(map(graph._known, packages))
        self._waiting: dict[str, int] = {}  # for how many dependencies each package waits
        self._ready: set[str] = set()
        self._running: set[str] = set()
        self._done: set[str] = set()
        self._schedule(graph if self._chosen is None else self._chosen)
        self._unsubscribe = graph.subscribe(self._follow)

    def get_ready(self) -> tuple[str, ...]:
        """Return the packages that have become ready since the last call, sorted.

        >>> Scheduler(IndexedGraph.from_mapping({"isl": ["gmp"], "gmp": []})).get_ready()
        ('gmp',)
        """
        if self._waiting and not self._ready and not self._running:  # only cycles are left, and what needs them
            self._ready.update(self._graph.layers(self._waiting)[0])
            for package in self._ready:
                del self._waiting[package]
        ready = tuple(sorted(self._ready))
        self._running.update(ready)
        self._ready.clear()
        return ready

    def done(self, *packages: str) -> None:
        """Mark ``packages``, which have been handed out, as done. Raises ValueError for any other.

        >>> scheduler = Scheduler(IndexedGraph.from_mapping({"isl": ["gmp"], "gmp": []}))
        >>> scheduler.done(*scheduler.get_ready())
        >>> scheduler.get_ready()
        ('isl',)
        """
        for package in packages:
            if package not in self._running:
                raise ValueError(f"cannot mark {package!r} as done: it has not been handed out")
        for package in packages:
            self._running.remove(package)
            if package not in self._graph:
                continue
            self._done.add(package)
            for dependent in self._graph.dependents(package):
                if dependent in self._waiting:
                    self._waiting[dependent] -= 1
                    if not self._waiting[dependent]:
                        del self._waiting[dependent]
                        self._ready.add(dependent)

    def is_active(self) -> bool:
        """Return whether there are packages that are not done.

        >>> Scheduler(IndexedGraph()).is_active()
        False
        """
        return bool(self._waiting or self._ready or self._running)

    def close(self) -> None:
        """Stop following the graph; also done at the end of a ``with`` block.

        >>> Scheduler(IndexedGraph()).close()
        """
        self._unsubscribe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self, event: GraphEvent) -> None:
        """Adapt to changes of the graph."""
        changed = {change.package for change in event.changes}
        for package in changed:
            self._waiting.pop(package, None)
            self._ready.discard(package)
            if package not in self._graph:
                self._done.discard(package)
        self._schedule(package for package in changed if package in self._graph)

    def _schedule(self, packages: Iterable[str]) -> None:
        """Let ``packages`` wait for their dependencies, unless they have been handed out or are not chosen."""
        some = [name for name in packages if name not in self._done and name not in self._running]
        if self._chosen is not None:
            some = [name for name in some if name in self._chosen]
        self._waiting.update(dict.fromkeys(some, 0))
        for package in some:
            names = self._graph.dependencies(package)
            count = sum(name != package and self._is_open(name) for name in names)
            if count:
                self._waiting[package] = count
            else:
                self._ready.add(package)
        for package in some:
            if package in self._ready:
                del self._waiting[package]

    def _is_open(self, package: str) -> bool:
        return package in self._waiting or package in self._ready or package in self._running
