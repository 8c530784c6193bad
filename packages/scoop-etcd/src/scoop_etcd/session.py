"""The index in etcd as the commands use it: one request after the other, and the whole index at one revision."""

import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, dropwhile, takewhile
from typing import Final, TypeVar

from scoop_core import LoggedBatch, Seal

from scoop_etcd.client.api import (
    ErrorCode,
    EtcdClient,
    EtcdRequest,
    Failure,
    KeyValue,
    Range,
    RangeResult,
    Ticket,
    Txn,
    TxnResult,
)
from scoop_etcd.client.calls import Calls
from scoop_etcd.connection import connect
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.formats.records import Config, NodeRecord
from scoop_etcd.options import EtcdSettings
from scoop_etcd.replication.compaction import apply_entry
from scoop_etcd.replication.entry_feed import EntryFeed
from scoop_etcd.replication.entry_reader import EntryReader, Reading
from scoop_etcd.replication.replica import Replica
from scoop_etcd.replication.trail import apply_logged
from scoop_server.history import BEGINNING, END, HistoryGoneError, Moment

_TICK_SECONDS: Final = 0.05

_SILENT_SECONDS_MAX: Final = 10.0
"""The time-out of a command that gets no response from etcd."""

_HOPELESS: Final = {
    *(ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED, ErrorCode.INVALID, ErrorCode.NO_SPACE),
    ErrorCode.TOO_LARGE,
}
"""Failures that a retry cannot resolve."""

ResultT = TypeVar("ResultT", RangeResult, TxnResult)


@dataclass(frozen=True, slots=True)
class EtcdIndex:
    """The index at one revision of etcd."""

    revision: int
    replica: Replica
    entries: Sequence[KeyValue]
    """The entries after the snapshot; the replica holds them."""
    snapshot_revision: int
    """0 without a snapshot."""
    digests: Mapping[int, int]
    """The digest at the revision of the snapshot, and at that of each entry after it."""


class _AtRevision:
    """A client whose reads all see etcd at one revision. It writes nothing."""

    def __init__(self, client: EtcdClient, revision: int) -> None:
        self._client = client
        self._revision = revision
        self.cancel, self.poll, self.wake = client.cancel, client.poll, client.wake
        self.fileno, self.close = client.fileno, client.close

    def submit(self, request: EtcdRequest, /) -> Ticket:
        """Start a read."""
        if not isinstance(request, Range):
            raise TypeError(f"expected a read, got {request}")
        return self._client.submit(replace(request, revision=self._revision))


