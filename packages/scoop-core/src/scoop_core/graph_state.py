"""The state of a dependency graph, and the transitions that INDEX, REMOVE and QUERY make.

Two dictionaries hold everything, and both have every indexed package as a key:

``_dependent_counts``
    how many other packages depend on it. An INDEX looks up and counts each dependency in this dictionary alone,
    because at a million packages each further look-up is a further cache miss.
``_dependencies``
    its dependencies, as the text that arrived: ``"gmp,isl"``. A repeated INDEX is then one comparison, a line of a
    snapshot is ready-made, and the garbage collector has nothing to traverse.

A package that depends on itself is not counted among its own dependents: it never blocks its own REMOVE.

Every key has been checked by :func:`parse_name`, so an indexed dependency needs no further check:
only the characters of names that are not indexed are checked.

A graph that rejects cycles also has ``_order``, which makes most checks for a cycle short; see
:mod:`~scoop_core.graph_order`. It is made when it is first needed. A graph with a search limit has none, because what a
search visits depends on it, and with it on all earlier requests.
"""

from collections.abc import Iterable
from itertools import takewhile
from math import inf
from typing import TypeAlias

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import InvalidName
from scoop_core.graph_order import SearchPendingError, TopologicalOrder, search_within
from scoop_core.messages import ERROR, FAIL, OK, UNKNOWN, Changes, Tally
from scoop_core.names import is_name, parse_name, parse_names

SlotState: TypeAlias = tuple[dict[str, object] | None, dict[str, object]]
"""The attributes of an object whose class has slots: those in its ``__dict__``, and those in slots."""


