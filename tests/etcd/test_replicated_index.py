"""One node of a replicated index: how it begins, what stops it, and what it reports.

That several nodes agree, whatever happens, is shown by tests/simulation/replicated.
"""

from collections.abc import Callable
from dataclasses import replace
from errno import ENOMEM
from itertools import pairwise

import pytest

from scoop_core import DependencyGraph

from scoop_etcd.client.api import (
    Delete,
    ErrorCode,
    EtcdRequest,
    Failure,
    Put,
    Result,
    Txn,
    Watch,
    WatchEnded,
    WatchEvents,
)
from scoop_etcd.client.calls import Calls
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, decode_entry, encode_entry
from scoop_etcd.formats.records import Config, NodeRecord, Pointer, encode_chunks
from scoop_etcd.replication.compactor import Compactor
from scoop_etcd.replication.index import ReplicatedIndex
from scoop_etcd.replication.membership import Membership
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_etcd.replication.replica import Replica, digest_of
from scoop_server.ports import Response
from scoop_server.telemetry.workers import Task

from tests.simulation.replicated.etcd import Cluster, SimulatedClient
from tests.simulation.replicated.nodes import CompactionProcess
from tests.simulation.replicated.schedule import Schedule

KEYS = Keys("/scoop/")
CONFIG = Config(reject_cycles=False, line_bytes_max=65_536)
SETTINGS = NodeSettings("a1", KEYS, CONFIG, addresses=("[::1]:8080",), version="1")


class World:
    """A cluster without faults, and nodes over it whose responses are collected."""

    def __init__(self) -> None:
        self.schedule = Schedule(0)
        self.cluster = Cluster(self.schedule, lambda _: None)
        self.cluster.has_faults = False
        self.responses: list[Response[str]] = []
        self.compactions: list[CompactionProcess] = []

    def put(self, key: bytes, value: bytes) -> int:
        return self.cluster.store.txn(Txn((), (Put(key, value),))).revision

    def start(self, settings: NodeSettings = SETTINGS) -> ReplicatedIndex[str]:
        def compact(fence: int) -> CompactionProcess:
            process = CompactionProcess(self.cluster, settings.node, KEYS, fence, settings.config)
            self.compactions.append(process)
            return process

        def collect() -> None:
            self.responses += index.completed()

        def tick() -> None:
            index.tick()
            self.schedule.after(0.25, tick)

        client = SimulatedClient(self.cluster, settings.node, lambda: self.schedule.after(0.0001, collect))
        index = ReplicatedIndex[str](client, self.schedule.clock, settings, compact)
        self.schedule.after(0, tick)
        return index

    def wait(self, seconds: float = 1.0) -> None:
        self.schedule.run_until(self.schedule.now + seconds)

    def answers(self, index: ReplicatedIndex[str], lines: str) -> str | None:
        """Return the responses to ``lines``, however long they take."""
        self.responses = index.execute([("client", lines)])
        while not self.responses:
            self.wait(0.01)
        [(client, echoed, given)] = self.responses
        assert (client, echoed) == ("client", lines)
        return given


@pytest.fixture
def world() -> World:
    return World()


def test_a_change_on_one_node_is_read_on_another(world: World) -> None:
    one, other = world.start(), world.start(replace(SETTINGS, node="b2"))
    assert world.answers(one, "INDEX|a|\nQUERY|a|\nINDEX|b|c\nnonsense\n") == "OK\nOK\nFAIL\nERROR\n"
    assert world.answers(other, "QUERY|a|\nQUERY|b|\n") == "OK\nFAIL\n"


def test_plain_queries_are_not_logged_and_every_other_line_is(world: World) -> None:
    index = world.start()
    world.answers(index, "QUERY|a|\nQUERY|a b|\nquery|a|\nINDEX|a|\nQUERY|a|b\n")
    assert world.cluster.store.get(KEYS.entry("a1", 1)) is not None
    [entry] = [kv.value for kv in world.cluster.store.puts if kv.key == KEYS.entry("a1", 1)]
    assert entry == encode_entry("a1", 1, "query|a|\nINDEX|a|\nQUERY|a|b\n")


