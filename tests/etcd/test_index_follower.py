"""A reader of the log in etcd that is not a node: what it delivers, and what it reports when it cannot."""

from zlib import crc32

import pytest

from scoop_core import DependencyGraph, IndexedGraph

from scoop_etcd.client.api import Delete, Put, Txn
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, encode_entry
from scoop_etcd.formats.records import Config, Pointer, encode_chunks
from scoop_etcd.replication.index_follower import RETRY_SECONDS, IndexFollower
from scoop_etcd.replication.replica import Replica, digest_of
from scoop_server.ports import Loaded

from tests.simulation.replicated.etcd import Cluster, SimulatedClient
from tests.simulation.replicated.schedule import Schedule

KEYS = Keys("/scoop/")


class World:
    """A cluster without faults, a node that writes, and a reader."""

    def __init__(self) -> None:
        self.schedule = Schedule(0)
        self.cluster = Cluster(self.schedule, lambda _: None)
        self.cluster.has_faults = False
        self.sequence = 0
        self.clients = 0
        self.graph = IndexedGraph()
        self.batch = 0
        self.deliveries: list[str] = []

    def connect(self) -> SimulatedClient:
        self.clients += 1
        return SimulatedClient(self.cluster, f"reader{self.clients}", lambda: None)

    def follower(self) -> IndexFollower:
        return IndexFollower(self.connect, self.schedule.clock, KEYS, "/scoop/ in etcd", lambda: iter(()))

    def append(self, *lines: str, node: str = "a1", seq: int | None = None) -> int:
        """Append an entry as a node does; return its revision."""
        self.sequence += seq is None
        text = "".join(f"{line}\n" for line in lines)
        return self.append_value(node, seq or self.sequence, encode_entry(node, seq or self.sequence, text))

    def append_value(self, node: str, seq: int, value: bytes) -> int:
        puts = Put(KEYS.entry(node, seq), value), Put(KEYS.head, b"")
        result = self.cluster.execute(Txn((), puts))
        revision: int = result.revision  # type: ignore[union-attr]  # the result of a transaction
        return revision

    def poll(self, follower: IndexFollower, seconds: float = 0.5) -> None:
        """Poll for a while, and apply what is delivered."""
        end = self.schedule.now + seconds
        while self.schedule.now < end:
            self.schedule.run_until(self.schedule.now + 0.1)
            for each in follower.poll():
                self.deliveries.append(type(each).__name__)
                if isinstance(each, Loaded):
                    self.graph, self.batch = IndexedGraph.from_graph(each.graph), each.batch
                else:
                    self.graph.apply_lines(each.lines)
                    self.batch = each.seal.number

    def poll_until_readable(self, follower: IndexFollower) -> None:
        while True:
            try:
                self.poll(follower, 1)
            except ReplicationError:
                continue
            return


@pytest.fixture
def world() -> World:
    world = World()
    world.cluster.execute(Txn((), (Put(KEYS.config, Config(False, 65_536).encode()),)))
    return world


def test_the_index_is_loaded_and_then_followed(world: World) -> None:
    world.append("INDEX|gmp|", "INDEX|isl|gmp", "REMOVE|gmp|")
    follower = world.follower()
    world.poll(follower)
    assert world.graph == DependencyGraph.from_mapping({"gmp": [], "isl": ["gmp"]})
    assert follower.is_current
    last = world.append("INDEX|make|", "QUERY|gmp|", "nonsense")
    world.poll(follower)
    assert (list(world.graph), world.batch) == (["gmp", "isl", "make"], last)
    assert world.deliveries == ["Loaded", "LoggedBatch", "LoggedBatch"]


def test_an_entry_that_takes_effect_twice_is_delivered_once(world: World) -> None:
    world.append("INDEX|gmp|")
    follower = world.follower()
    world.poll(follower)
    world.append("INDEX|gmp|", seq=1)
    world.append("REMOVE|gmp|")
    world.poll(follower)
    world.append("INDEX|gmp|", seq=1)
    world.poll(follower)
    assert len(world.graph) == 0


def test_what_no_node_applies_of_an_entry_is_not_delivered() -> None:
    world = World()
    world.cluster.execute(Txn((), (Put(KEYS.config, Config(True, 65_536, search_limit=4).encode()),)))
    world.append("INDEX|a|", "INDEX|b|a", "INDEX|free|", "INDEX|user|free", "INDEX|c|b")
    follower = world.follower()
    world.poll(follower)
    world.append("INDEX|free|b", "INDEX|a|free", "INDEX|new|")  # the two searches visit 3 and 5
    world.poll(follower)
    assert (world.graph.dependencies("free"), "new" in world.graph) == (("b",), False)
    world.append("INDEX|a|free", "INDEX|free|c", "INDEX|new|")
    world.poll(follower)
    assert (world.graph.dependencies("a"), world.graph.dependencies("free")) == ((), ("b",))
    assert world.deliveries == ["Loaded", *["LoggedBatch"] * 3]