class EtcdSession:
    """Requests of a command. All methods raise ReplicationError if etcd fails, or does not answer."""

    def __init__(self, client: EtcdClient, etcd: EtcdSettings) -> None:
        self._client = client
        self.keys = Keys(etcd.prefix)
        self.name = etcd.place
        self.warn: Callable[[str], object] = lambda line: print(line, file=sys.stderr)
        """Called with a line for the operator."""

    @classmethod
    @contextmanager
    def open(cls, etcd: EtcdSettings) -> "Iterator[EtcdSession]":
        """Connect, and disconnect at the end. Raises ConfigurationError."""
        with closing(connect(etcd, os.environ)) as client:
            yield cls(client, etcd)

    def range(self, request: Range) -> RangeResult:
        """Read a range."""
        calls, results = Calls(self._client, time.monotonic), list[RangeResult | Failure]()
        calls.range(request, results.append)
        return self._result(calls, results, request.revision)

    def txn(self, request: Txn) -> TxnResult:
        """Execute a transaction, which must be harmless if it takes effect twice."""
        calls, results = Calls(self._client, time.monotonic), list[TxnResult | Failure]()
        calls.txn(request, results.append)
        return self._result(calls, results)

    def _result(self, calls: Calls, results: Sequence[ResultT | Failure], revision: int = 0) -> ResultT:
        self._wait(calls, results, revision)
        [result] = results
        if isinstance(result, Failure):
            raise ReplicationError(f"cannot use {self.name}: {result.reason}")
        return result

    def _wait(self, calls: Calls, results: Sequence[object], revision: int = 0) -> None:
        """Wait until there is a result; of ``revision``, if that is not 0."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._client.fileno(), selectors.EVENT_READ)
            while not results:
                selector.select(_TICK_SECONDS)
                calls.poll()
                calls.tick()
                failure = calls.last_failure
                if failure is None:
                    continue
                is_silent = time.monotonic() - calls.last_answer > _SILENT_SECONDS_MAX
                if is_silent or failure.code in _HOPELESS:
                    reason = failure.reason
                    if failure.code in {ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED}:
                        reason += "; check the user, its role and the prefix"
                    elif "; check " not in reason:
                        reason += "; check the state of etcd"
                    raise ReplicationError(f"cannot use {self.name}: {reason}")
                if revision and failure.code is ErrorCode.COMPACTED:
                    raise ReplicationError(
                        f"cannot read {self.name} at revision {revision}: {failure.reason}; choose a later revision"
                    )

    def read_nodes(self) -> dict[str, NodeRecord]:
        """Return the records of the nodes that run."""
        return self.decode_nodes(self.range(Range(*self.keys.nodes)))

    def decode_nodes(self, found: RangeResult) -> dict[str, NodeRecord]:
        """Return the records of a read of the nodes."""
        return {(node := self.keys.node_of(kv.key)): NodeRecord.decode(node, kv.value) for kv in found.kvs}

    def no_index(self, revision: int = 0) -> ReplicationError:
        """Return the error for a prefix without an index, or without one at ``revision``."""
        at, also = (f" at revision {revision}", " and --revision") if revision else ("", "")
        return ReplicationError(f"cannot read {self.name}: it holds no index{at}; check --etcd-prefix{also}")

    def _read_config(self, revision: int = 0) -> KeyValue:
        found = self.range(Range(self.keys.config, revision=revision)).kvs
        if not found:
            raise self.no_index(revision)
        return found[0]

    def load(self, revision: int = 0, at: Moment | None = None) -> EtcdIndex:
        """Return the index as it was at a revision of etcd, by default the current one, or ``at`` a moment.

        A moment needs the entries up to it, but no old revision of etcd; a batch of it is the revision of an entry.
        """
        config = Config.decode(self._read_config(revision).value)
        client = _AtRevision(self._client, revision) if revision else self._client
        calls, readings = Calls(client, time.monotonic), list[Reading]()
        EntryReader(calls, self.keys, readings.append, config).start(None)
        self._wait(calls, readings, revision)
        [reading] = readings
        replica = reading.snapshot
        assert replica is not None  # noqa: S101  # everything was read
        snapshot_revision = replica.revision
        digests = {snapshot_revision: replica.digest}
        last = reading.revision
        if at is not None and at != END:
            reading.entries, last = self._up_to(at, reading, snapshot_revision)
        for kv in reading.entries:
            apply_entry(replica, self.keys, kv)
            digests[kv.mod_revision] = replica.digest
        return EtcdIndex(revision or last, replica, reading.entries, snapshot_revision, digests)

    def _up_to(self, at: Moment, reading: Reading, snapshot_revision: int) -> tuple[list[KeyValue], int]:
        """Return the entries up to a moment, and the revision of the last. Raises ReplicationError."""
        seals = [Seal(kv.mod_revision, 0, self._time_of(kv)) for kv in reading.entries]
        found = list(takewhile(at.includes, seals))
        last = found[-1].number if found else snapshot_revision
        if at.batch is not None and at.batch > reading.revision:
            raise ReplicationError(
                f"cannot rebuild the index at {at}: the last revision of {self.name} is {reading.revision}; name that"
            )
        # Without an entry before it, a time may be before the snapshot, which has no time.
        if snapshot_revision and (not found if at.batch is None else at.batch < snapshot_revision):
            raise ReplicationError(
                f"cannot rebuild the index at {at}: that is before the oldest state of {self.name}, at revision "
                f"{snapshot_revision}; name a later one, or an older revision with --revision"
            )
        return reading.entries[: len(found)], last

    def _time_of(self, kv: KeyValue) -> int:
        return decode_entry(*self.keys.parse_entry(kv.key), kv.value).time_ms

    # The trail

    def batches(
        self, since: Moment = BEGINNING, until: Moment = END, wait: Callable[[], None] | None = None
    ) -> Iterator[LoggedBatch]:
        """Yield the changes of each entry in the entry log, oldest first; a batch has the number of its revision.

        Those from ``since`` to ``until``; with ``wait``, which is called when there is no further entry, also new ones,
        without end. It warns if older changes are only in a snapshot.
        Raises HistoryGoneError if changes that were asked for are only in a snapshot.
        """
        found = self._read_config()
        config = Config.decode(found.value)
        calls, replaced, read = Calls(self._client, time.monotonic), list[Replica](), list[Sequence[KeyValue]]()
        feed = EntryFeed(calls, self.keys, time.monotonic, replaced.append, read.append, config)
        feed.position = 0  # so it begins with a snapshot only if older entries have been deleted
        feed.start()
        self._wait(calls, read)
        replica = replaced.pop() if replaced else Replica.empty(config)
        if since.batch is not None and since.batch < replica.revision:
            raise self._gone(f"begins after batch {replica.revision}; name a later one")
        if since.batch is not None and since.batch > feed.position:
            raise self._gone(f"ends before batch {since.batch}; name an earlier one")
        if replica.revision and since.batch is None and since != END:  # an empty trail would hide what is missing
            self.warn(f"the history of {self.name} begins after batch {replica.revision}")
        kept = dropwhile(lambda batch: since.is_after(batch.seal), self._apply_logged(replica, read))
        yield from takewhile(lambda batch: until.includes(batch.seal), kept)
        while wait is not None:
            wait()
            self._advance(calls, feed, found.create_revision)
            if replaced:
                raise self._gone(f"has a gap after batch {replica.revision}; begin again")
            yield from self._apply_logged(replica, read)

    def _apply_logged(self, replica: Replica, read: list[Sequence[KeyValue]]) -> Iterator[LoggedBatch]:
        """Yield the changes of the entries that have been ``read``, which is emptied."""
        entries = [*chain.from_iterable(read)]
        read.clear()
        for kv in entries:
            batch = apply_logged(replica, self.keys, kv)
            if batch.lines:
                yield batch

    def _advance(self, calls: Calls, feed: EntryFeed, created: int) -> None:
        """Read the head of the log of the index that was ``created`` at a revision; it shows if the watch is stuck."""
        results = list[TxnResult | Failure]()
        calls.txn(Txn((), (Range(self.keys.head), Range(self.keys.config))), results.append)
        head, config = self._result(calls, results).ranges
        if [kv.create_revision for kv in config.kvs] != [created]:
            raise ReplicationError(f"cannot follow {self.name}: it was deleted or replaced; begin again")
        for kv in head.kvs:
            feed.expect(kv.mod_revision)
        feed.tick()

    def _gone(self, reason: str) -> HistoryGoneError:
        return HistoryGoneError(f"the history of {self.name} {reason}")


def read_trail(etcd: EtcdSettings) -> Iterator[LoggedBatch]:
    """Yield the changes of each entry in the entry log, oldest first. Raises ReplicationError or ConfigurationError."""
    with EtcdSession.open(etcd) as session:
        session.warn = lambda _: None  # the first batch tells where it begins
        yield from session.batches()