def test_the_lines_of_waiting_turns_share_an_entry(world: World) -> None:
    index = world.start()
    world.wait()
    for turn in range(5):
        index.execute([(f"client{turn}", f"INDEX|p{turn}|\n")])
    world.wait()
    assert [client for client, _, _ in world.responses] == [f"client{turn}" for turn in range(5)]
    entries = [kv.value for kv in world.cluster.store.puts if kv.key.startswith(KEYS.entries.key)]
    shared = "".join(f"INDEX|p{turn}|\n" for turn in range(1, 5))
    assert entries[1:] == [encode_entry("a1", 2, shared)]


def test_an_entry_holds_its_time_and_the_identity_of_each_client(world: World) -> None:
    times = iter([5, 7, 6])
    index = world.start(replace(SETTINGS, wall_clock=lambda: next(times)))
    index.use_identities(lambda client: f"CN={client}")
    world.wait()
    index.execute([("a", "INDEX|a|\n")])
    index.execute([("a", "INDEX|b|\nINDEX|c|\n"), ("b", "INDEX|d|\nwrong\n")])
    index.execute([("a", "QUERY|a|\nINDEX|e|\n"), ("c", "QUERY|a|\n")])
    index.execute([("a", "INDEX|f|\n")])
    world.wait()
    index.execute([("c", "#by CN=a\nINDEX|g|\n")])
    world.wait()
    entries = [kv.value for kv in world.cluster.store.puts if kv.key.startswith(KEYS.entries.key)]
    assert [decode_entry("a1", seq, value) for seq, value in enumerate(entries, 1)] == [
        ("INDEX|a|\n", 5, ((0, "CN=a"),)),
        (
            "INDEX|b|\nINDEX|c|\nINDEX|d|\nwrong\nINDEX|e|\nINDEX|f|\n",
            7,
            ((0, "CN=a"), (2, "CN=b"), (4, "CN=a")),
        ),
        ("#by CN=a\nINDEX|g|\n", 7, ((0, "CN=c"),)),
    ]


def test_clients_that_were_answered_together_share_the_next_entry(world: World) -> None:
    index = world.start()
    index.use_timer(world.schedule.after)
    world.wait()
    index.execute([("one", "INDEX|a|\n"), ("other", "INDEX|b|\n")])
    while not world.responses:
        world.wait(0.0001)
    index.execute([("one", "INDEX|c|\n")])
    world.wait(0.001)
    index.execute([("other", "INDEX|d|\n")])
    world.wait(0.1)
    index.execute([("one", "INDEX|e|\n")])  # the other sends no more, so the wait ends by itself
    world.wait()
    entries = [kv.value for kv in world.cluster.store.puts if kv.key.startswith(KEYS.entries.key)]
    assert entries == [
        encode_entry("a1", 1, "INDEX|a|\nINDEX|b|\n"),
        encode_entry("a1", 2, "INDEX|c|\nINDEX|d|\n"),
        encode_entry("a1", 3, "INDEX|e|\n"),
    ]
    assert index.status.pending == 0


def test_an_entry_does_not_overtake_the_one_before_it(world: World) -> None:
    index = world.start()
    world.wait()
    world.cluster.loss = 1.0
    index.execute([("first", "INDEX|a|\n")])
    world.wait(0.1)
    world.cluster.loss = 0.0
    index.execute([("second", "INDEX|b|a\n")])
    world.wait(1.0)
    assert (world.responses, index.status.pending) == ([], 2)
    world.wait(4.0)
    assert world.responses == [("first", "INDEX|a|\n", "OK\n"), ("second", "INDEX|b|a\n", "OK\n")]
    assert index.status.pending == 0


