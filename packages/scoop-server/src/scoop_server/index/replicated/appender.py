"""Appending to the log: a few entries under way, and the lines of the turns that pass meanwhile in the next."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from scoop_server.errors import ReplicationError
from scoop_server.etcd.api import Compare, ErrorCode, Failure, Put, Range, Target, Txn, TxnResult
from scoop_server.etcd.calls import Call, Calls
from scoop_server.etcd.log import ENTRY_BYTES_MAX, Keys, encode_entry

ClientT = TypeVar("ClientT")

UNDER_WAY_MAX: Final = 2
"""Entries without a result. While etcd syncs one, it receives the next."""


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
    lines: str
    batches: list[Batch[ClientT]]
    """Empty once the clients have been disconnected."""
    deadline: float
    sent_at: float
    call: Call | None = None
    """The transaction under way."""


class Appender(Generic[ClientT]):
    """Appends the batches of node ``node`` to the log.

    A transaction has the condition that its entry does not exist, so it may be sent any number of times. etcd may
    reorder transactions under way, so an entry that is sent before the one before it is known to be in the log has
    the condition that this is there. If it was not, the entry is sent again when it is.
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
        """The entries that have been sent and not come back, oldest first."""
        self._under_way: deque[Entry[ClientT]] = deque()
        """The last of them, which are not known to be in the log."""
        self._last_seq = 0
        self._is_started = False
        self.pending: int = 0
        """The number of batches without a reply. May be read in any thread."""

    @property
    def _oldest(self) -> Entry[ClientT] | None:
        """The first entry that is not known to be in the log. May be read in any thread."""
        try:
            return self._under_way[0]
        except IndexError:
            return None

    @property
    def waiting_seconds(self) -> float:
        """The time for which the oldest entry under way has been without a result."""
        entry = self._oldest
        return self._clock() - entry.sent_at if entry is not None else 0.0

    @property
    def failure(self) -> Failure | None:
        """The last failure of the oldest entry under way."""
        entry = self._oldest
        call = entry.call if entry is not None else None
        return call.failure if call is not None else None

    def start(self) -> None:
        """Begin to send; until then batches only wait."""
        self._is_started = True
        self.advance()

    def add(self, batch: Batch[ClientT]) -> None:
        """Queue a batch for the next entry."""
        self._queue.append(batch)
        self.pending += 1

    def advance(self) -> None:
        """Send the queued batches in entries, as many as may be under way."""
        while self._queue and self._is_started and len(self._under_way) < UNDER_WAY_MAX:
            batches = [self._queue.popleft()]
            size = len(batches[0].logged)
            while self._queue and size + len(self._queue[0].logged) <= ENTRY_BYTES_MAX:
                batches.append(self._queue.popleft())
                size += len(batches[-1].logged)
            self._last_seq += 1
            lines = "".join([batch.logged for batch in batches])
            entry = Entry(self._last_seq, lines, batches, batches[0].deadline, self._clock())
            self._undelivered.append(entry)
            self._under_way.append(entry)
            self._send(entry)

    def _send(self, entry: Entry[ClientT]) -> None:
        is_first = entry is self._under_way[0]
        transaction = self._transaction(entry.seq, entry.lines, is_first=is_first)
        entry.call = self._calls.txn(transaction, partial(self._take, entry, was_first=is_first), {ErrorCode.TOO_LARGE})

    def _transaction(self, seq: int, lines: str, *, is_first: bool) -> Txn:
        key = self._keys.entry(self._node, seq)
        conditions = [Compare(key, Target.VERSION, 0)]
        if not is_first:
            conditions.append(Compare(self._keys.entry(self._node, seq - 1), Target.VERSION, 1))
        return Txn(
            tuple(conditions),
            (
                Put(key, encode_entry(self._node, seq, lines)),
                Put(self._keys.head, b"%s/%d" % (self._node.encode(), seq)),
            ),
            () if is_first else (Range(key, keys_only=True),),
        )

    def _take(self, entry: Entry[ClientT], result: TxnResult | Failure, *, was_first: bool) -> None:
        """Go on with the next entry if this one is in the log now, or was already."""
        entry.call = None
        if isinstance(result, Failure):
            raise ReplicationError(
                f"cannot append an entry to the log: {result.reason};"
                " start etcd with --max-request-bytes 1572864 or more"
            )
        if result.succeeded or was_first or result.ranges[0].kvs:
            self._resolve_up_to(entry.seq)
        elif entry is self._under_way[0]:
            self._send(entry)

    # Entries that come back

    def delivered(self, seq: int) -> list[Batch[ClientT]]:
        """Return the batches of entry ``seq``, which is the next of this node in the log; none if they are given up."""
        entry = self._undelivered.popleft()
        if entry.seq != seq:
            raise ReplicationError(f"cannot follow the log in etcd: expected own entry {entry.seq}, got {seq}")
        self._resolve_up_to(seq)
        self.pending -= len(entry.batches)
        return entry.batches

    def skipped(self, seq: int) -> list[Batch[ClientT]]:
        """Return the batches of the entries up to ``seq``: they are in a snapshot, and their answers are unknown."""
        batches: list[Batch[ClientT]] = []
        while self._undelivered and self._undelivered[0].seq <= seq:
            batches += self._undelivered.popleft().batches
        self._resolve_up_to(seq)
        self.pending -= len(batches)
        return batches

    def _resolve_up_to(self, seq: int) -> None:
        """Go on: the entries up to ``seq`` are in the log. The results of those before the last may still arrive."""
        now = self._clock()
        has_room = False
        while self._under_way and self._under_way[0].seq <= seq:
            entry = self._under_way.popleft()
            has_room = True
            if entry.call is not None:
                self._calls.cancel(entry.call)
                entry.call = None
            self._appended(now - entry.sent_at)
        if has_room:
            if self._under_way and self._under_way[0].call is None:  # it was refused before the one before was there
                self._send(self._under_way[0])
            self.advance()

    def expired(self, now: float) -> Iterator[Batch[ClientT]]:
        """Yield the batches whose deadline has passed, and give them up.

        Those not sent yet are never appended. An entry that was sent may be in the log, and so must stay the next.
        """
        while self._queue and self._queue[0].deadline <= now:
            self.pending -= 1
            yield self._queue.popleft()
        for entry in self._undelivered:
            if entry.deadline <= now:
                self.pending -= len(entry.batches)
                yield from entry.batches
                entry.batches = []
