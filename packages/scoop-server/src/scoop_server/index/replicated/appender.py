"""Appending to the log: one entry at a time, and the lines of the turns that pass meanwhile in the next."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from scoop_server.errors import ReplicationError
from scoop_server.etcd.api import Compare, ErrorCode, Failure, Put, Target, Txn, TxnResult
from scoop_server.etcd.calls import Call, Calls
from scoop_server.etcd.log import ENTRY_BYTES_MAX, Keys, encode_entry

ClientT = TypeVar("ClientT")


@dataclass(slots=True, eq=False)
class Batch(Generic[ClientT]):
    """The lines of one client in one turn."""

    client: ClientT
    lines: str
    logged: str
    """Those of them that the entry holds."""
    deadline: float


@dataclass(slots=True, eq=False)
class Entry(Generic[ClientT]):
    """An entry of this node that has been sent to etcd."""

    seq: int
    batches: list[Batch[ClientT]]
    """Empty once the clients have been disconnected."""
    deadline: float


class Appender(Generic[ClientT]):
    """Appends the batches of node ``node`` to the log.

    The transaction has one condition, that the entry does not exist, so it may be sent any number of times. The next
    entry is sent when the one before it is known to be in the log: etcd may reorder transactions under way.
    """

    def __init__(
        self, calls: Calls, keys: Keys, node: str, clock: Callable[[], float], appended: Callable[[float], None]
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._node = node
        self._clock = clock
        self._appended = appended
        """Called with the seconds that an append took."""
        self._queue: deque[Batch[ClientT]] = deque()
        self._undelivered: deque[Entry[ClientT]] = deque()
        """The entries that have been sent and not come back, oldest first. Only the last may not be in the log yet."""
        self._call: Call | None = None
        self._last_seq = 0
        self._sent_at = 0.0
        self._is_started = False

    def __len__(self) -> int:
        return len(self._queue) + sum(len(entry.batches) for entry in self._undelivered)

    @property
    def waiting_seconds(self) -> float:
        """The time for which the entry on its way has been without a result."""
        return self._clock() - self._sent_at if self._call is not None else 0.0

    @property
    def failure(self) -> Failure | None:
        """The last failure of the entry on its way."""
        return self._call.failure if self._call is not None else None

    def start(self) -> None:
        """Begin to send; until then batches only wait."""
        self._is_started = True
        self.advance()

    def add(self, batch: Batch[ClientT]) -> None:
        """Queue a batch for the next entry."""
        self._queue.append(batch)

    def advance(self) -> None:
        """Send the queued batches as one entry, unless one is on its way."""
        if self._call is not None or not self._queue or not self._is_started:
            return
        batches = [self._queue.popleft()]
        size = len(batches[0].logged)
        while self._queue and size + len(self._queue[0].logged) <= ENTRY_BYTES_MAX:
            batches.append(self._queue.popleft())
            size += len(batches[-1].logged)
        self._last_seq += 1
        entry = Entry(self._last_seq, batches, batches[0].deadline)
        self._undelivered.append(entry)
        self._sent_at = self._clock()
        lines = "".join([batch.logged for batch in batches])
        self._call = self._calls.txn(self._transaction(entry.seq, lines), self._take, {ErrorCode.TOO_LARGE})

    def _transaction(self, seq: int, lines: str) -> Txn:
        key = self._keys.entry(self._node, seq)
        return Txn(
            (Compare(key, Target.VERSION, 0),),
            (
                Put(key, encode_entry(self._node, seq, lines)),
                Put(self._keys.head, b"%s/%d" % (self._node.encode(), seq)),
            ),
        )

    def _take(self, result: TxnResult | Failure) -> None:
        """Go on with the next entry: this one is in the log now, or was already."""
        if isinstance(result, Failure):
            raise ReplicationError(
                f"cannot append an entry to the log: {result.reason};"
                " start etcd with --max-request-bytes 1572864 or more"
            )
        self._resolve()

    # Entries that come back

    def delivered(self, seq: int) -> list[Batch[ClientT]]:
        """Return the batches of entry ``seq``, which is the next of this node in the log; none if they are given up."""
        entry = self._undelivered.popleft()
        if entry.seq != seq:
            raise ReplicationError(f"cannot follow the log in etcd: expected own entry {entry.seq}, got {seq}")
        self._resolve_if_delivered()
        return entry.batches

    def skipped(self, seq: int) -> list[Batch[ClientT]]:
        """Return the batches of the entries up to ``seq``: they are in a snapshot, and their answers are unknown."""
        batches: list[Batch[ClientT]] = []
        while self._undelivered and self._undelivered[0].seq <= seq:
            batches += self._undelivered.popleft().batches
        self._resolve_if_delivered()
        return batches

    def _resolve_if_delivered(self) -> None:
        """Go on with the next entry if the one on its way has come back before its result."""
        if self._call is not None and not self._undelivered:
            self._calls.cancel(self._call)
            self._resolve()

    def _resolve(self) -> None:
        self._call = None
        self._appended(self._clock() - self._sent_at)
        self.advance()

    def expired(self, now: float) -> Iterator[Batch[ClientT]]:
        """Yield the batches whose deadline has passed, and give them up.

        Those not sent yet are never appended. An entry that was sent may be in the log, and so must stay the next.
        """
        while self._queue and self._queue[0].deadline <= now:
            yield self._queue.popleft()
        for entry in self._undelivered:
            if entry.deadline <= now:
                yield from entry.batches
                entry.batches = []
