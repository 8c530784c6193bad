"""Reading an index without a watch: the snapshot, if it is needed, and the entries after it at one revision."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from scoop_etcd.client.api import ErrorCode, Failure, KeyValue, Range, RangeResult
from scoop_etcd.client.calls import Calls
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config, Pointer, decode_chunk
from scoop_etcd.replication.replica import Replica

ENTRIES_PER_READ: Final = 64
"""Entries are mostly of 10 kB, and at most about 1 MB: a response stays below what etcd and gRPC handle well."""

CHUNKS_PER_READ: Final = 4

_ATTEMPTS_MAX: Final = 3
"""Attempts to read one snapshot. One may fail because the snapshot is replaced meanwhile; then the pointer changes."""


@dataclass(slots=True)
class Reading:
    """The content of etcd at one revision, from a position on."""

    snapshot: Replica | None
    """The snapshot that was loaded; None if the position was in reach of the entry log."""
    entries: list[KeyValue]
    """The entries after the snapshot, or the position, in the order of their revisions."""
    revision: int
    """All entries up to this revision are in the snapshot or among the entries."""
    pointer: KeyValue | None
    """The pointer at that revision; None before the first snapshot."""
    covered_nodes: set[str] = field(default_factory=set)
    """The nodes with entries in the entry log that the snapshot holds, or that are before the position."""


class EntryReader:
    """Reads what a replica at a position lacks.

    The entries are those of one revision, read page by page: all that are in the entry log at that revision, and the
    pointer at that revision shows whether any that the replica needs had been deleted. If so, or if there is no
    replica, the snapshot is loaded first.
    """

    def __init__(self, calls: Calls, keys: Keys, done: Callable[[Reading], None], config: Config) -> None:
        self._calls = calls
        self._keys = keys
        self._done = done
        self._config = config
        self._position: int | None = None
        self._snapshot: Replica | None = None
        self._pointer: Pointer | None = None
        self._chunks: list[bytes] = []
        self._attempts = 0
        self._reading = Reading(None, [], 0, None)

    def start(self, position: int | None) -> None:
        """Begin to read what a replica at ``position`` lacks; everything, if that is None."""
        self._position = position
        self._snapshot = None
        self._attempts = 0
        self._read_pointer()

    # The pointer

    def _read_pointer(self) -> None:
        self._calls.range(Range(self._keys.pointer), self._take_pointer)

    def _take_pointer(self, result: RangeResult | Failure) -> None:
        assert isinstance(result, RangeResult)  # noqa: S101  # no failure of this call is final
        found = result.kvs[0] if result.kvs else None
        pointer = Pointer.decode(found.value) if found else None
        if pointer is not None and (self._position is None or self._position < pointer.truncated):
            self._read_snapshot(pointer)
            return
        if self._position is None:
            self._position = 0
            self._snapshot = Replica.empty(self._config)
        self._reading = Reading(self._snapshot, [], result.revision, found)
        self._read_entries(self._keys.entries.key)

    # The snapshot. Its chunks never change, so they are read as they are now: no compaction of etcd interrupts that.

    def _read_snapshot(self, pointer: Pointer) -> None:
        if self._pointer is None or self._pointer.revision != pointer.revision:
            self._attempts = 0
        self._attempts += 1
        self._pointer = pointer
        self._chunks = []
        self._read_chunks()

    def _read_chunks(self) -> None:
        pointer, first = self._pointer, len(self._chunks)
        assert pointer is not None  # noqa: S101  # set by the only caller
        keys = self._keys.chunks(pointer.revision, first, min(first + CHUNKS_PER_READ, pointer.chunks))
        self._calls.range(Range(*keys), self._take_chunks)

    def _take_chunks(self, result: RangeResult | Failure) -> None:
        assert isinstance(result, RangeResult)  # noqa: S101  # no failure of this call is final
        pointer, before = self._pointer, len(self._chunks)
        assert pointer is not None  # noqa: S101  # as above
        for kv in result.kvs:
            if kv.key != self._keys.chunk(pointer.revision, len(self._chunks)):
                break
            self._chunks.append(decode_chunk(len(self._chunks), kv.value))
        if len(self._chunks) == pointer.chunks:
            self._load(pointer)
        elif len(self._chunks) > before:
            self._read_chunks()
        else:
            self._read_again(pointer, f"{len(self._chunks)} of {pointer.chunks} chunks are there")

    def _load(self, pointer: Pointer) -> None:
        data = b"".join(self._chunks)
        self._chunks = []
        if len(data) != pointer.size or crc32(data) != pointer.checksum:
            self._read_again(pointer, "its checksum does not match")
            return
        self._snapshot = Replica.load(pointer, data, self._config)
        self._position = pointer.revision
        self._read_pointer()  # the entries after it may have been deleted meanwhile

    def _read_again(self, pointer: Pointer, reason: str) -> None:
        """Start again: the snapshot has been replaced by a newer one, or it is damaged."""
        if self._attempts >= _ATTEMPTS_MAX:
            raise ReplicationError(
                f"cannot read the snapshot at revision {pointer.revision} in etcd: {reason}; restore a backup of etcd"
            )
        self._read_pointer()

    # The entries

    def _read_entries(self, first: bytes) -> None:
        request = Range(first, self._keys.entries.range_end, self._reading.revision, ENTRIES_PER_READ)
        self._calls.range(request, self._take_entries, {ErrorCode.COMPACTED})

    def _take_entries(self, result: RangeResult | Failure) -> None:
        if isinstance(result, Failure):  # compacted meanwhile
            self._read_pointer()
            return
        reading, position = self._reading, self._position
        assert position is not None  # noqa: S101  # set before the first page
        for kv in result.kvs:
            if kv.mod_revision > position:
                reading.entries.append(kv)
            else:
                reading.covered_nodes.add(self._keys.parse_entry(kv.key)[0])
        if result.more:
            self._read_entries(result.kvs[-1].key + b"\0")
            return
        reading.entries.sort(key=lambda kv: kv.mod_revision)
        self._done(reading)
