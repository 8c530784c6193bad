"""The index of several nodes: each applies the same entries of a log in etcd, the entry log, in the same order.

A change is appended to the entry log, and answered when its entry comes back, by the state that all entries before it
have made. So every node decides alike, and no response precedes its entry. A query is answered by the applied state,
after a barrier (linearizable) or immediately (local).

Nothing here does input or output: etcd is behind :class:`~scoop_etcd.client.api.EtcdClient`, the clock is injected.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, Generic

from scoop_core import DependencyGraph

from scoop_etcd.client.api import EtcdClient, Failure, KeyValue, Put, Range, Txn, TxnResult, is_missing
from scoop_etcd.client.calls import Calls
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import ENTRY_BYTES_MAX
from scoop_etcd.formats.records import NodeRecord, Pointer
from scoop_etcd.replication.appender import Appender, LoggedRequests
from scoop_etcd.replication.applier import Applier
from scoop_etcd.replication.barrier import Barrier, Queries
from scoop_etcd.replication.compactor import Compactor
from scoop_etcd.replication.divergence import DigestHistory
from scoop_etcd.replication.entry_feed import EntryFeed
from scoop_etcd.replication.membership import Membership, NodesSurvey
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_etcd.replication.parts import Parted, delete_plain_queries, response_to
from scoop_etcd.replication.replica import Replica
from scoop_etcd.replication.status import NodeCounters, NodeStatus
from scoop_server.ports import CallLater, ClientT, Request, Response
from scoop_server.telemetry.statistics import Meter
from scoop_server.telemetry.workers import Task

_are_plain_queries: Final = re.compile(r"(?>(?:QUERY\|[^|\n]*\|\n)*)").fullmatch


class ReplicatedIndex(Generic[ClientT]):
    """One node. It satisfies ``scoop_server.ports.Index``; :meth:`tick` is to be called four times a second.

    :meth:`execute`, :meth:`completed` and :meth:`tick` raise :exc:`ReplicationError` if the node must stop.
    ``start_compaction`` starts a process that runs :class:`~.compaction.Compaction` with the fence
    that it is given.
    """

    is_pending: bool = False
    """Its descriptor is readable while work is pending."""

    def __init__(
        self,
        client: EtcdClient,
        clock: Callable[[], float],
        settings: NodeSettings,
        start_compaction: Callable[[int], Task],
        meter: Meter | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._keys = keys = settings.keys
        self._has_local_reads = settings.has_local_reads
        self._meter = meter or Meter()
        self.calls = calls = Calls(client, clock)
        self._digests = DigestHistory()
        self._responses: list[Response[ClientT]] = []
        self._created = 0
        """The revision at which the configuration was created."""
        self._surveyed = 0
        """The revision of the last entry that was known at the last survey."""
        self._counters = counters = NodeCounters()
        self._appender = Appender[ClientT | Parted[ClientT]](
            calls, keys, settings.node, clock, counters.append_seconds.observe, self._expect, settings.wall_clock
        )
        self._applier = applier = Applier[ClientT](settings, self._appender, clock, self._meter, self._note_applied)
        self._feed = EntryFeed(calls, keys, clock, self._replace, applier.add, settings.config)
        self._barrier = Barrier[ClientT](calls, keys, clock, self._feed.expect, counters.barrier_seconds.observe)
        self._membership = Membership(calls, keys, settings.node, clock, self._describe, self._take_survey)
        self._compactor = Compactor(start_compaction, clock, settings.entry_bytes_min, settings.entries_max)
        self.status: Final = NodeStatus(
            clock,
            calls,
            applier,
            self._feed,
            self._appender,
            self._barrier,
            self._membership,
            self._compactor,
            counters,
        )
        """For probes and metrics."""
        self._join()

    def use_identities(self, identify: Callable[[ClientT], str]) -> None:
        """Store the identities that ``identify`` returns with the lines of clients."""
        self._appender.identify = lambda client: identify(client.client if isinstance(client, Parted) else client)

    def use_timer(self, call_later: CallLater) -> None:
        """Let one request to etcd serve more clients, by short waits that ``call_later`` ends."""
        self._appender.gathering.call_later = self._barrier.gathering.call_later = call_later

    def _join(self) -> None:
        """Create the configuration, or compare it; then begin to follow and to append."""
        key = self._keys.config
        put = Put(key, self._settings.config.encode())
        self.calls.txn(Txn((is_missing(key),), (put,), (Range(key),)), self._take_config)

    def _take_config(self, result: TxnResult | Failure) -> None:
        assert isinstance(result, TxnResult)  # noqa: S101  # no failure of this call is final
        if result.succeeded:
            self._created = result.revision
        else:
            [found] = result.ranges[0].kvs
            self._settings.config.check(found.value)
            self._created = found.create_revision
        self._feed.start()
        self._appender.start()

    # The Index port

    def execute(self, requests: Sequence[Request[ClientT]]) -> list[Response[ClientT]]:
        """Append the changes of one turn to the entry log, and hold its queries; answer only local reads immediately.

        A client's lines with a change among them are evaluated together, where the entry log has the change; its plain
        queries need not be in the entry log for that, but all other lines are, as received.
        """
        text = requests[0][1] if len(requests) == 1 else "".join([lines for _, lines in requests])
        # Most turns have queries only, and one look at all of them takes a fifth of the time of one at each.
        queries = requests if _are_plain_queries(text) else self._append(requests, text)
        if not queries:
            return []
        if self._has_local_reads and not self.status.is_loading:
            return self._query(queries)
        self._barrier.add(Queries(queries, self._clock() + self._settings.answer_seconds_max))
        self._barrier.advance()
        return []

    def _append(self, requests: Sequence[Request[ClientT]], text: str) -> Sequence[Request[ClientT]]:
        """Append the requests with changes, among all lines ``text``, to the entry log; return the others."""
        queries: list[Request[ClientT]] = []
        deadline = self._clock() + self._settings.answer_seconds_max
        # The look for any query first: it takes a hundredth of the time of deleting them.
        if "QUERY|" not in text and len(text) <= ENTRY_BYTES_MAX:
            self._appender.add(LoggedRequests(requests, text, deadline))
        else:
            for request in requests:
                logged = delete_plain_queries("", request[1])
                if logged:
                    self._appender.add(LoggedRequests((request,), logged, deadline))
                else:
                    queries.append(request)
        self._appender.advance()
        return queries

    def completed(self) -> list[Response[ClientT]]:
        """Process what has arrived from etcd; return the responses that it allows."""
        self._give_up()  # after a pause of the process, what has arrived may be late
        self.calls.poll(self._settings.turn_bytes_max)
        self._responses += self._applier.advance()
        if self._applier.is_pending:
            self._client.wake()
        return self._take_responses()

    def fileno(self) -> int:
        """Return a descriptor that is readable when :meth:`completed` is to be called."""
        return self._client.fileno()

    @property
    def write_delay(self) -> float:
        """Return 0: clients that send changes wait for the entry log, which is delay enough."""
        return 0.0

    def tick(self) -> None:
        """Do what time requires: repeat, renew, survey, and give up requests without a response in time."""
        self.calls.tick()
        self._feed.tick()
        self._membership.tick()
        self._compactor.tick(self._membership.fence)
        self._give_up()
        if self._responses:
            self._client.wake()

    def _give_up(self) -> None:
        """Disconnect the clients whose requests have no response in time."""
        now = self._clock()
        given_up: list[Request[ClientT | Parted[ClientT]]] = list(self._appender.expired(now))
        for queries in self._barrier.expired(now):
            given_up += queries.requests
        if given_up:
            self._counters.expired += len(given_up)
            self._disconnect(given_up)

    def close(self) -> None:
        """End a compaction, and disconnect. The lease, and with it the record of the node, expires by itself."""
        self._compactor.close()
        self._client.close()

    # Responses

    def _take_responses(self) -> list[Response[ClientT]]:
        position = self._feed.position
        if position is not None:
            if self._applier.is_pending:
                position = self._applier.replica.revision
            for queries in self._barrier.released(position):
                self._responses += self._query(queries.requests)
        responses, self._responses = self._responses, []
        return responses

    def _query(self, requests: Sequence[Request[ClientT]]) -> list[Response[ClientT]]:
        """Return the responses to batches of queries."""
        answers = self._applier.replica.graph.apply_batches([lines for _, lines in requests], None, self._meter.tally)
        return self._with_answers(requests, answers)

    @staticmethod
    def _with_answers(requests: Sequence[Request[ClientT]], answers: Sequence[str]) -> list[Response[ClientT]]:
        return [(client, lines, given) for (client, lines), given in zip(requests, answers, strict=True)]

    def _disconnect(self, requests: Sequence[Request[ClientT | Parted[ClientT]]]) -> None:
        """Disconnect clients whose responses are unknown."""
        self._responses += [response_to(request, None) for request in requests]

    # Entries

    def _replace(self, replica: Replica) -> None:
        """Continue from a snapshot. It may hold entries of this node that were never delivered."""
        self._applier.replace(replica)
        self._digests.note(replica.revision, replica.digest)
        self._disconnect(self._appender.skipped(replica.sequences.get(self._settings.node, 0)))

    def _expect(self, revision: int) -> None:
        self._feed.expect(revision)

    def _note_applied(self, kv: KeyValue) -> None:
        self._digests.note(kv.mod_revision, self._applier.replica.digest)
        self._compactor.note_entry(kv.mod_revision, len(kv.value))

    # Surveys

    def _take_survey(self, survey: NodesSurvey) -> None:
        created = survey.config.create_revision if survey.config is not None else 0
        if created != self._created and survey.revision >= self._created > 0:
            raise ReplicationError("cannot continue: the index in etcd was deleted or replaced; restart this node")
        head = survey.head.mod_revision if survey.head is not None else 0
        if head < self._surveyed:
            raise ReplicationError(
                f"cannot continue: the last entry in etcd is at revision {head} and was at {self._surveyed} before:"
                " it was restored from a backup; restart this node"
            )
        self._feed.expect(head)
        self._surveyed = self._feed.committed
        if survey.pointer is not None:
            pointer = Pointer.decode(survey.pointer.value)
            self._compactor.note_pointer(pointer)
            self._digests.check(pointer.revision, pointer.digest, "the snapshot")
        for node, record in survey.nodes.items():
            self._digests.check(record.revision, record.digest, f"node {node}")

    def _describe(self) -> NodeRecord:
        settings, replica = self._settings, self._applier.replica
        access = settings.access_digest()
        return NodeRecord(settings.addresses, settings.version, replica.revision, replica.digest, access)

    # What others see

    @property
    def graph(self) -> DependencyGraph:
        """The graph as applied. It is another object after a snapshot has been loaded."""
        return self._applier.replica.graph