def test_a_node_knows_at_once_that_its_watch_lacks_its_own_entry(world: World) -> None:
    index = world.start()
    world.wait(0.5)  # half a second before the next survey
    for watch in world.cluster.watches:
        watch.is_silent = True
    index.execute([("client", "INDEX|a|\n")])
    world.wait(0.1)
    assert index.status.committed_revision > index.status.applied_revision
    world.wait(2.3)
    assert world.responses == [("client", "INDEX|a|\n", "OK\n")]


def test_local_reads_are_answered_at_once_even_without_a_quorum(world: World) -> None:
    index = world.start(replace(SETTINGS, has_local_reads=True))
    assert world.answers(index, "INDEX|a|\n") == "OK\n"
    world.cluster.has_leader = False
    assert index.execute([("client", "QUERY|a|\n")]) == [("client", "QUERY|a|\n", "OK\n")]


def test_a_request_without_an_answer_in_time_disconnects_its_client(world: World) -> None:
    index = world.start(replace(SETTINGS, answer_seconds_max=2.0))
    world.wait()
    _lose_etcd(world)
    index.execute([("writer", "INDEX|a|\n"), ("reader", "QUERY|a|\n")])
    world.wait(1.9)
    assert world.responses == []
    world.wait(0.5)
    assert world.responses == [("writer", "INDEX|a|\n", None), ("reader", "QUERY|a|\n", None)]
    assert index.status.pending == 0


def test_a_node_starts_from_a_snapshot_and_the_entries_after_it(world: World) -> None:
    index = world.start(replace(SETTINGS, entry_bytes_min=1))
    world.answers(index, "INDEX|a|\n")
    world.wait(8)
    assert [process.poll() for process in world.compactions] == [0]
    world.answers(index, "INDEX|b|a\n")
    other = world.start(replace(SETTINGS, node="b2"))
    world.wait()
    assert other.graph == DependencyGraph.from_mapping({"a": [], "b": ["a"]})
    assert other.status.digest == index.status.digest == digest_of(other.graph)


def test_the_record_of_a_node_shows_its_revision_as_soon_as_it_has_loaded(world: World) -> None:
    record = NodeRecord((), "1", 0, 0)
    client = SimulatedClient(world.cluster, "a1", lambda: world.schedule.after(0, calls.poll))
    calls = Calls(client, world.schedule.clock)
    membership = Membership(calls, KEYS, "a1", world.schedule.clock, lambda: record, lambda _: None)

    def revision() -> int:
        for _ in range(4):  # a second
            membership.tick()
            world.wait(0.25)
        stored = world.cluster.store.get(KEYS.node("a1"))
        assert stored is not None
        return NodeRecord.decode("a1", stored.value).revision

    assert revision() == 0
    record = replace(record, revision=7)
    assert revision() == 7


def test_what_a_watch_has_received_is_passed_on_in_parts(world: World) -> None:
    wakes, received = list[float](), list[WatchEvents | WatchEnded]()
    client = SimulatedClient(world.cluster, "a1", lambda: wakes.append(world.schedule.now))
    calls = Calls(client, world.schedule.clock)
    calls.watch(Watch(*KEYS.entries, 1), received.append)
    index = world.start(replace(SETTINGS, node="b2"))
    for number in range(3):
        world.answers(index, f"INDEX|{number}|\n")
        world.wait()
    for count in (1, 2):
        wakes.clear()
        calls.poll(1)
        assert (len(received), len(wakes)) == (count, 1)
    calls.poll()
    assert len(received) == 3


# What stops a node


def _other_rules(world: World) -> None:
    world.put(KEYS.config, replace(CONFIG, reject_cycles=True).encode())


def _missing_entry(world: World) -> None:
    world.put(KEYS.entry("b2", 2), encode_entry("b2", 2, "INDEX|a|\n"))


def _damaged_entry(world: World) -> None:
    world.put(KEYS.entry("b2", 1), b"#scoop entry 2 lines 1 time 0 crc32 00000000\nINDEX|a|\n")


def _incomplete_snapshot(world: World) -> None:
    world.put(KEYS.pointer, Pointer(1, 1, 10, 0, 0, 0, {}).encode())


