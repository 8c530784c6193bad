"""The simulated store answers as a real etcd does: random requests get equal results from both."""

import select
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from random import Random

import pytest

from scoop_etcd.client.api import (
    Compare,
    Delete,
    ErrorCode,
    EtcdRequest,
    Failure,
    KeyValue,
    Operation,
    Put,
    Range,
    Result,
    Target,
    Txn,
    TxnResult,
    Watch,
    WatchEnded,
    WatchEvents,
)
from scoop_etcd.client.connection_settings import ConnectionSettings

from tests.simulation.replicated.store import Store
from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import WAIT_SECONDS

pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")

from scoop_etcd.client.grpc_client import GrpcEtcdClient  # after the check of its requirements

pytestmark = [needs_etcd, pytest.mark.any_python]

KEYS = (b"/a", b"/b", b"/b/c", b"/d")
REQUESTS = 300


class Real:
    """A real member that nothing else uses, so its revisions are those of the simulated store."""

    def __init__(self, etcd: EtcdCluster) -> None:
        self.client = GrpcEtcdClient(ConnectionSettings(etcd.endpoints), 10.0)

    def results(self, request: EtcdRequest) -> Iterator[Result]:
        """Yield the results of ``request`` as they arrive."""
        ticket = self.client.submit(request)
        while True:
            assert select.select([self.client], [], [], WAIT_SECONDS)[0]
            yield from (result for each, result in self.client.poll() if each == ticket)

    def call(self, request: EtcdRequest) -> Result:
        return next(self.results(request))

    def puts(self, request: Watch, last: int) -> list[KeyValue]:
        """Return the puts that a watch reports up to the revision ``last``, which is one; none if it is compacted."""
        kvs: list[KeyValue] = []
        for result in self.results(request):
            if isinstance(result, WatchEnded):
                assert result.code is ErrorCode.COMPACTED
                return []
            assert isinstance(result, WatchEvents)
            kvs += result.kvs
            if kvs and kvs[-1].mod_revision >= last:
                return kvs
        raise AssertionError


@pytest.fixture
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


def _operation(random: Random, used: set[bytes]) -> Operation:
    """Return an operation. etcd refuses a transaction that puts or deletes a key twice."""
    key = random.choice(KEYS)
    if key in used or random.random() < 0.3:
        return Range(random.choice(KEYS), random.choice((b"", b"", b"/c", b"0")), limit=random.choice((0, 1, 2)))
    used.add(key)
    return Delete(key) if random.random() < 0.3 else Put(key, b"%d" % random.randrange(1_000))


def _transaction(random: Random, revision: int) -> Txn:
    expected = random.choice((0, 0, 1, 2, revision, revision - 1))
    compare = tuple(
        Compare(random.choice(KEYS), random.choice(list(Target)), expected) for _ in range(random.choice((0, 1)))
    )
    success, failure = (
        tuple(_operation(random, used) for _ in range(random.randint(1, 3))) for used in (set[bytes](), set[bytes]())
    )
    return Txn(compare, success, failure)


def _comparable(result: Result) -> Result:
    """Return ``result`` without what Scoop does not use: error texts, and the header of a read in a transaction."""
    match result:
        case Failure():
            return replace(result, reason="")
        case TxnResult():
            return replace(result, ranges=tuple(replace(each, revision=0) for each in result.ranges))
        case _:
            return result


def test_random_requests_get_equal_results(etcd: EtcdCluster) -> None:
    random = Random(1)
    store = Store(lambda _: None)
    real = Real(etcd)
    with closing(real.client):
        for _ in range(REQUESTS):
            kind = random.random()
            if kind < 0.7:
                transaction = _transaction(random, store.revision)
                assert _comparable(real.call(transaction)) == _comparable(store.txn(transaction)), transaction
            elif kind < 0.97:
                end = random.choice((b"", b"0"))
                revision = random.randint(max(store.compacted - 3, 1), store.revision)
                read = Range(random.choice(KEYS), end, random.choice((0, revision)), random.choice((0, 1, 2)))
                assert _comparable(real.call(read)) == _comparable(store.range(read)), read
            elif store.compacted < store.revision:  # etcd compacts a revision once
                store.compacted = random.randint(max(store.compacted + 1, store.revision - 10), store.revision)
                etcd.etcdctl("compaction", str(store.compacted))


def test_watches_report_the_same_puts(etcd: EtcdCluster) -> None:
    random = Random(2)
    store = Store(lambda _: None)
    real = Real(etcd)
    with closing(real.client):
        for _ in range(REQUESTS // 3):
            transaction = _transaction(random, store.revision)
            result = real.call(transaction)
            assert isinstance(result, TxnResult)
            store.txn(transaction)
        store.txn(last := Txn((), (Put(b"/d", b"last"),)))
        real.call(last)
        store.compacted = store.revision - 20
        etcd.etcdctl("compaction", str(store.compacted))
        for first in range(store.compacted - 2, store.compacted + 3):
            expected = [] if first < store.compacted else list(store.puts_between(first, store.revision))
            assert real.puts(Watch(b"/", b"0", first), store.revision) == expected
