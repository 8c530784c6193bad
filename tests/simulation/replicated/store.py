"""The simulated data of etcd: keys with all their revisions, as its documentation describes them. No faults."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Final

from scoop_etcd.client.api import (
    Compare,
    Delete,
    ErrorCode,
    Failure,
    KeyValue,
    Put,
    Range,
    RangeResult,
    Target,
    Txn,
    TxnResult,
)

FIRST_REVISION: Final = 1
"""The revision of an empty store."""


class Store:
    """The data on which all members agree. ``on_put`` is called with each key that is put, when it takes effect."""

    def __init__(self, on_put: Callable[[KeyValue], None]) -> None:
        self._on_put = on_put
        self.revision = FIRST_REVISION
        self.compacted = 0
        self.puts: list[KeyValue] = []
        """All keys that were put, in the order of their revisions."""
        self._put_revisions: list[int] = []
        self._sorted_keys: list[bytes] = []
        self._versions: dict[bytes, list[tuple[int, KeyValue | None]]] = {}
        """Each key with its values, and None where it was deleted, by revision."""

    def get(self, key: bytes, revision: int | None = None) -> KeyValue | None:
        versions = self._versions.get(key, [])
        if revision is None:
            return versions[-1][1] if versions else None
        place = bisect_right(versions, revision, key=lambda version: version[0])
        return versions[place - 1][1] if place else None

    def _keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        if not range_end:
            return [key]
        keys = self._sorted_keys
        return keys[bisect_left(keys, key) : bisect_left(keys, range_end)]

    def range(self, request: Range, page: int = 0) -> RangeResult | Failure:
        """Read; with ``page``, at most that many keys if the request has a limit."""
        revision = request.revision or self.revision
        if revision < self.compacted:
            return Failure(ErrorCode.COMPACTED, "required revision has been compacted")
        found = [self.get(key, revision) for key in self._keys(request.key, request.range_end)]
        kvs = tuple(kv for kv in found if kv is not None)
        limit = min(request.limit, page or request.limit) or len(kvs)
        return RangeResult(self.revision, kvs[:limit], more=len(kvs) > limit)

    def txn(self, request: Txn) -> TxnResult:
        succeeded = all(map(self._holds, request.compare))
        revision = self.revision + 1
        changed: list[KeyValue] = []
        ranges: list[RangeResult] = []
        for operation in request.success if succeeded else request.failure:
            match operation:
                case Put(key, value, lease):
                    changed.append(self._put(key, value, lease, revision))
                    self.revision = revision
                case Delete(key, range_end):
                    if self._delete(key, range_end, revision):
                        self.revision = revision
                case Range():
                    result = self.range(operation)
                    assert isinstance(result, RangeResult)
                    ranges.append(result)
        for kv in changed:
            self._on_put(kv)
        return TxnResult(self.revision, succeeded, tuple(ranges))

    def _holds(self, compare: Compare) -> bool:
        kv = self.get(compare.key)
        if kv is None:
            return compare.expected == 0
        match compare.target:
            case Target.CREATE_REVISION:
                return kv.create_revision == compare.expected
            case Target.MOD_REVISION:
                return kv.mod_revision == compare.expected

    def _put(self, key: bytes, value: bytes, lease: int, revision: int) -> KeyValue:
        old = self.get(key)
        if key not in self._versions:
            self._versions[key] = []
            insort(self._sorted_keys, key)
        kv = KeyValue(key, value, old.create_revision if old else revision, revision, lease)
        self._versions[key].append((revision, kv))
        self.puts.append(kv)
        self._put_revisions.append(revision)
        return kv

    def _delete(self, key: bytes, range_end: bytes, revision: int) -> bool:
        present = [each for each in self._keys(key, range_end) if self.get(each) is not None]
        for each in present:
            self._versions[each].append((revision, None))
        return bool(present)

    def delete_lease(self, lease: int) -> None:
        held = [key for key in self._sorted_keys if (kv := self.get(key)) is not None and kv.lease == lease]
        if held:
            self.txn(Txn((), tuple(map(Delete, held))))

    def puts_between(self, first: int, last: int) -> Iterator[KeyValue]:
        """Yield the keys that were put from revision ``first`` to ``last``."""
        place = bisect_left(self._put_revisions, first)
        while place < len(self.puts) and self.puts[place].mod_revision <= last:
            yield self.puts[place]
            place += 1
