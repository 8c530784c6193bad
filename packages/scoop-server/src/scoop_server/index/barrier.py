"""The read barrier: queries wait until the replica has applied all that was acknowledged before they arrived."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from scoop_server.etcd.api import Failure, Range, RangeResult
from scoop_server.etcd.calls import Calls
from scoop_server.etcd.log import Keys
from scoop_server.index.appender import Batch

ClientT = TypeVar("ClientT")


class Barrier(Generic[ClientT]):
    """Holds batches of queries until the replica has reached the head of the log as it was after they arrived.

    One linearizable read of the head serves all batches that wait when it is sent. Batches that arrive while it is
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
        self._arrived: deque[Batch[ClientT]] = deque()
        self._asked: deque[Batch[ClientT]] = deque()
        """Those that wait for the read on its way."""
        self._is_asking = False
        self._sent_at = 0.0
        self._held: deque[tuple[int, Batch[ClientT]]] = deque()
        """Those that wait for a revision to be applied; the revisions rise."""

    def __len__(self) -> int:
        return len(self._arrived) + len(self._asked) + len(self._held)

    def add(self, batch: Batch[ClientT]) -> None:
        """Hold a batch."""
        self._arrived.append(batch)

    def advance(self) -> None:
        """Read the head for the batches that have arrived, unless a read is on its way."""
        if self._is_asking or not self._arrived:
            return
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
        self._held.extend((head, batch) for batch in self._asked)
        self._asked.clear()
        self.advance()

    def released(self, position: int) -> Iterator[Batch[ClientT]]:
        """Yield the batches that a replica with all entries up to ``position`` may answer, oldest first."""
        while self._held and self._held[0][0] <= position:
            yield self._held.popleft()[1]

    def expired(self, now: float) -> Iterator[Batch[ClientT]]:
        """Yield the batches whose deadline has passed, and give them up."""
        while self._held and self._held[0][1].deadline <= now:
            yield self._held.popleft()[1]
        for queue in (self._asked, self._arrived):
            while queue and queue[0].deadline <= now:
                yield queue.popleft()