@mypyc_attr(allow_interpreted_subclasses=True)
class GraphState:
    """The two dictionaries of a graph, and all that changes them."""

    __slots__ = (
        "_dependencies",
        "_dependent_counts",
        "_is_acyclic",
        "_late",
        "_order",
        "_rejects_cycles",
        "_search_budget",
        "_search_limit",
        "refused_searches",
    )

    def __init__(self, *, reject_cycles: bool = False) -> None:
        self._dependent_counts: dict[str, int] = {}
        self._dependencies: dict[str, str] = {}
        # The packages that may precede a dependency in both dictionaries, or be one of their own; None: any package.
        # A new package follows its dependencies, so most graphs can be written as they are, at a third of the cost.
        self._late: set[str] | None = set()
        self._rejects_cycles = reject_cycles
        # Known to have no cycle, because it has rejected cycles ever since it was empty or was checked.
        self._is_acyclic = reject_cycles
        self._order: TopologicalOrder | None = None
        self._search_limit: int | None = None
        self.refused_searches: int = 0
        """The requests that failed because of :attr:`search_limit`; a copy begins at 0."""
        self._search_budget: float = inf  # what the searches of the current call may still visit, with a limit

    def __getstate__(self) -> SlotState:
        """Return the attributes of a copy: those of a subclass, and its own, which are no slots if it is compiled."""
        state = object.__getstate__(self)
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        own = {
            "_dependencies": self._dependencies,
            "_dependent_counts": self._dependent_counts,
            "_is_acyclic": self._is_acyclic,
            "_late": self._late,
            "_order": None,
            "_rejects_cycles": self._rejects_cycles,
            "_search_budget": inf,
            "_search_limit": self._search_limit,
            "refused_searches": 0,
        }
        return attributes, {**slots, **own}

    @property
    def reject_cycles(self) -> bool:
        """Return whether an INDEX that would close a cycle is answered FAIL; cycles that exist already stay.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph(reject_cycles=True).reject_cycles
        True
        """
        return self._rejects_cycles

    @reject_cycles.setter
    def reject_cycles(self, value: bool) -> None:
        self._is_acyclic &= value
        self._rejects_cycles = value
        if not value:
            self._drop_order()

    @property
    def search_limit(self) -> int | None:
        """The most packages and dependencies that the search for a cycle visits; an INDEX that needs more fails.

        For several graphs that must answer alike: with a limit, a response depends on the lists of the graph alone, and
        no topological order is kept. None, the default: no limit. An INDEX of a package on which others depend needs a
        search, and it visits all that the new dependencies need.

        >>> from scoop_core import DependencyGraph
        >>> graph = DependencyGraph.from_mapping({"c": [], "b": ["c"], "d": ["e"], "e": []}, reject_cycles=True)
        >>> graph.search_limit = 2
        >>> graph.index("e", ["b"]), graph.index("e", ["c"])
        (<Response.FAIL: 'FAIL'>, <Response.OK: 'OK'>)
        """
        return self._search_limit

    @search_limit.setter
    def search_limit(self, value: int | None) -> None:
        self._search_limit = value
        self._drop_order()

    def _load(self, dependencies: dict[str, str], dependent_counts: dict[str, int], late: set[str] | None) -> None:
        """Replace all that the graph holds."""
        self._dependencies = dependencies
        self._dependent_counts = dependent_counts
        self._late = late
        self._order = None

    def _copies(self) -> tuple[dict[str, str], dict[str, int], set[str] | None]:
        """Return copies of all that the graph holds, for :meth:`_load`."""
        late = None if self._late is None else self._late.copy()
        return self._dependencies.copy(), self._dependent_counts.copy(), late

    def _current_order(self) -> TopologicalOrder:
        """Return the order of a graph that rejects cycles. O(P + D) the first time."""
        if self._order is None:
            self._order = TopologicalOrder(self._dependencies)
        return self._order

    @property
    def _keeps_order(self) -> bool:
        return self._rejects_cycles and self._search_limit is None

    def _drop_order(self) -> None:
        """Make a new order when one is needed again, and end all searches."""
        if self._order is not None:
            self._order.is_retired = True
            self._order = None

    def _apply_each(  # noqa: C901  # the common cases are decided in place, see the docstring
        self, lines: list[str], changes: Changes | None, tally: Tally | None
    ) -> list[str]:
        """Answer ``lines`` one by one, up to the first whose search for a cycle is pending.

        The common cases are decided in place, because a call takes a sixth of the time of a change. All others are left
        to the transitions below, which apply the same rules in readable form.
        """
        counts, dependencies = self._dependent_counts, self._dependencies
        responses: list[str] = []
        failed: list[str] = []  # the commands that were answered FAIL
        broken: list[str] = []  # and ERROR
        indexes = removes = 0
        changes = Changes() if changes is None else changes
        changed_lines, replaced = changes.lines, changes.previous
        order = self._current_order() if self._keeps_order else None
        if order is not None:
            order.begin(dependencies, changes)
        for line in lines:
            # Cut out of the line, because a split takes longer. No key has a bar, so a key shows a well-formed line.
            if line.startswith("QUERY|") and line[-1] == "|":
                package = line[6:-1]
                if package in counts:
                    responses.append(OK)
                    continue
                if is_name(package):
                    responses.append(FAIL)
                    failed.append("QUERY")
                    continue
            elif line.startswith("INDEX|"):
                bar = line.find("|", 6)
                package, listed = line[6:bar], line[bar + 1 :]
                previous = dependencies.get(package)
                if previous == listed:  # the most common repetition: the same text
                    indexes += 1
                    responses.append(OK)
                    continue
                if previous is None and is_name(package) and self._count_dependent_on(listed):
                    indexes += 1
                    dependencies[package] = listed
                    counts[package] = 0
                    changed_lines.append(line)
                    replaced.append(None)
                    responses.append(OK)
                    continue
            elif line.startswith("REMOVE|"):
                count = counts.get(package := line[7:-1])
                if count is not None and line[-1] == "|":
                    removes += 1
                    if count:
                        responses.append(FAIL)
                        failed.append("REMOVE")
                        continue
                    changed_lines.append(line)
                    replaced.append(self._forget(package) if order is None else self._forget_ordered(package))
                    responses.append(OK)
                    continue
            try:
                command, package, listed = line.split("|")
            except ValueError:
                command, response = UNKNOWN, ERROR
            else:
                try:
                    if command == "QUERY":
                        response = self._query(package, listed)
                    elif command == "INDEX":
                        indexes += 1
                        response = self._index(package, listed, changes)
                    elif command == "REMOVE":
                        removes += 1
                        response = self._remove(package, listed, changes)
                    else:
                        command, response = UNKNOWN, ERROR
                except InvalidName:
                    response = ERROR
                except SearchPendingError:
                    indexes -= 1
                    break
            responses.append(response)
            if response is not OK:
                (failed if response is FAIL else broken).append(command)
        if tally is not None:
            tally._count(len(responses), indexes, removes, failed, broken)
        return responses

    # Transitions

    def _query(self, package: str, listed: str) -> str:
        if listed:
            parse_names(listed)  # ignored, but an invalid name is an error
        if package in self._dependent_counts:
            return OK
        parse_name(package)
        return FAIL

    def _index(self, package: str, listed: str, changes: Changes | None) -> str:
        counts = self._dependent_counts
        previous = self._dependencies.get(package)
        if previous is None:
            parse_name(package)
        names = split_names(listed)
        if len(set(names)) < len(names):
            names = [*parse_names(listed)]
            listed = ",".join(names)
        if previous is None:
            if not self._count_dependent_on(listed):
                parse_names(listed)  # an invalid name is an error, a missing one a refusal
                return FAIL
            self._dependencies[package] = listed
            counts[package] = 0
        else:
            if not all(map(counts.__contains__, names)):
                parse_names(listed)
                return FAIL
            if same_names(previous, listed):
                self._dependencies[package] = listed  # so that the same line, next time, is one comparison
                if changes is not None and changes.reordered is not None:
                    changes.reordered.append((package, previous, listed))
                return OK
            if self._rejects_cycles and not self._make_room(package, names):
                return FAIL
            self._replace(package, listed)
        if changes is not None:
            changes.lines.append(f"INDEX|{package}|{listed}")
            changes.previous.append(previous)
        return OK

    def _extend(self, package: str, name: str, changes: Changes | None) -> str:
        """Let ``package``, which is indexed, depend on ``name`` too."""
        counts, previous = self._dependent_counts, self._dependencies[package]
        if name not in counts:
            parse_name(name)
            return FAIL
        names = split_names(previous) if name in previous else []  # most are ruled out without being split
        if name in names:
            return OK
        if self._rejects_cycles and not self._make_room(package, [name]):
            return FAIL
        listed = self._dependencies[package] = f"{previous},{name}" if previous else name
        counts[name] += name != package
        if self._late is not None:
            self._late.add(package)
        if changes is not None:
            changes.lines.append(f"INDEX|{package}|{listed}")
            changes.previous.append(previous)
        return OK

    def _count_dependent_on(self, listed: str) -> bool:
        """Count a new package that depends on ``listed``; if a name is missing or repeated, only return False.

        Most lists have no missing name, so each name is looked up once.
        """
        if not listed:
            return True
        counts = self._dependent_counts
        names = listed.split(",")
        if len({*names}) < len(names):
            return False
        try:
            for name in names:
                counts[name] += 1
        except KeyError:
            for name in takewhile(counts.__contains__, names):
                counts[name] -= 1
            return False
        return True

    def _remove(self, package: str, listed: str, changes: Changes | None) -> str:
        if listed:
            parse_names(listed)  # ignored, but an invalid name is an error
        count = self._dependent_counts.get(package)
        if count is None:
            parse_name(package)
            return OK
        if count:
            return FAIL
        previous = self._forget(package) if self._order is None else self._forget_ordered(package)
        if changes is not None:
            changes.lines.append(f"REMOVE|{package}|")
            changes.previous.append(previous)
        return OK

    def _replace(self, package: str, listed: str) -> None:
        """Give ``package``, which may be new, the dependencies ``listed``: all indexed, each once."""
        counts = self._dependent_counts
        before, names = split_names(self._dependencies.get(package, "")), split_names(listed)
        for name in before:
            counts[name] -= name != package
        self._dependencies[package] = listed
        counts.setdefault(package, 0)
        for name in names:
            counts[name] += name != package
        if self._late is not None and not set(names).issubset(before):
            self._late.add(package)

    def _forget(self, package: str) -> str:
        """Drop ``package``, on which nothing else depends; return the dependencies that it had."""
        counts = self._dependent_counts
        listed = self._dependencies.pop(package)
        if listed:
            for name in listed.split(","):
                counts[name] -= 1
        del counts[package]  # last, because the package may be one of the names
        if self._late:
            self._late.discard(package)
        return listed

    def _forget_ordered(self, package: str) -> str:
        """Do the same in a graph with an order."""
        self._current_order().remove(self._dependencies, package)
        return self._forget(package)

    def _make_room(self, package: str, names: Iterable[str]) -> bool:
        """Change the order so that ``package``, which is indexed, can depend on ``names``.

        Returns False if that would close a cycle. Raises SearchPendingError if the budget does not suffice. An old
        dependency cannot close a cycle: it would exist already.
        """
        new = set(names).difference(split_names(self._dependencies[package]))
        if package in new:
            return False
        if self._search_limit is not None:
            if not new or not self._dependent_counts[package]:
                return True
            return self._is_unreachable(package, new, self._search_limit)
        order = self._current_order()
        if not self._dependent_counts[package]:
            order.catch_up(self._dependencies)
            order.move_to_end(package)
        elif order.closes_cycle(self._dependencies, package, new):
            return False
        order.replace(package)
        return True

    def _is_unreachable(self, package: str, names: set[str], limit: int) -> bool:
        """Return whether a search within ``limit`` shows that no path leads from ``names`` to ``package``."""
        budget = min(self._search_budget, limit)
        result, visits = search_within(self._dependencies, package, names, budget)
        self._search_budget -= visits
        if result is None and budget < limit:
            raise SearchPendingError
        self.refused_searches += result is None
        return result is False

    # Undoing

    def _undo_one(self, line: str, previous: str | None) -> bool:
        """Undo the change that ``line`` made; do nothing and return False if that would leave the graph inconsistent.

        So the package must be as the line left it, the dependencies that it gets back must be indexed, and nothing
        may depend on a package that the undo removes.
        """
        if line.count("|") != 2:
            return False
        command, package, listed = line.split("|")
        current = self._dependencies.get(package)
        if command == "INDEX":
            if current is None or not same_names(current, listed):
                return False
        elif command != "REMOVE" or current is not None or not is_name(package):
            return False
        if previous is None:
            if current is None or self._dependent_counts[package]:
                return False
            self._forget(package)
            return True
        names = split_names(previous)
        if len(set(names)) < len(names) or not all(name in self._dependencies or name == package for name in names):
            return False
        self._replace(package, previous)
        return True

    def _redo_one(self, line: str) -> None:
        """Make the change again that ``line`` made, and that has been undone."""
        command, package, listed = line.split("|")
        if command == "INDEX":
            self._replace(package, listed)
        else:
            self._forget(package)


def split_names(listed: str) -> list[str]:
    """Return the names of a well-formed list."""
    return listed.split(",") if listed else []


def same_names(listed: str, other: str) -> bool:
    """Return whether two lists, neither with a name twice, have the same names."""
    return listed == other or (len(listed) == len(other) and set(listed.split(",")) == set(other.split(",")))
