"""The read barrier: queries wait until the replica has applied all that was acknowledged before they arrived."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from scoop_etcd.client.api import Failure, Range, RangeResult
from scoop_etcd.client.calls import Calls
from scoop_etcd.formats.entries import Keys
from scoop_etcd.replication.gathering import Gathering
from scoop_server.ports import ClientT, Request


@dataclass(slots=True, eq=False)
class Queries(Generic[ClientT]):
    """The queries of one turn."""

    requests: Sequence[Request[ClientT]]
    deadline: float
    revision: int = 0
    """The revision that the replica must have reached before they are answered."""


class Barrier(Generic[ClientT]):
    """Holds queries until the replica has reached the head of the entry log as it was after they arrived.

    One linearizable read of the head serves all queries that wait when it is sent. Those that arrive while it is
    on its way wait for the next: it may have been executed before they arrived.
    """

    def __init__(
        self,
        calls: Calls,
        keys: Keys,
        clock: Callable[[], float],
        expect: Callable[[int], None],
        passed: Callable[[float], None],
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._clock = clock
        self._expect = expect
        """Called with the revision of the last entry."""
        self._passed = passed
        """Called with the seconds that a read took."""
        self._arrived: deque[Queries[ClientT]] = deque()
        self._asked: deque[Queries[ClientT]] = deque()
        """Those that wait for the read on its way."""
        self._is_asking = False
        self._sent_at = 0.0
        self._held: deque[Queries[ClientT]] = deque()
        """Those that wait for their revision; the revisions rise."""
        self.gathering: Final = Gathering(self.advance)
        self.pending: int = 0
        """The number of clients that wait. May be read in any thread."""

    def add(self, queries: Queries[ClientT]) -> None:
        """Hold the queries of a turn."""
        self._arrived.append(queries)
        self.pending += len(queries.requests)

    def advance(self) -> None:
        """Read the head for the queries that have arrived, unless a read is on its way or more are about to arrive."""
        if self._is_asking or not self._arrived:
            return
        if not self.gathering.is_complete(sum([len(queries.requests) for queries in self._arrived])):
            return
        # One read for all that wait. It must begin after their arrival: a read on its way may have been executed before
        # another node acknowledged a change that they must see.
        self._asked, self._arrived = self._arrived, deque()
        self._is_asking = True
        self._sent_at = self._clock()
        self._calls.range(Range(self._keys.head), self._take)

    def _take(self, result: RangeResult | Failure) -> None:
        assert isinstance(result, RangeResult)  # noqa: S101  # no failure of this call is final
        self._is_asking = False
        self._passed(self._clock() - self._sent_at)
        head = result.kvs[0].mod_revision if result.kvs else 0
        self._expect(head)
        for queries in self._asked:
            queries.revision = head
        self._held += self._asked
        self._asked.clear()
        self.gathering.begin(self.pending)
        self.advance()

    def released(self, position: int) -> Iterator[Queries[ClientT]]:
        """Yield the queries that a replica with all entries up to ``position`` may answer, oldest first."""
        while self._held and self._held[0].revision <= position:
            yield self._taken_from(self._held)

    def expired(self, now: float) -> Iterator[Queries[ClientT]]:
        """Yield the queries whose deadline has passed, and give them up."""
        for queue in (self._held, self._asked, self._arrived):
            while queue and queue[0].deadline <= now:
                yield self._taken_from(queue)

    def _taken_from(self, queue: deque[Queries[ClientT]]) -> Queries[ClientT]:
        queries = queue.popleft()
        self.pending -= len(queries.requests)
        return queries
