"""A queue of texts that need long searches for cycles, which are done in slices, shared fairly between clients.

The queue applies nothing itself, so that its owner can make changes durable, or undo them, before anyone is answered.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import accumulate, count
from typing import Final, Generic, TypeAlias, TypeVar

from scoop_core.graph_order import CycleSearch, PartialResponses

ClientT = TypeVar("ClientT")

HELD_BYTES_MAX: Final = 65_536
"""Bytes of long texts that are applied at a time, and of those that waited for a search to end: the longest lists,
which many clients may have sent together, take as long as a slice."""

LONG_BYTES: Final = 4_096
"""Bytes of a text above which it waits while searches are pending or others are applied: the names of a list of 64 KiB
take as long as a slice, and only one of both is done at a time."""

RESTARTS_MAX: Final = 3
"""Restarts of the active search after which changes of other clients wait for its end. Otherwise it might never end,
and all searches behind it would wait."""


class QueuedText(Generic[ClientT]):
    r"""The requests of a client, answered in part.

    >>> QueuedText("alice", "QUERY|gmp|\n").rest
    'QUERY|gmp|\n'
    """

    __slots__ = ("client", "responses", "rest", "search", "text")

    def __init__(self, client: ClientT, text: str) -> None:
        self.client: ClientT = client
        self.text: str = text
        self.rest: str = text
        """The lines that have no response yet."""
        self.responses: str = ""
        self.search: CycleSearch | None = None
        """The search that the first of ``rest`` waits for."""


_Heap: TypeAlias = list[tuple[int, int, QueuedText[ClientT]]]
"""Texts in the order of the costs of their clients, and in the order of their numbers where these are equal."""


class SearchQueue(Generic[ClientT]):
    r"""Decides which text is applied next to a graph that rejects cycles, and which search is continued.

    Each text is first applied with a share of ``slice_visits`` as its budget, then with all of them. A search that
    needs more waits until it is the active one: only the active search continues from slice to slice, and it restarts
    if another text changes a package that it has visited.

    A client costs what its searches visit, and the client with the lowest cost comes first. A new client starts with
    the cost of the client whose search became active last, so it waits for no client that has used more. All costs are
    forgotten when nothing is pending. Raises ValueError for slices without a visit, in which no search would end.

    >>> from scoop_core import DependencyGraph
    >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
    >>> queue = SearchQueue[str](slice_visits=2)
    >>> taken = queue.add([("alice", "INDEX|c|a\n"), ("bob", "QUERY|a|\n")])
    >>> while taken or queue.is_pending:
    ...     visits = queue.slice_visits // max(len(taken), 1)
    ...     parts = [graph.apply_lines_within(visits, each.rest) for each in taken]
    ...     for client, _, responses in queue.settle(taken, parts):
    ...         print(client, responses.strip())
    ...     taken = queue.advance()
    bob OK
    alice FAIL
    """

    def __init__(self, slice_visits: int) -> None:
        if slice_visits < 1:
            raise ValueError(f"expected a slice of at least 1 visit, got {slice_visits}")
        self.slice_visits: int = slice_visits
        """Packages and dependencies that one slice visits."""
        self._untried: _Heap[ClientT] = []
        self._waiting: _Heap[ClientT] = []
        self._numbers = count()
        self._active: QueuedText[ClientT] | None = None
        self._tries_next = True
        """True if an untried text comes before the active search: the two alternate."""
        self._held: list[QueuedText[ClientT]] = []
        """Texts with changes that arrived while the active search must not be restarted again, oldest first."""
        self._costs: dict[ClientT, int] = {}
        self._lowest_cost = 0
        """The cost of a client that is not in ``_costs``."""

    @property
    def is_pending(self) -> bool:
        """Return whether texts wait for :meth:`advance`.

        >>> SearchQueue[str](4_096).is_pending
        False
        """
        return bool(self._untried or self._waiting or self._held) or self._active is not None

    def add(self, texts: Iterable[tuple[ClientT, str]]) -> list[QueuedText[ClientT]]:
        r"""Add texts of clients that have none pending; return those to apply now, and then to :meth:`settle`.

        >>> [each.client for each in SearchQueue[str](4_096).add([("bob", "INDEX|gmp|\n")])]
        ['bob']
        """
        room = 0 if self.is_pending else HELD_BYTES_MAX
        taken: list[QueuedText[ClientT]] = []
        for client, text in texts:
            queued, long_bytes = QueuedText(client, text), len(text) if len(text) > LONG_BYTES else 0
            if not ("INDEX|" in text or "REMOVE|" in text):
                taken.append(queued)
            elif self._is_holding:
                self._held.append(queued)
            elif long_bytes > room != HELD_BYTES_MAX:  # it is applied alone, later; the first one may be longer
                self._push(self._untried, queued)
            else:
                room -= long_bytes
                taken.append(queued)
        return taken

    def advance(self) -> list[QueuedText[ClientT]]:
        """Do a slice of a search, or choose waiting texts; return those to apply now, and then to :meth:`settle`.

        >>> SearchQueue[str](4_096).advance()
        []
        """
        if self._held and not self._is_holding:
            return self._take_held()
        if self._active is None and self._waiting:  # the search of the cheapest client becomes active
            self._lowest_cost, _, self._active = heappop(self._waiting)
            self._costs = {client: cost for client, cost in self._costs.items() if cost > self._lowest_cost}
        queued, self._tries_next = self._active, not self._tries_next
        if self._untried and not self._is_holding and (queued is None or not self._tries_next):
            return [heappop(self._untried)[2]]
        if queued is None or queued.search is None:
            return []
        before = queued.search.cost
        result = queued.search.step(self.slice_visits)
        self._charge(queued.client, queued.search.cost - before)
        if result is None:
            return []
        self._active = None
        return [queued]

    def settle(
        self, applied: Sequence[QueuedText[ClientT]], parts: Sequence[PartialResponses | None]
    ) -> list[tuple[ClientT, str, str | None]]:
        r"""Return the clients, texts and responses of those that are complete, and queue the others.

        ``parts`` are the results of applying each ``rest``; None ends a text without responses: its changes were
        undone.

        >>> queue = SearchQueue[str](4_096)
        >>> queue.settle(queue.add([("bob", "INDEX|gmp|\n")]), [None])
        [('bob', 'INDEX|gmp|\n', None)]
        """
        complete: list[tuple[ClientT, str, str | None]] = []
        for queued, part in zip(applied, parts, strict=True):
            if part is None:
                complete.append((queued.client, queued.text, None))
                continue
            self._charge(queued.client, part.cost)
            queued.responses += part.responses
            if part.search is None:
                complete.append((queued.client, queued.text, queued.responses))
            else:  # tried again with a whole slice, unless that has been done
                heap = self._untried if queued.search is None or part.responses else self._waiting
                queued.rest, queued.search = part.rest, part.search
                self._push(heap, queued)
        if not self.is_pending:
            self._costs.clear()
            self._lowest_cost = 0
        return complete

    @property
    def _is_holding(self) -> bool:
        search = self._active.search if self._active is not None else None
        return search is not None and search.restarts >= RESTARTS_MAX

    def _take_held(self) -> list[QueuedText[ClientT]]:
        """Return the first of the texts that were held back: one, or as many as are short."""
        sizes = list(accumulate(len(queued.text) for queued in self._held))
        number = max(bisect_right(sizes, HELD_BYTES_MAX), 1)
        taken, self._held = self._held[:number], self._held[number:]
        return taken

    def _charge(self, client: ClientT, visits: int) -> None:
        if visits:
            self._costs[client] = self._costs.get(client, self._lowest_cost) + visits

    def _push(self, heap: _Heap[ClientT], queued: QueuedText[ClientT]) -> None:
        heappush(heap, (self._costs.get(queued.client, self._lowest_cost), next(self._numbers), queued))