def _snapshot_without_its_second_chunk(world: World) -> None:
    world.put(KEYS.pointer, Pointer(1, 3, 3, 0, 0, 0, {}).encode())
    for number, chunk in enumerate(encode_chunks([b"abc"], 1)):
        if number != 1:
            world.put(KEYS.chunk(1, number), chunk)


def _diverged_node(world: World) -> None:
    revision = world.put(KEYS.entry("b2", 1), encode_entry("b2", 1, "INDEX|a|\n"))
    world.put(KEYS.node("b2"), NodeRecord((), "1", revision, 0).encode())


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_other_rules, "--reject-cycles is true there and false here; start all nodes with the same settings"),
        (_missing_entry, "entry 1 of node b2 is missing before its entry 2"),
        (_damaged_entry, "entry 1 of node b2 in etcd: it is damaged"),
        (_incomplete_snapshot, "the snapshot at revision 1 in etcd: 0 of 1 chunks are there; restore a backup of etcd"),
        (_snapshot_without_its_second_chunk, "1 of 3 chunks are there; restore a backup of etcd"),
        (_diverged_node, r"the graph of this node at revision \d+ differs from that of node b2"),
    ],
)
def test_a_node_stops_with_one_line(world: World, prepare: Callable[[World], None], reason: str) -> None:
    prepare(world)
    world.start()
    with pytest.raises(ReplicationError, match=reason) as raised:
        world.wait(3)
    assert "\n" not in str(raised.value)


def test_a_node_stops_if_etcd_was_restored_from_a_backup(world: World) -> None:
    index = world.start()
    world.answers(index, "INDEX|a|\n")
    world.cluster.store.revision = 2
    with pytest.raises(ReplicationError, match=r"and was at \d before: it was restored from a backup"):
        world.wait(3)


@pytest.mark.parametrize(
    ("deletion", "reason"),
    [
        (Delete(KEYS.head), r"the last entry in etcd is at revision 0 and was at \d+ before: it was restored"),
        (Delete(*KEYS.everything), "the index in etcd was deleted or replaced; restart this node"),
    ],
)
def test_a_node_stops_if_its_keys_are_gone_although_etcd_has_a_higher_revision(
    world: World, deletion: Delete, reason: str
) -> None:
    world.answers(world.start(), "INDEX|a|\n")
    world.wait(2)
    world.cluster.store.txn(Txn((), (deletion,)))
    with pytest.raises(ReplicationError, match=reason):
        world.wait(3)


def test_a_compaction_that_cannot_be_started_is_tried_again_later() -> None:
    clock, attempts = Schedule(0), list[float]()

    def start(_fence: int) -> Task:
        attempts.append(clock.now)
        raise OSError(ENOMEM, "no memory")

    compactor = Compactor(start, clock.clock, 1, 9)
    compactor.note_entry(1, 10)
    for seconds in (1.0, 2.0, 10.0, 12.0):
        clock.run_until(seconds)
        compactor.tick(7)
    assert attempts == [1.0, 12.0]


def test_a_record_of_another_version_does_not_stop_a_node(world: World) -> None:
    world.put(KEYS.node("b2"), b'{"format":2}')
    assert world.answers(world.start(), "INDEX|a|\n") == "OK\n"


@pytest.mark.parametrize("key", [b"/log/", b"/snapshot/0"])
def test_what_etcd_calls_too_large_is_not_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    index = world.start(replace(SETTINGS, entry_bytes_min=1))
    world.wait()
    execute = world.cluster.execute

    def refuse(request: EtcdRequest) -> Result:
        if isinstance(request, Txn) and any(isinstance(each, Put) and key in each.key for each in request.success):
            return Failure(ErrorCode.TOO_LARGE, "etcdserver: request is too large")
        return execute(request)

    monkeypatch.setattr(world.cluster, "execute", refuse)
    index.execute([("client", "INDEX|a|\n")])
    with pytest.raises(ReplicationError, match="start etcd with --max-request-bytes"):
        world.wait(8)


