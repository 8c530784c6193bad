"""The index of a server that rejects cycles: a long search for a cycle is done in slices, one in each turn."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import accumulate, count
from typing import Final, Generic

from scoop_core import CycleSearch, DependencyGraph, PartialResponses

from scoop_server.index.local import LocalIndex, Store
from scoop_server.ports import ClientT, Request, Response
from scoop_server.telemetry.statistics import Meter

SLICE_VISITS: Final = 4_096
"""Packages and dependencies that one slice visits: about 5 ms. A turn has two slices at most: one for the requests that
arrive in it, and one of the pending work."""

_UNLIMITED_VISITS: Final = 2**62

HELD_BYTES_MAX: Final = 65_536
"""Bytes of long requests that one turn executes, and of those that waited for a search to end: the longest lists, which
many clients may have sent together, take as long as a slice."""

LONG_BYTES: Final = 4_096
"""Bytes of requests above which they wait while searches are pending or others are executed: the names of a list of
64 KiB take as long as a slice, and a turn does one of both."""

RESTARTS_MAX: Final = 3
"""Restarts of the active search after which changes of other clients wait for its end. Otherwise it might never end,
and all searches behind it would wait."""


@dataclass(slots=True, eq=False)
class _Work(Generic[ClientT]):
    """The request of a client, answered in part."""

    client: ClientT
    lines: str
    rest: str
    """The lines that have no response yet."""
    answers: str = ""
    search: CycleSearch | None = None
    """The search that the first of ``rest`` waits for."""
    cost: int = 0
    """What its client has cost when it was parked."""
    number: int = 0
    """Its place among works of equal cost."""

    def __lt__(self, other: "_Work[ClientT]") -> bool:
        return (self.cost, self.number) < (other.cost, other.number)


class SlicedIndex(LocalIndex[ClientT]):
    """A :class:`LocalIndex` whose graph rejects cycles: a client whose request needs a long search is parked.

    Each request first gets its share of a slice, then a whole slice of its own. A search that needs more waits until
    it is the active one: only the active search continues from slice to slice, and it restarts if another request
    changes a package that it has visited.

    A client costs what its searches visit, and the client with the lowest cost comes first. A new client starts with
    the cost of the client whose search became active last, so it waits for no client that has used more. All costs are
    forgotten when no client is parked.
    """

    def __init__(
        self, graph: DependencyGraph, store: Store, meter: Meter | None = None, *, slice_visits: int = SLICE_VISITS
    ) -> None:
        super().__init__(graph, store, meter)
        self._slice_visits = slice_visits
        self._untried: list[_Work[ClientT]] = []
        self._waiting: list[_Work[ClientT]] = []
        """Parked work: heaps, the client with the lowest cost first."""
        self._numbers = count()
        self._active: _Work[ClientT] | None = None
        self._tries_next = True
        """True if an untried request comes before the active search: the two alternate."""
        self._held: list[_Work[ClientT]] = []
        """Requests with changes that arrived while the active search must not be restarted again, oldest first."""
        self._costs: dict[ClientT, int] = {}
        self._lowest_cost = 0
        """The cost of a client that is not in ``_costs``."""
        graph.apply_lines_within(0, "")  # makes the order, which takes long, before the first client waits for it

    def execute(self, requests: Sequence[Request[ClientT]]) -> list[Response[ClientT]]:
        """Apply and commit the requests of one turn; return the responses of those that need no long search."""
        room = 0 if self.is_pending else HELD_BYTES_MAX
        works: list[_Work[ClientT]] = []
        for client, lines in requests:
            work, long_bytes = _Work(client, lines, lines), len(lines) if len(lines) > LONG_BYTES else 0
            if not ("INDEX|" in lines or "REMOVE|" in lines):
                works.append(work)
            elif self._is_holding:
                self._held.append(work)
            elif long_bytes > room != HELD_BYTES_MAX:  # it waits for a turn of its own; the first one may be longer
                self._push(self._untried, work)
            else:
                room -= long_bytes
                works.append(work)
        return self._run(works)

    def completed(self) -> list[Response[ClientT]]:
        """Do the next slice; return the responses of the requests that are complete with it."""
        if self._held and not self._is_holding:
            return self._run(self._take_held())
        if self._active is None and self._waiting:  # the search of the cheapest client becomes active
            self._active = heappop(self._waiting)
            self._lowest_cost = self._active.cost
            self._costs = {client: cost for client, cost in self._costs.items() if cost > self._lowest_cost}
        work, self._tries_next = self._active, not self._tries_next
        if self._untried and not self._is_holding and (work is None or not self._tries_next):
            return self._run([heappop(self._untried)])
        if work is None or work.search is None:
            return []
        before = work.search.cost
        result = work.search.step(self._slice_visits)
        self._charge(work.client, work.search.cost - before)
        if result is None:
            return []
        self._active = None
        return self._run([work])

    def _take_held(self) -> list[_Work[ClientT]]:
        """Return the first of the requests that were held back: one, or as many as are short."""
        sizes = list(accumulate(len(work.lines) for work in self._held))
        count = max(bisect_right(sizes, HELD_BYTES_MAX), 1)
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    @property
    def _is_holding(self) -> bool:
        search = self._active.search if self._active is not None else None
        return search is not None and search.restarts >= RESTARTS_MAX

    def _charge(self, client: ClientT, visits: int) -> None:
        if visits:
            self._costs[client] = self._costs.get(client, self._lowest_cost) + visits

    def _run(self, works: Sequence[_Work[ClientT]]) -> list[Response[ClientT]]:
        """Apply and commit the rest of each work, within a slice; return the responses, and park what needs more."""
        visits, changes, tally = self._slice_visits // (len(works) or 1), self._changes, self._meter.tally
        parts: list[PartialResponses | None] = []
        budgets: list[int] = []
        for work in works:
            before = len(changes)
            parts.append(self._graph.apply_lines_within(visits, work.rest, changes, tally))
            self._note_author(work.client, before)
            # Work that has changed the graph had its searches done. They are repeated to the end, because their results
            # are undone as well: in slices, they would be repeated for as long as nothing can be stored.
            budgets.append(_UNLIMITED_VISITS if len(changes) > before else visits)
        if changes.lines and not self._commit():
            apply = self._graph.apply_lines_within
            parts = [
                self._answer_unchanged(partial(apply, budget, work.rest))
                for work, budget in zip(works, budgets, strict=True)
            ]
        responses: list[Response[ClientT]] = []
        for work, part in zip(works, parts, strict=True):
            if part is None:
                responses.append((work.client, work.lines, None))
                continue
            self._charge(work.client, part.cost)
            work.answers += part.responses
            if part.search is None:
                responses.append((work.client, work.lines, work.answers))
            else:
                self._park(work, part)
        self._note_pending()
        return responses

    def _park(self, work: _Work[ClientT], part: PartialResponses) -> None:
        """Try the search again with a whole slice, unless that has been done."""
        queue = self._untried if work.search is None or part.responses else self._waiting
        work.rest, work.search = part.rest, part.search
        self._push(queue, work)

    def _push(self, queue: list[_Work[ClientT]], work: _Work[ClientT]) -> None:
        work.cost, work.number = self._costs.get(work.client, self._lowest_cost), next(self._numbers)
        heappush(queue, work)

    def _note_pending(self) -> None:
        self.is_pending = bool(self._untried or self._waiting or self._held) or self._active is not None
        if not self.is_pending:
            self._costs.clear()
            self._lowest_cost = 0
