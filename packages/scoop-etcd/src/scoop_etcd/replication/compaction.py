"""Compaction of the entry log: the last snapshot and the entries after it become the next, and old entries are deleted.

A function of what is in etcd: it runs over a client of its own, in a process of its own, and needs nothing of the node
that started it except the right to write. If it dies at any moment, or runs twice, everything is as it was.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Final
from zlib import crc32

from scoop_etcd.client.api import (
    Compare,
    Delete,
    ErrorCode,
    EtcdClient,
    Failure,
    KeyValue,
    Operation,
    Put,
    Range,
    Target,
    Txn,
    TxnResult,
)
from scoop_etcd.client.calls import Calls, too_large
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.formats.records import CHUNK_BYTES_MAX, Config, Pointer, decode_chunk
from scoop_etcd.replication.entry_reader import EntryReader, Reading
from scoop_etcd.replication.replica import Replica

_DELETIONS_MAX: Final = 100
"""Deletions in one transaction: etcd's default limit is 128 operations."""


class Outcome(enum.Enum):
    """The ends of a compaction."""

    DONE = "done"
    """There is a new snapshot, or no entry after the last one."""
    SUPERSEDED = "superseded"
    """Another node has become the compactor, or has put a newer pointer."""


class Compaction:
    """Reads, evaluates and writes, step by step; ``fence`` is the create revision of the key ``compactor``.

    Every transaction has the condition that the key has not been created anew, so a compaction that was paused
    while another node became the compactor changes nothing.
    """

    def __init__(
        self,
        client: EtcdClient,
        clock: Callable[[], float],
        keys: Keys,
        fence: int,
        config: Config,
        *,
        chunk_bytes_max: int = CHUNK_BYTES_MAX,
    ) -> None:
        self._calls = Calls(client, clock)
        self._keys = keys
        self._fence = Compare(keys.compactor, Target.CREATE_REVISION, fence)
        self._chunk_bytes_max = chunk_bytes_max
        self._previous: KeyValue | None = None
        """The pointer that this compaction replaces."""
        self._new: Pointer | None = None
        self._transactions: Iterator[Txn] = iter(())
        self.outcome: Outcome | None = None
        """None while it runs."""
        EntryReader(self._calls, keys, self._take_reading, config).start(None)

    def advance(self) -> None:
        """Process the results that have arrived, and repeat what has failed. Raises ReplicationError."""
        self._calls.poll()
        self._calls.tick()

    def _take_reading(self, reading: Reading) -> None:
        replica = reading.snapshot
        assert replica is not None  # noqa: S101  # everything was read
        if not reading.entries:
            self.outcome = Outcome.DONE
            return
        covered = {node: replica.sequences[node] for node in reading.covered_nodes}
        self._previous = reading.pointer
        for kv in reading.entries:
            apply_entry(replica, self._keys, kv)
        self._transactions = self._plan(replica, covered)
        self._next()

    def _plan(self, replica: Replica, covered: dict[str, int]) -> Iterator[Txn]:
        """Yield the transactions in the order in which they must take effect: each is sent when the one before has.

        The pointer follows the chunks, and deletions follow the pointer that names them. The entries that the
        snapshot before this one holds are deleted, those after it are kept: a node that is a little behind need not
        load a snapshot.
        """
        chunks = size = checksum = 0
        for value in replica.snapshot(self._chunk_bytes_max):
            data = decode_chunk(chunks, value)
            size, checksum = size + len(data), crc32(data, checksum)
            yield self._guarded(Put(self._keys.chunk(replica.revision, chunks), value))
            chunks += 1
        previous = Pointer.decode(self._previous.value) if self._previous else None
        truncated = previous.revision if previous else 0
        self._new = Pointer(replica.revision, chunks, size, checksum, replica.digest, truncated, replica.sequences)
        yield self._put_pointer(self._new)
        if previous:
            deletions = [Delete(*self._keys.entries_up_to(node, seq)) for node, seq in covered.items()]
            deletions += [Delete(*keys) for keys in self._keys.other_chunks(previous.revision, replica.revision)]
            for start in range(0, len(deletions), _DELETIONS_MAX):
                yield self._guarded(*deletions[start : start + _DELETIONS_MAX])

    def _guarded(self, *operations: Operation) -> Txn:
        return Txn((self._fence,), operations)

    def _put_pointer(self, pointer: Pointer) -> Txn:
        """Return the transaction that puts the pointer, unless it has been replaced; then it reads it."""
        replaced = self._previous.mod_revision if self._previous else 0
        unchanged = Compare(self._keys.pointer, Target.MOD_REVISION, replaced)
        return Txn((self._fence, unchanged), (Put(self._keys.pointer, pointer.encode()),), (Range(self._keys.pointer),))

    def _next(self) -> None:
        transaction = next(self._transactions, None)
        if transaction is None:
            self.outcome = Outcome.DONE
        else:
            self._calls.txn(transaction, self._take, {ErrorCode.TOO_LARGE})

    def _take(self, result: TxnResult | Failure) -> None:
        if isinstance(result, Failure):
            raise too_large("write a snapshot", result)
        if result.succeeded or self._is_own_pointer(result):
            self._next()
        else:
            self.outcome = Outcome.SUPERSEDED

    def _is_own_pointer(self, result: TxnResult) -> bool:
        """Return whether the pointer was put by an earlier attempt, whose result was lost."""
        if self._new is None or not result.ranges:
            return False
        return any(kv.value == self._new.encode() for kv in result.ranges[0].kvs)


def apply_entry(replica: Replica, keys: Keys, kv: KeyValue) -> None:
    """Apply an entry of the entry log whose responses nobody needs; ignore a late duplicate."""
    node, seq = keys.parse_entry(kv.key)
    if replica.is_next(node, seq):
        replica.apply(node, seq, kv.mod_revision, [decode_entry(node, seq, kv.value).lines])
    else:
        replica.revision = kv.mod_revision