@pytest.mark.parametrize(
    ("code", "attempts"), [(ErrorCode.UNAVAILABLE, range(35, 42)), (ErrorCode.UNAUTHENTICATED, range(8, 15))]
)
def test_an_outage_is_probed_with_each_tick_and_a_refusal_once_per_second(
    world: World, monkeypatch: pytest.MonkeyPatch, code: ErrorCode, attempts: range
) -> None:
    requests = list[EtcdRequest]()

    def fail(request: EtcdRequest) -> Failure:
        requests.append(request)
        return Failure(code, "")

    monkeypatch.setattr(world.cluster, "execute", fail)
    world.start()
    world.wait(10)
    assert len([each for each in requests if isinstance(each, Txn) and each.compare]) in attempts, "to join"


# Readiness


def test_a_node_is_ready_when_it_has_read_the_log(world: World) -> None:
    index = world.start()
    assert index.status.not_ready_reason == "loading"
    world.wait()
    assert index.status.not_ready_reason == ""


def _lose_etcd(world: World) -> None:
    world.cluster.blocked = {("a1", member.number) for member in world.cluster.members}


def _exhaust_space(world: World) -> None:
    world.cluster.has_space = False


def _stop_members_from_applying(world: World) -> None:
    for member in world.cluster.members:
        member.is_catching_up = True  # for ever


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_lose_etcd, "etcd does not answer"),
        (_exhaust_space, "etcd accepts no changes: no space"),
        (_stop_members_from_applying, "lagging"),
    ],
)
def test_a_node_reports_why_it_is_not_ready(world: World, fault: Callable[[World], None], reason: str) -> None:
    index = world.start()
    world.wait()
    fault(world)
    index.execute([("client", "INDEX|a|\n")])
    world.wait(6)
    assert index.status.not_ready_reason == reason


# The state


def test_the_digest_is_that_of_the_whole_graph_however_it_was_made() -> None:
    one, other = Replica(DependencyGraph()), Replica(DependencyGraph())
    lines = "INDEX|a|\nINDEX|b|\nINDEX|c|b,a\nINDEX|c|a,b\nINDEX|d|a,b\nINDEX|d|b,a\n"
    one.apply("a1", 1, 5, [f"{lines}REMOVE|d|\nINDEX|b|a\n"])
    other.apply("a1", 1, 5, ["INDEX|a|\nINDEX|b|a\nINDEX|c|a,b\n"])
    # Nodes of two versions compare it: another digest needs another format of their records and of the pointer.
    assert one.digest == other.digest == digest_of(one.graph) == 0x36AC5D2FB2CCDCE1


def test_a_node_with_the_snapshot_needs_no_deleted_entries(world: World) -> None:
    index = world.start(replace(SETTINGS, entry_bytes_min=1))
    for name in "abc":
        world.answers(index, f"INDEX|{name}|\n")
        world.wait(8)
    assert world.cluster.store.get(KEYS.entry("a1", 1)) is None
    other = world.start(replace(SETTINGS, node="b2"))
    assert world.answers(other, "QUERY|a|\n") == "OK\n"


def test_the_figures_are_those_of_the_node(world: World) -> None:
    index = world.start()
    world.wait()
    world.answers(index, "INDEX|a|\nINDEX|b|a\n")
    entry = Put(KEYS.entry("b2", 1), encode_entry("b2", 1, "REMOVE|b|\n"))
    world.cluster.store.txn(Txn((), (entry, Put(KEYS.head, b"b2/1"))))
    world.wait(3)
    index.execute([("one", "QUERY|a|\n"), ("other", "INDEX|c|\n")])
    figures = {figure.name: figure.value for figure in index.status.figures()}
    revision = world.cluster.store.puts[-1].mod_revision
    assert figures["scoop_applied_revision"] == figures["scoop_committed_revision"] == index.status.applied_revision
    assert 0 < index.status.applied_revision <= revision
    assert figures["scoop_replication_digest"] == digest_of(index.graph) % 2**53
    assert (figures["scoop_replication_lag_entries"], figures["scoop_replication_pending"]) == (0, 2)
    assert (figures["scoop_compactor"], figures["scoop_replication_late_duplicates"]) == (1, 0)
    assert figures["scoop_etcd_failures"] == {(code.value.replace(" ", "_"),): 0 for code in ErrorCode}
    assert sum(figures["scoop_append_duration_seconds"].counts) == 1  # type: ignore[union-attr]  # a histogram


