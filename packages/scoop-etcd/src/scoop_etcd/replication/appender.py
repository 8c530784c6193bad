"""Appending to the entry log: one entry under way, and the lines of the turns that pass meanwhile in the next."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic

from scoop_etcd.client.api import ErrorCode, Failure, Put, Txn, TxnResult, is_missing
from scoop_etcd.client.calls import Call, Calls, too_large
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import ENTRY_BYTES_MAX, Keys, encode_entry
from scoop_etcd.replication.gathering import Gathering
from scoop_server.ports import ClientT, Request

PAUSE_PER_VISIT: Final = 1.5e-6
"""Seconds for which a node appends nothing after each package or dependency that its last entry has made all nodes
visit: a multiple of the time that a visit takes, so that slower nodes, and several on a machine, can follow."""

PAUSE_SECONDS_MIN: Final = 0.001
"""Shorter pauses are not made."""


@dataclass(slots=True, eq=False)
class LoggedRequests(Generic[ClientT]):
    """Requests of one turn that are logged together."""

    requests: Sequence[Request[ClientT]]
    logged: str
    """Those of their lines that the entry holds."""
    deadline: float


@dataclass(slots=True, eq=False)
class Entry(Generic[ClientT]):
    """An entry of this node that has been sent to etcd."""

    seq: int
    requests: Sequence[Request[ClientT]]
    """Empty once the clients have been disconnected."""
    deadline: float
    sent_at: float
    call: Call | None = None
    """The transaction; None when the entry is known to be in the entry log."""


class Appender(Generic[ClientT]):
    """Appends the batches of node ``node`` to the entry log.

    A transaction has the condition that its entry does not exist, so it may be sent any number of times. etcd may
    reorder transactions, so one entry is under way at a time, until the entry log delivers it.
    """

    identify: Callable[[ClientT], str] | None = None
    """Returns the identity of a client, to be stored with its lines."""

    def __init__(
        self,
        calls: Calls,
        keys: Keys,
        node: str,
        clock: Callable[[], float],
        appended: Callable[[float], None],
        expect: Callable[[int], None],
        wall_clock: Callable[[], int] = lambda: 0,
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._node = node
        self._clock = clock
        self._wall_clock = wall_clock
        self._time_ms = 0
        """The time of the last entry: those of a node never decrease."""
        self._appended = appended
        """Called with the seconds that an append took."""
        self._expect = expect
        """Called with the revision of an entry that was appended."""
        self._queue: deque[LoggedRequests[ClientT]] = deque()
        self._last: deque[LoggedRequests[ClientT]] = deque()
        """Those that may use up the limit of an entry, and so come at its end, one in each."""
        self._sent: Entry[ClientT] | None = None
        """The entry that has been sent and not come back."""
        self._last_seq = 0
        self._is_started = False
        self._is_pausing = False
        self.gathering: Final = Gathering(self.advance)
        self.pending: int = 0
        """The number of requests without a response. May be read in any thread."""

    @property
    def _call(self) -> Call | None:
        """The transaction that has no result. May be read in any thread."""
        entry = self._sent
        return entry.call if entry is not None else None

    @property
    def waiting_seconds(self) -> float:
        """The time for which the entry under way has been without a result."""
        entry = self._sent
        return self._clock() - entry.sent_at if entry is not None and entry.call is not None else 0.0

    @property
    def failure(self) -> Failure | None:
        """The last failure of the entry under way."""
        call = self._call
        return call.failure if call is not None else None

    def start(self) -> None:
        """Begin to send; until then batches only wait."""
        self._is_started = True
        self.advance()

    def add(self, batch: LoggedRequests[ClientT]) -> None:
        """Queue a batch for the next entry."""
        self._queue.append(batch)
        self.pending += len(batch.requests)

    def add_last(self, batch: LoggedRequests[ClientT]) -> None:
        """Queue a batch for the end of an entry."""
        self._last.append(batch)
        self.pending += len(batch.requests)

    def add_again(self, batches: Sequence[LoggedRequests[ClientT]]) -> None:
        """Queue batches that were in an entry, and were not applied, before all others."""
        self._queue.extendleft(reversed(batches))
        self.pending += sum(len(batch.requests) for batch in batches)

    def advance(self) -> None:
        """Send queued batches in an entry, unless one is under way or more clients are about to send."""
        # Group commit: what arrives while an entry is under way makes the next one. A second entry beside it could come
        # before it in the log, because etcd may reorder transactions, and then the first would count as missing.
        if self._sent is not None or self._is_pausing or not self._is_started or not (self._queue or self._last):
            return
        if not self.gathering.is_complete(self.pending):  # all pending requests are queued
            return
        batches: list[LoggedRequests[ClientT]] = []
        last = [self._last.popleft()] if self._last else []
        size = sum(len(batch.logged) for batch in last)
        while self._queue and (not batches or size + len(self._queue[0].logged) <= ENTRY_BYTES_MAX):
            batches.append(self._queue.popleft())
            size += len(batches[-1].logged)
        batches += last
        requests = [request for batch in batches for request in batch.requests]
        texts = [batch.logged for batch in batches]
        authors = list[tuple[int, str]]()
        count = 0
        for batch in batches if self.identify is not None else ():
            self._note_authors(batch.requests, count, authors)
            count += batch.logged.count("\n")
        self._last_seq += 1
        entry = self._sent = Entry(self._last_seq, requests, batches[0].deadline, self._clock())
        key = self._keys.entry(self._node, entry.seq)
        self._time_ms = max(self._time_ms, self._wall_clock())
        value = encode_entry(self._node, entry.seq, "".join(texts), self._time_ms, authors)
        transaction = Txn(
            (is_missing(key),),
            (
                Put(key, value),
                Put(self._keys.head, b"%s/%d" % (self._node.encode(), entry.seq)),
            ),
        )
        # A failure leaves the outcome unknown, so the same transaction is sent again until it has a result: by its
        # condition only one of the attempts takes effect. TOO_LARGE alone would fail each time.
        entry.call = self._calls.txn(transaction, partial(self._take, entry), {ErrorCode.TOO_LARGE})

    def _note_authors(self, requests: Sequence[Request[ClientT]], start: int, authors: list[tuple[int, str]]) -> None:
        """Add the identities of clients, whose first line has the index ``start`` in the entry."""
        if self.identify is None:
            return
        for client, lines in requests:
            if (name := self.identify(client)) != (authors[-1][1] if authors else ""):
                authors.append((start, name))
            start += lines.count("\n")  # all lines of several requests are logged

    def _take(self, entry: Entry[ClientT], result: TxnResult | Failure) -> None:
        """Note that the entry is in the entry log now, or was already."""
        if isinstance(result, Failure):
            raise too_large("append an entry to the entry log", result)
        entry.call = None
        self._appended(self._clock() - entry.sent_at)
        if result.succeeded:
            self._expect(result.revision)

    # Entries that come back

    def delivered(self, seq: int) -> Entry[ClientT]:
        """Return entry ``seq``, the next of this node in the entry log; without requests if they are given up."""
        entry = self._sent
        if entry is None or entry.seq != seq:
            expected = "none" if entry is None else entry.seq
            raise ReplicationError(f"cannot follow the entry log in etcd: expected own entry {expected}, got {seq}")
        return entry

    def finish(self, entry: Entry[ClientT], visits: int) -> None:
        """Send the next entry, after a pause if the searches of ``entry``, which has been applied, were long."""
        seconds, call_later = visits * PAUSE_PER_VISIT, self.gathering.call_later
        if seconds >= PAUSE_SECONDS_MIN and call_later is not None:
            self._is_pausing = True
            call_later(seconds, self._resume)
        self._end(entry)

    def _resume(self) -> None:
        self._is_pausing = False
        self.advance()

    def skipped(self, seq: int) -> Sequence[Request[ClientT]]:
        """Return the requests of the entries up to ``seq``: they are in a snapshot, and their responses are unknown."""
        entry = self._sent
        if entry is None or entry.seq > seq:
            return ()
        self._end(entry)
        return entry.requests

    def _end(self, entry: Entry[ClientT]) -> None:
        """Send the next entry after ``entry``, whose result may still arrive."""
        if entry.call is not None:  # the watch was faster than the response, which says nothing new now
            self._calls.cancel(entry.call)
            self._appended(self._clock() - entry.sent_at)
        self._sent = None
        self.gathering.begin(self.pending)
        self.pending -= len(entry.requests)
        self.advance()

    def expired(self, now: float) -> Iterator[Request[ClientT]]:
        """Yield the requests whose deadline has passed, and give them up.

        Those not sent yet are never appended. One that was sent may be in the entry log, and so must stay the next.
        """
        for queue in (self._queue, self._last):
            while queue and queue[0].deadline <= now:
                requests = queue.popleft().requests
                self.pending -= len(requests)
                yield from requests
        entry = self._sent
        if entry is not None and entry.deadline <= now:
            requests, entry.requests = entry.requests, ()
            self.pending -= len(requests)
            yield from requests
