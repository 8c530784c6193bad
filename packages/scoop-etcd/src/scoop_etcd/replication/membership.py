"""Membership: the lease and the record of this node, the records of the others, and who writes snapshots."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from scoop_etcd.client.api import (
    ErrorCode,
    Failure,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Put,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    is_missing,
)
from scoop_etcd.client.calls import Calls
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import NodeRecord
from scoop_server.telemetry.logs import log

LEASE_SECONDS: Final = 10
"""The life of a node's lease after its last renewal. A node that died is listed, and keeps the role of the
compactor, for this long; a change of etcd's leader and a stall of a disk are shorter."""

SURVEY_SECONDS: Final = 1.0
"""The interval of surveys: one read each. It bounds how long a watch without progress goes unnoticed."""

PUBLISH_SECONDS: Final = 5.0
"""The interval at which a node that applies entries writes its record: rare, because each is a revision in etcd."""


@dataclass(frozen=True, slots=True)
class NodesSurvey:
    """The result of one read of etcd, without the entry log."""

    revision: int
    """That of etcd at the read."""
    config: KeyValue | None
    head: KeyValue | None
    pointer: KeyValue | None
    compactor: KeyValue | None
    nodes: dict[str, NodeRecord] = field(default_factory=dict)


@dataclass(slots=True)
class _Step:
    """A request that is made at intervals, and not again before its result has come."""

    due: float = 0.0
    is_under_way: bool = False

    def begins(self, now: float) -> bool:
        """Return whether it is due; then it is under way."""
        if self.is_under_way or now < self.due:
            return False
        self.is_under_way = True
        return True


class Membership:
    """Keeps the lease and the record of ``node``, and reads those of the others; ``describe`` makes the record."""

    def __init__(
        self,
        calls: Calls,
        keys: Keys,
        node: str,
        clock: Callable[[], float],
        describe: Callable[[], NodeRecord],
        surveyed: Callable[[NodesSurvey], None],
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._node = node
        self._clock = clock
        self._describe = describe
        self._surveyed = surveyed
        self._lease = 0
        self._published = -1
        """The revision in the record that was last written."""
        self._survey, self._renewal, self._publication, self._application = (_Step() for _ in range(4))
        """The survey; the grant and the renewals of the lease; the record; the application for the compactor's role."""
        self.fence: int | None = None
        """The create revision of the key ``compactor`` while this node holds it. All that a compactor writes has the
        condition that it is still the same."""

    def tick(self) -> None:
        """Take the steps that are due."""
        now = self._clock()
        if self._survey.begins(now):
            self._survey.due = now + SURVEY_SECONDS
            keys = self._keys
            reads = (Range(keys.config), Range(keys.head), Range(keys.pointer), Range(keys.compactor))
            self._calls.txn(Txn((), (*reads, Range(*keys.nodes))), self._take_survey)
        if self._renewal.begins(now):
            self._renewal.due = now + LEASE_SECONDS / 3
            request = LeaseKeepAlive(self._lease) if self._lease else LeaseGrant(LEASE_SECONDS)
            self._calls.lease(request, self._take_lease)
        if self._lease and self._publication.begins(now):
            self._publish(now)

    def _take_lease(self, result: LeaseResult | Failure) -> None:
        self._renewal.is_under_way = False
        if isinstance(result, Failure):
            self._lose_lease()
        elif result.lease != self._lease:
            self._lease = result.lease
            self._renewal.due = self._clock() + LEASE_SECONDS / 3
            self._publication.due = self._clock()
            self._published = -1

    def _lose_lease(self) -> None:
        """Ask for another lease with the next tick, and give up the role that depends on it."""
        self._lease = 0
        self._renewal.due = 0.0
        self.fence = None

    def _publish(self, now: float) -> None:
        record = self._describe()
        if record.revision:  # a node that loads is described again when it has loaded
            self._publication.due = now + PUBLISH_SECONDS
        if record.revision == self._published:
            self._publication.is_under_way = False
            return
        self._published = record.revision
        put = Put(self._keys.node(self._node), record.encode(), self._lease)
        self._calls.txn(Txn((), (put,)), self._take_record, {ErrorCode.LEASE_NOT_FOUND})

    def _take_record(self, result: TxnResult | Failure) -> None:
        self._publication.is_under_way = False
        if isinstance(result, Failure):
            self._lose_lease()

    # The survey

    def _take_survey(self, result: TxnResult | Failure) -> None:
        assert isinstance(result, TxnResult)  # noqa: S101  # no failure of this call is final
        self._survey.is_under_way = False
        *singles, nodes = result.ranges
        config, head, pointer, compactor = map(_first, singles)
        records = dict(self._read_records(nodes.kvs))
        survey = NodesSurvey(result.revision, config, head, pointer, compactor, records)
        self._update_role(survey)
        self._surveyed(survey)

    def _read_records(self, kvs: tuple[KeyValue, ...]) -> list[tuple[str, NodeRecord]]:
        records: list[tuple[str, NodeRecord]] = []
        for kv in kvs:
            node = self._keys.node_of(kv.key)
            try:
                records.append((node, NodeRecord.decode(node, kv.value)))
            except ReplicationError as error:  # of another version, during an upgrade: it only informs
                log.debug("ignored a node: %(reason)s", {"reason": error})
        return records

    def _update_role(self, survey: NodesSurvey) -> None:
        """Learn which node is the compactor, and apply for the role if there is no such node."""
        compactor = survey.compactor
        if compactor is None:
            self.fence = None
            if self._lease and self._application.begins(self._clock()):
                condition = is_missing(self._keys.compactor)
                put = Put(self._keys.compactor, self._node.encode(), self._lease)
                self._calls.txn(Txn((condition,), (put,)), self._take_role, {ErrorCode.LEASE_NOT_FOUND})
            return
        is_own = compactor.value == self._node.encode() and compactor.lease == self._lease
        self.fence = compactor.create_revision if is_own and self._lease else None

    def _take_role(self, result: TxnResult | Failure) -> None:
        """Leave the response to the next survey, which also knows the revision."""
        self._application.is_under_way = False
        if isinstance(result, Failure):
            self._lose_lease()


def _first(result: RangeResult) -> KeyValue | None:
    return result.kvs[0] if result.kvs else None