def put_snapshot(world: World, graph: DependencyGraph, revision: int) -> None:
    replica = Replica(graph)
    replica.digest = digest_of(graph)
    replica.note("a1", world.sequence, revision)
    [chunk] = replica.snapshot(1_000_000)
    data = chunk.partition(b"\n")[2]
    assert list(encode_chunks([data])) == [chunk]
    pointer = Pointer(revision, 1, len(data), crc32(data), replica.digest, revision, replica.sequences)
    puts = Put(KEYS.chunk(revision, 0), chunk), Put(KEYS.pointer, pointer.encode())
    world.cluster.execute(Txn((), (*puts, Delete(*KEYS.entries_up_to("a1", world.sequence)))))


def test_it_starts_from_the_snapshot_and_the_entries_after_it(world: World) -> None:
    revision = world.append("INDEX|gmp|", "INDEX|isl|gmp")
    put_snapshot(world, DependencyGraph.from_mapping({"gmp": [], "isl": ["gmp"]}), revision)
    world.append("INDEX|make|")
    follower = world.follower()
    world.poll(follower, 1.0)
    assert list(world.graph) == ["gmp", "isl", "make"]
    assert world.graph.dependents("gmp") == ("isl",)


def test_an_index_that_is_not_there_yet_is_awaited(world: World) -> None:
    world.cluster.execute(Txn((), (Delete(KEYS.config),)))
    follower = world.follower()
    with pytest.raises(ReplicationError, match=r"^cannot follow /scoop/ in etcd: it holds no index; retrying;"):
        world.poll(follower)
    world.cluster.execute(Txn((), (Put(KEYS.config, Config(False, 65_536).encode()),)))
    world.append("INDEX|gmp|")
    world.poll_until_readable(follower)
    assert list(world.graph) == ["gmp"]


def test_an_index_that_replaces_the_one_before_is_loaded(world: World) -> None:
    put_snapshot(world, DependencyGraph.from_mapping({"gmp": []}), 1)
    follower = world.follower()
    world.poll(follower)
    world.cluster.execute(Txn((), (Delete(*KEYS.everything),)))
    put_snapshot(world, DependencyGraph.from_mapping({"make": []}), 1)
    world.cluster.execute(Txn((), (Put(KEYS.config, Config(False, 65_536).encode()),)))
    with pytest.raises(ReplicationError, match="etcd: it was deleted or replaced; the last good state is kept"):
        world.poll(follower, 2)
    world.poll_until_readable(follower)
    assert list(world.graph) == ["make"]


def test_etcd_that_does_not_answer_is_a_problem_until_it_does(world: World) -> None:
    world.append("INDEX|gmp|")
    follower = world.follower()
    world.poll(follower)
    world.cluster.has_leader = False
    with pytest.raises(ReplicationError, match=r"cannot follow .*: .*; the last good state is kept; retrying;"):
        world.poll(follower, 20)
    assert not follower.is_current
    world.cluster.has_leader = True
    world.poll_until_readable(follower)
    world.append("INDEX|isl|gmp")
    world.poll(follower, 3)
    assert list(world.graph) == ["gmp", "isl"]
    assert follower.is_current


def test_after_a_damaged_entry_everything_is_read_again_after_a_pause(world: World) -> None:
    world.append("INDEX|gmp|")
    follower = world.follower()
    world.poll(follower)
    world.append_value("a1", 2, b"damaged")
    reason = r"cannot follow /scoop/ in etcd: cannot read entry 2 of node a1 in etcd: it has no header; the last good"
    for _ in range(2):
        with pytest.raises(ReplicationError, match=reason):
            world.poll(follower)
    assert world.clients == 1
    world.append("INDEX|make|", seq=2)
    with pytest.raises(ReplicationError, match=reason):
        world.poll(follower, 2 * RETRY_SECONDS)
    world.schedule.run_until(world.schedule.now + RETRY_SECONDS)
    world.poll(follower, 1)
    assert world.clients == 2
    assert list(world.graph) == ["gmp", "make"]
    assert world.deliveries == ["Loaded", "LoggedBatch", "Loaded", "LoggedBatch", "LoggedBatch"]
    follower.close()
