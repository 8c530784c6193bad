"""A topological order that is maintained while a graph changes, and the search for a cycle that it makes short.

No package has a label lower than that of a dependency, direct or indirect, so most checks for a cycle compare two
labels. Only if a new dependency has a higher label, :class:`CycleSearch` visits what it needs, down to the label of the
package. If the package is not there, everything that was visited is moved below it.

Packages of a cycle, which a graph may have had before it rejected cycles, share a label. Labels have gaps, so that
moving some packages moves no others. The algorithm is that of D. J. Pearce and P. H. J. Kelly ("A dynamic topological
sort algorithm for directed acyclic graphs", 2006) without its search among the dependents, which would need a reverse
index: where that moves dependents up and dependencies down, this moves dependencies into the gap below the package.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from operator import length_hint
from typing import Final, NamedTuple

from scoop_core.compilation import mypyc_attr
from scoop_core.graph_algorithms import component_layers
from scoop_core.messages import Changes

_GAP: Final = 1 << 36
"""Distance of the labels of new packages: 65,000 packages can be moved between any two."""

_ROOM_BITS: Final = 4
"""Moved packages get a gap of at least 2 ** _ROOM_BITS times their number, so that moving many again takes about as
many changes as there are packages."""


class SearchPendingError(Exception):
    """The search that a request needs has used up its budget. Internal: no public method raises it."""


class PartialResponses(NamedTuple):
    """The responses to the first lines of a text, and the search that the next line needs.

    >>> PartialResponses("", "", None, 0).cost
    0
    """

    responses: str
    rest: str
    """The lines without a response."""
    search: "CycleSearch | None"
    """The search for the first of them. Once it has a result, apply the rest. None if all are answered, or if the graph
    has a search limit: then give the rest a new budget."""
    cost: int
    """The packages and dependencies that were visited."""


def search_within(lists: dict[str, str], package: str, names: Iterable[str], budget: float) -> tuple[bool | None, int]:
    """Return whether ``package`` is among all that ``names`` need, and how many packages and dependencies these are.

    None if they are more than ``budget``. A search that ended at ``package`` would visit less, but how much would
    depend on the order of the lists.
    """
    seen, unvisited, visits = set(names), list(names), 0
    while unvisited:
        visits += 1
        if visits > budget:
            return None, visits
        listed = lists[unvisited.pop()]
        if listed:
            found = listed.split(",")
            visits += len(found)
            for name in found:
                if name not in seen:
                    seen.add(name)
                    unvisited.append(name)
    return (package in seen if visits <= budget else None), visits


class TopologicalOrder:
    """The labels of all packages of a graph, whose dependency lists are passed to each method that needs them."""

    def __init__(self, lists: dict[str, str]) -> None:
        """Order the packages of ``lists``, which may have cycles. O(P + D)."""
        layers, groups = component_layers(lists)
        order = sorted(layers, key=layers.__getitem__)
        self._top = len(order) * _GAP
        self.labels: dict[str, int] = dict(zip(order, range(0, self._top, _GAP), strict=True))
        for group in groups:
            self.labels.update(dict.fromkeys(group, self.labels[group[0]]))
        self.budget: float = inf
        """Packages and dependencies that the searches of the current call may still visit."""
        self.pending: CycleSearch | None = None
        """The search that exceeded the budget."""
        self.active: CycleSearch | None = None
        """The one search that is carried out in steps, between which the graph changes."""
        self.change_count: int = 0
        """Changes of the graph since ``_changes`` was last empty."""
        self.is_retired: bool = False
        """The graph has dropped this order, so its searches have no meaning."""
        self._changes: Changes | None = None
        self._log: dict[str, int | None] = {}
        """Labels from before these changes; None: none."""

    def begin_budget(self, budget: int) -> None:
        """Let the searches of the current call visit ``budget`` packages and dependencies, and forget a pending one."""
        self.budget = float(budget)
        self.pending = None

    # Changes of the graph

    def begin(self, lists: dict[str, str], changes: Changes | None) -> None:
        """Note that the next changes are appended to ``changes``; if these are empty, :meth:`undo` can undo them."""
        self.catch_up(lists)
        if changes is None or not changes.lines:
            self._changes, self._log, self.change_count = changes, {}, 0

    def catch_up(self, lists: dict[str, str]) -> None:
        """Label the new packages: nothing depended on them when they were added, so each follows all others.

        They are the last ones of ``lists``, in the order in which they were added.
        """
        labels = self.labels
        if len(labels) == len(lists):
            return
        new: list[str] = []
        for name in reversed(lists):
            if name in labels:
                break
            new.append(name)
        for name in reversed(new):
            self._set(name, self._new_label())
        self.change_count += len(new)

    def remove(self, lists: dict[str, str], package: str) -> None:
        """Note that ``package`` is removed."""
        self.catch_up(lists)
        self.replace(package)
        self._set(package, None)

    def replace(self, package: str) -> None:
        """Note that the dependencies of ``package`` are replaced."""
        self.change_count += 1
        self._interrupt(package)

    def move_to_end(self, package: str) -> None:
        """Put ``package``, on which nothing depends, after all others."""
        self._set(package, self._new_label())

    def _new_label(self) -> int:
        self._top += _GAP
        return self._top

    def _set(self, name: str, label: int | None) -> None:
        before = self.labels.get(name)
        if self._changes is not None:
            self._log.setdefault(name, before)
        if label is None:
            self.labels.pop(name, None)
        else:
            self.labels[name] = label

    def move_down(self, name: str, label: int, search: "CycleSearch") -> None:
        """Set the label of ``name``, which ``search`` has visited, to a lower one."""
        self._set(name, min(label, self.labels[name]))
        if search is not self.active:
            self._interrupt(name)

    def _interrupt(self, name: str) -> None:
        """Restart the active search if its result may depend on ``name``."""
        if self.active is not None and self.active._has_seen(name):
            self.active.restarts += 1
            self.active._restart()

    # Undoing

    def can_undo(self, lists: dict[str, str], changes: Changes) -> bool:
        """Return whether ``changes`` are all changes of the graph since they were empty."""
        self.catch_up(lists)
        return changes is self._changes and self.change_count == len(changes)

    def undo(self, changes: Changes) -> None:
        """Restore the labels as they were when ``changes``, which have been undone, were empty."""
        log, self._log, self.change_count = self._log, {}, 0
        for line in changes.lines:
            self._interrupt(line.split("|")[1])
        for name, label in log.items():
            self._set(name, label)
            self._interrupt(name)
        self._log = {}

    # The check

    def closes_cycle(self, lists: dict[str, str], package: str, names: set[str]) -> bool:
        """Return whether a path leads from one of the new dependencies ``names`` to ``package``.

        If none does, the labels of ``names`` are lower than that of ``package`` afterwards. Raises
        SearchPendingError, and :attr:`pending` is the search, if the :attr:`budget` does not suffice.
        """
        self.catch_up(lists)
        if self.active is not None and self.active._implies(package, names):
            return True
        label_of = self.labels.__getitem__
        if max(map(label_of, names), default=-inf) < label_of(package):
            return False
        search = CycleSearch(self, lists, package, names)
        result = search._run(self.budget) if len(names) <= self.budget else None  # looking up all would exceed it
        self.budget -= search.cost
        if result is None:
            search._restart()
            self.pending = search
            raise SearchPendingError
        return result


@mypyc_attr(allow_interpreted_subclasses=True)
class CycleSearch:
    r"""The search for a path from one of ``names`` to ``package``, in steps.

    The packages are visited in the order of their labels, the highest first. Those above ``package``, and as many more
    as it takes to find a gap for them, are then moved below it, the lowest first: the order is valid after each move.

    >>> from scoop_core import DependencyGraph
    >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
    >>> search = graph.apply_lines_within(0, "INDEX|c|a\n").search
    >>> search.package, sorted(search.names), search.result
    ('c', ['a'], None)
    """

    def __init__(self, order: TopologicalOrder, lists: dict[str, str], package: str, names: Iterable[str]) -> None:
        self.package: str = package
        self.names: frozenset[str] = frozenset(names)
        self.result: bool | None
        """True if there is a path; None: not known yet, or no longer."""
        self.cost: int = 0
        """Packages and dependencies visited so far."""
        self.restarts: int = 0
        """The number of restarts because the graph had changed."""
        self._order = order
        self._lists = lists
        self._restart()

    def _restart(self) -> None:
        """Forget everything that was visited."""
        self.result = None
        self._rest: Iterator[str] | None = None
        """The new dependencies without a look-up yet; None before the first one."""
        self._seen: set[str] = set()
        self._unvisited: list[tuple[int, str]] = []
        """A heap of negated labels and names; only those that have been seen."""
        self._visited: list[str] = []
        self._lowest: int | None = None
        """The lowest label that was visited, or in the second phase, that was moved."""
        self._rank = 0
        """The number of different labels that were visited, or in the second phase, are left to be moved."""
        self._gap = 0
        """The distance of the labels that are assigned in the second phase; 0 in the first phase."""

    def _has_seen(self, name: str) -> bool:
        """Return whether the result may depend on the dependencies or the label of ``name``."""
        return self._rest is not None and (name in self._seen or name in self.names or name == self.package)

    def _implies(self, package: str, names: set[str] | frozenset[str]) -> bool:
        """Return whether this search has found a path from one of ``names`` to ``package``."""
        return bool(self.result) and self.package == package and self.names <= names

    def step(self, budget: float) -> bool | None:
        r"""Visit about ``budget`` more packages and dependencies; return the result, None if it is not known yet.

        A change of the graph between two steps restarts the search if it concerns it; so does a step of another search.
        If the result is False, the request can be applied without a search; if it is True, it will be answered FAIL. A
        search ends with False, too, if the graph has dropped its order: then the request starts another one.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
        >>> search = graph.apply_lines_within(0, "INDEX|c|a\n").search
        >>> search.step(1), search.step(3)
        (None, True)
        """
        order = self._order
        if order.is_retired:
            self.result = False
            return False
        order.catch_up(self._lists)
        if order.active is not self:
            if order.active is not None:
                if order.active._implies(self.package, self.names):
                    return True
                order.active._restart()
            order.active = self
        if self.result is False:  # an undo may have moved the packages back
            self._restart()
        if self._run(budget) is False:
            order.active = None
        return self.result

    def _run(self, budget: float) -> bool | None:
        """Do the same without regard to other searches, and without noticing changes of the graph."""
        if self.result is None:
            self._continue(self.cost + budget)
        return self.result

    def _continue(self, limit: float) -> None:
        if self._visited or self._begin(limit):
            if not self._gap:
                self._visit(limit)
            if self._gap and self.cost < limit:
                self._move(limit)

    def _begin(self, limit: float) -> bool:
        """Look up the new dependencies; return whether that is complete, so that the visits can begin."""
        labels = self._order.labels
        if self._rest is None:
            self._rest = iter(self.names)
        names = list(islice(self._rest, max(int(min(limit - self.cost, len(self.names))), 1)))
        try:
            floor = labels[self.package]
            found = list(map(labels.__getitem__, names))  # once, because each look-up can miss the processor's caches
        except KeyError:
            self.result = False  # the request will be refused for another reason
            return False
        above = [(-label, name) for label, name in zip(found, names, strict=True) if label >= floor]
        self._unvisited += above
        self._seen.update([name for _, name in above])
        self.cost += len(names)
        if length_hint(self._rest):
            return False
        heapify(self._unvisited)
        return True

    def _visit(self, limit: float) -> None:
        """Visit the packages that may lead to the package, and more until there is a gap below the last one."""
        labels, lists, seen, unvisited = self._order.labels, self._lists, self._seen, self._unvisited
        package, floor = self.package, labels[self.package]
        while unvisited:
            if self.cost >= limit:
                return
            label = -unvisited[0][0]
            if self._lowest is None or label < self._lowest:
                if label < floor and floor - label >= (self._rank + 1) ** 2 << _ROOM_BITS:
                    self._gap = (floor - label) // (self._rank + 1)
                    return
                self._lowest = label
                self._rank += 1
            name = heappop(unvisited)[1]
            self._visited.append(name)
            listed = lists[name]
            names = listed.split(",") if listed else ()
            self.cost += 1 + len(names)
            for each in names:
                if each not in seen:
                    if each == package:
                        self.result = True
                        return
                    seen.add(each)
                    heappush(unvisited, (-labels[each], each))
        self._gap = _GAP

    def _move(self, limit: float) -> None:
        """Move the visited packages below the package, evenly spaced and in their order, unless they are there."""
        order, visited, floor = self._order, self._visited, self._order.labels[self.package]
        while visited:
            label = order.labels[visited[-1]]
            if self._lowest is not None and label > self._lowest:
                if self.cost >= limit:  # only here: packages of one label may be a cycle, which moves as a whole
                    return
                self._lowest = label
                self._rank -= 1
            order.move_down(visited.pop(), floor - self._rank * self._gap, self)
            self.cost += 1
        self._restart()
        self.result = False
