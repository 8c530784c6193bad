"""A simulated process of a node, its clients, and the processes of its compactions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.replication.compaction import Compaction, Outcome
from scoop_etcd.replication.index import ReplicatedIndex
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_etcd.replication.replica import digest_of
from scoop_server.ports import Response

from tests.simulation.replicated.etcd import Cluster, SimulatedClient
from tests.simulation.replicated.oracle import Batch, Oracle

TICK_SECONDS: Final = 0.25
CHUNK_BYTES: Final = 48


@dataclass(eq=False)
class Client:
    """A client of a node: it has sent one batch at most, and waits for the responses."""

    connected_to: "Node"
    waits_for: Batch | None = None
    disconnect: Callable[[], None] = field(default=lambda: None)
    """Called when its connection ends; it does not know the outcome of what it has sent."""
    answered: Callable[[], None] = field(default=lambda: None)
    is_connected: bool = True


class CompactionProcess:
    """A compaction in a process of its own, which may outlive the node. Satisfies ``Task``.

    While there are faults, it dies or pauses at any moment.
    """

    def __init__(self, cluster: Cluster, host: str, keys: Keys, fence: int, config: Config) -> None:
        self._cluster = cluster
        self._schedule = cluster.schedule
        self._client = SimulatedClient(cluster, host, self._wake)
        self._compaction = Compaction(
            self._client, self._schedule.clock, keys, fence, config, chunk_bytes_max=CHUNK_BYTES
        )
        self._is_awake = False
        self._status: int | None = None
        self._is_paused = False
        self._tick()

    def poll(self) -> int | None:
        return self._status

    def kill(self) -> None:
        if self._status is None:
            self._end(-9)

    def pause(self, seconds: float) -> None:
        self._is_paused = True

        def resume() -> None:
            self._is_paused = False
            self._wake()

        self._schedule.after(seconds, resume)

    def _end(self, status: int) -> None:
        self._status = status
        self._client.close()

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._schedule.after(self._schedule.between(0.0001, 0.002), self._advance)

    def _advance(self) -> None:
        self._is_awake = False
        if self._status is not None or self._is_paused:
            return
        if self._cluster.has_faults and self._schedule.chance(0.03):
            if self._schedule.chance(0.3):
                self.kill()
            else:
                self.pause(self._schedule.between(1, 20))
            return
        self._compaction.advance()
        if self._compaction.outcome is not None:
            self._end(0 if self._compaction.outcome is Outcome.DONE else 1)

    def _tick(self) -> None:
        if self._status is None:
            self._advance()
            self._schedule.after(TICK_SECONDS, self._tick)


class Node:
    """A host with one process of the server, which crashes, pauses and starts again."""

    def __init__(
        self,
        cluster: Cluster,
        oracle: Oracle,
        name: str,
        *,
        config: Config,
        has_local_reads: bool,
        answer_seconds_max: float,
    ) -> None:
        self._cluster = cluster
        self._schedule = cluster.schedule
        self._oracle = oracle
        self.name = name
        self._config = config
        self._has_local_reads = has_local_reads
        self._answer_seconds_max = answer_seconds_max
        self.index: ReplicatedIndex[Client] | None = None
        self._client: SimulatedClient | None = None
        self._clients: set[Client] = set()
        self._requests: list[tuple[Client, Batch]] = []
        self._life = 0
        self._is_paused = False
        self._is_awake = False
        self._checked = -1
        self._acknowledged = 0
        """The revision of the last change that this node has acknowledged."""
        self.compactions: list[CompactionProcess] = []
        self.starts = 0

    # Life and death

    @property
    def is_up(self) -> bool:
        return self.index is not None

    @property
    def is_serving(self) -> bool:
        return self.index is not None and not self._is_paused and self.index.status.not_ready_reason != "loading"

    def start(self) -> None:
        self.starts += 1
        self._life += 1
        self._checked, self._acknowledged = -1, 0
        keys = Keys("/scoop/")
        settings = NodeSettings(
            node=f"{self._schedule.random.getrandbits(64):016x}",
            keys=keys,
            config=self._config,
            has_local_reads=self._has_local_reads,
            answer_seconds_max=self._answer_seconds_max,
            addresses=(self.name,),
            version="1",
            entry_bytes_min=self._schedule.random.choice((300, 1_000, 4_000)),
            entries_max=self._schedule.random.choice((5, 20, 1_000)),
            turn_bytes_max=self._schedule.random.choice((1, 1_000_000)),
            turn_visits_max=self._schedule.random.choice((1, 4_096)),
        )
        self._client = SimulatedClient(self._cluster, self.name, self._wake)
        self.index = ReplicatedIndex(self._client, self._schedule.clock, settings, partial(self._compact, keys))
        self.index.use_identities(lambda client: f"batch-{client.waits_for.number if client.waits_for else 0}")
        self.index.use_timer(partial(self._call_later, self._life))
        self._tick(self._life)

    def _call_later(self, life: int, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` after ``seconds``; when the process is paused then, after the pause."""

        def call() -> None:
            if self._life != life:
                return
            if self._is_paused:
                self._schedule.after(TICK_SECONDS, call)
            else:
                callback()

        self._schedule.after(seconds, call)

    def crash(self) -> None:
        """Kill the process; a compaction may continue."""
        if self._client is None:
            return
        self.index = None
        self._client.close()
        self._client = None
        self._life += 1
        self._is_paused = False
        for compaction in self.compactions:
            if self._schedule.chance(0.4):
                compaction.kill()
        self._requests.clear()
        for client in sorted(self._clients, key=lambda each: each.waits_for.number if each.waits_for else 0):
            self._disconnect(client)

    def pause(self, seconds: float) -> None:
        """Pause the process, and resume it later, as SIGSTOP and SIGCONT do."""
        self._is_paused = True
        life = self._life

        def resume() -> None:
            if self._life == life:
                self._is_paused = False
                self._wake()
                self._tick(life)

        self._schedule.after(seconds, resume)

    def _compact(self, keys: Keys, fence: int) -> CompactionProcess:
        process = CompactionProcess(self._cluster, self.name, keys, fence, self._config)
        self.compactions.append(process)
        return process

    # Clients

    def connect(self) -> Client:
        client = Client(self)
        self._clients.add(client)
        return client

    def _disconnect(self, client: Client) -> None:
        self._clients.discard(client)
        client.waits_for = None
        client.is_connected = False
        client.disconnect()

    def send(self, client: Client, batch: Batch) -> None:
        client.waits_for = batch
        self._requests.append((client, batch))
        self._wake()

    # Turns

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._schedule.after(self._schedule.between(0.0001, 0.003), self._turn)

    def _turn(self) -> None:
        self._is_awake = False
        if self.index is None or self._is_paused:
            return
        self._response(self.index.completed())
        requests, self._requests = self._requests, []
        if requests:
            for _, batch in requests:
                batch.executed_at = self._schedule.now
            self._response(self.index.execute([(client, batch.text) for client, batch in requests]))

    def _tick(self, life: int) -> None:
        if self.index is None or self._is_paused or self._life != life:
            return
        self.index.tick()
        for client in self._clients:
            if client.waits_for is not None and not self._is_awake:
                waited = self._schedule.now - client.waits_for.executed_at
                assert waited < self._answer_seconds_max + 1, f"a client waits for {waited} s"
        self._schedule.after(TICK_SECONDS, partial(self._tick, life))

    def _response(self, responses: list[Response[Client]]) -> None:
        index = self.index
        assert index is not None
        revision = index.status.applied_revision
        if revision != self._checked:
            self._oracle.check_state(index.graph, revision)
            self._checked = revision
        for client, lines, answers in responses:
            batch = client.waits_for
            if batch is None:
                continue  # disconnected meanwhile
            assert lines == batch.text, f"batch {batch.number} got the responses to {lines!r}"
            assert answers is not None or not batch.is_after_faults, f"batch {batch.number} was not answered"
            waited = self._schedule.now - batch.executed_at
            assert answers is None or waited < self._answer_seconds_max, f"batch {batch.number} took {waited} s"
            if answers is None:
                self._disconnect(client)
                continue
            if batch.is_change:
                self._acknowledged = max(self._acknowledged, self._oracle.change_answered(batch, answers))
            else:
                at_least = self._acknowledged if self._has_local_reads else batch.head
                self._oracle.queries_answered(batch, answers, revision, at_least=at_least)
            client.waits_for = None
            client.answered()

    def check_at_the_end(self) -> None:
        """Check that the node is in step with the log, after all faults have ended."""
        index = self.index
        assert index is not None
        assert index.status.not_ready_reason == "", f"{self.name}: {index.status.not_ready_reason}"
        assert index.status.pending == 0
        assert self._oracle.states[index.status.applied_revision] == self._oracle.states[self._oracle.head]
        assert index.status.committed_revision <= self._oracle.head
        assert digest_of(index.graph) == index.status.digest
        self._oracle.check_digest(index.status.digest, index.status.applied_revision)