def put_entries(world: World, node: str, *texts: str) -> None:
    """Put one entry of ``node`` for each of ``texts``, as it would."""
    for seq, text in enumerate(texts, 1):
        entry = Put(KEYS.entry(node, seq), encode_entry(node, seq, text))
        world.cluster.store.txn(Txn((), (entry, Put(KEYS.head, f"{node}/{seq}".encode()))))


def test_a_long_reading_is_applied_over_several_turns(world: World) -> None:
    put_entries(world, "b2", *(f"INDEX|package-{number}|\n" for number in range(50)))
    index = world.start(replace(SETTINGS, turn_bytes_max=200))
    counts = [len(index.graph)]
    while index.status.is_loading:
        world.wait(0.0001)
        counts.append(len(index.graph))
    assert counts[-1] == 50
    assert max(after - before for before, after in pairwise(counts)) <= 4, "an entry has about 60 bytes"


def chain(count: int) -> str:
    """Return the lines of a chain p0, p1, ..., in which each package depends on the one before."""
    return "INDEX|p0|\n" + "".join(f"INDEX|p{number}|p{number - 1}\n" for number in range(1, count))


def test_an_index_whose_search_for_a_cycle_is_too_long_fails_on_all_nodes(world: World) -> None:
    settings = replace(SETTINGS, config=Config(True, 65_536, search_limit=25))
    one, other = world.start(settings), world.start(replace(settings, node="b2"))
    world.answers(one, f"{chain(100)}INDEX|free|\nINDEX|user|free\n")
    lines = "INDEX|free|p99\nINDEX|free|p9\nINDEX|p3|p2,free\nINDEX|p9|\n"
    assert world.answers(one, lines) == "FAIL\nOK\nFAIL\nOK\n"
    assert world.answers(other, "QUERY|p99|\n") == "OK\n"  # waits for the last entry
    assert one.status.digest == other.status.digest == digest_of(other.graph)
    assert one.graph.refused_searches == other.graph.refused_searches == 1


def test_the_searches_of_one_entry_have_a_limit_and_other_clients_do_not_wait_for_the_rest(world: World) -> None:
    settings = replace(SETTINGS, config=Config(True, 65_536, search_limit=100))
    index = world.start(settings)
    world.answers(index, chain(50))
    attack = "".join(f"QUERY|p1|\nINDEX|p0|p{number}\n" for number in range(1, 50))
    assert index.execute([("attacker", attack), ("client", "INDEX|new|\n")]) == []
    world.responses.clear()
    waits = 0
    while ("attacker", attack, "OK\nFAIL\n" * 49) not in world.responses:
        before = len(world.responses)
        entries = len(world.cluster.store.puts)
        while len(world.responses) == before:
            world.wait(0.0001)
        waits += 1
        client, _, _ = world.responses[-1]
        entries_waited = (len(world.cluster.store.puts) - entries) // 2  # each with the head
        if client == "client":
            assert entries_waited <= 3
            index.execute([("client", f"INDEX|new{waits}|p1\n")])
    assert waits > 5
    puts = [kv.value for kv in world.cluster.store.puts if kv.key.startswith(KEYS.entries.key)]
    assert b"".join(puts).count(b"INDEX|p0|p") <= 6 * 49, "the rest is not logged again and again"
    replayed = world.start(replace(settings, node="b2"))
    world.wait()
    assert replayed.status.digest == index.status.digest == digest_of(index.graph)
