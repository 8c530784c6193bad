"""The client of etcd, with real members."""

import select
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scoop_etcd.client.api import (
    Compare,
    Delete,
    ErrorCode,
    EtcdClient,
    EtcdRequest,
    Failure,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Put,
    Range,
    RangeResult,
    Result,
    Target,
    Ticket,
    Txn,
    TxnResult,
    Watch,
    WatchEnded,
    WatchEvents,
)
from scoop_etcd.client.connection_settings import ConnectionSettings, Credentials
from scoop_etcd.client.failures import explained
from scoop_etcd.connection import open_client

from tests.support.certificates import CertificateFiles
from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import WAIT_SECONDS, free_port

pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")

from scoop_etcd.client import rpc_pb2  # after the check of its requirements
from scoop_etcd.client.grpc_client import GrpcEtcdClient

pytestmark = needs_etcd


class Caller:
    """Waits for completions of a client."""

    def __init__(
        self, cluster: ConnectionSettings, seconds_max: float = 10.0, client: EtcdClient | None = None
    ) -> None:
        self.client: EtcdClient = client or GrpcEtcdClient(cluster, seconds_max)
        self.completed: list[tuple[Ticket, Result]] = []

    def next_result(self, ticket: Ticket) -> Result:
        """Return the next completion of ``ticket``."""
        while True:
            for each in self.completed:
                if each[0] == ticket:
                    self.completed.remove(each)
                    return each[1]
            assert select.select([self.client], [], [], WAIT_SECONDS)[0]
            self.completed += self.client.poll()

    def call(self, request: EtcdRequest) -> Result:
        """Return the result of ``request``."""
        return self.next_result(self.client.submit(request))

    def put(self, key: bytes, value: bytes) -> int:
        """Put a key; return its revision. On a busy machine, the first attempts may time out."""
        while isinstance(result := self.call(Txn((), (Put(key, value),))), Failure):
            assert not result.code.is_definite
        assert isinstance(result, TxnResult)
        return result.revision

    def failure(self, request: EtcdRequest) -> Failure:
        """Return the failure of ``request``, other than a time-out, which a busy machine explains."""
        while True:
            result = self.call(request)
            assert isinstance(result, Failure)
            if result.code is not ErrorCode.TIMED_OUT:
                return result

    def puts_until(self, ticket: Ticket, count: int) -> list[KeyValue]:
        """Return the first ``count`` puts that a watch reports."""
        kvs: list[KeyValue] = []
        while len(kvs) < count:
            events = self.next_result(ticket)
            assert isinstance(events, WatchEvents), events
            kvs += events.kvs
        return kvs

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


@pytest.fixture
def caller(etcd: EtcdCluster) -> Iterator[Caller]:
    with closing(Caller(ConnectionSettings(etcd.endpoints))) as caller:
        caller.call(Txn((), (Delete(b"/", b"0"),)))
        yield caller


def test_a_range_returns_keys_in_order_with_their_attributes(caller: Caller) -> None:
    first, second = caller.put(b"/b", b"1"), caller.put(b"/a", b"2")
    third = caller.put(b"/b", b"3")
    result = caller.call(Range(b"/", b"0"))
    kvs = KeyValue(b"/a", b"2", second, second), KeyValue(b"/b", b"3", first, third)
    assert result == RangeResult(third, kvs)
    old = caller.call(Range(b"/b", revision=second))
    assert isinstance(old, RangeResult)
    assert [kv.value for kv in old.kvs] == [b"1"]


def test_a_limited_range_reports_that_there_are_more_keys(caller: Caller) -> None:
    caller.put(b"/a", b"1")
    caller.put(b"/b", b"1")
    result = caller.call(Range(b"/", b"0", limit=1, keys_only=True))
    assert isinstance(result, RangeResult)
    assert ([(kv.key, kv.value) for kv in result.kvs], result.more) == ([(b"/a", b"")], True)


@pytest.mark.parametrize("target", Target)
def test_a_condition_of_zero_holds_while_the_key_is_missing(caller: Caller, target: Target) -> None:
    append = Txn((Compare(b"/a", target, 0),), (Put(b"/a", b"1"),), (Range(b"/a"),))
    first = caller.call(append)
    assert isinstance(first, TxnResult)
    assert first == TxnResult(first.revision, succeeded=True)
    kv = KeyValue(b"/a", b"1", first.revision, first.revision)
    again = TxnResult(first.revision, succeeded=False, ranges=(RangeResult(first.revision, (kv,)),))
    assert caller.call(append) == again


def test_a_lease_is_granted_and_kept_until_it_ends_with_its_keys(caller: Caller, etcd: EtcdCluster) -> None:
    granted = caller.call(LeaseGrant(100))
    assert isinstance(granted, LeaseResult)
    caller.call(Txn((), (Put(b"/a", b"1", granted.lease),)))
    assert caller.call(LeaseKeepAlive(granted.lease)) == granted
    etcd.etcdctl("lease", "revoke", f"{granted.lease:x}")
    gone = caller.call(Range(b"/a"))
    assert isinstance(gone, RangeResult)
    assert gone.kvs == ()
    for request in (LeaseKeepAlive(granted.lease), Txn((), (Put(b"/a", b"1", granted.lease),))):
        assert caller.failure(request).code is ErrorCode.LEASE_NOT_FOUND


def test_a_watch_reports_every_put_from_its_revision_on_and_no_deletion(caller: Caller) -> None:
    start = caller.put(b"/a", b"1")
    watch = caller.client.submit(Watch(b"/", b"0", start))
    caller.call(Txn((), (Delete(b"/a"),)))
    caller.put(b"/a", b"2")
    assert [(kv.key, kv.value) for kv in caller.puts_until(watch, 2)] == [(b"/a", b"1"), (b"/a", b"2")]


def test_a_watch_that_has_fallen_behind_gets_all_events_in_fragments(caller: Caller) -> None:
    start = caller.put(b"/start", b"")
    value = bytes(1_000_000)
    for number in range(20):
        caller.put(b"/%d" % number, value)
    watch = caller.client.submit(Watch(b"/", b"0", start))
    assert [kv.key for kv in caller.puts_until(watch, 21)] == [b"/start", *(b"/%d" % number for number in range(20))]


def test_a_cancelled_watch_reports_nothing_more(caller: Caller) -> None:
    first = caller.client.submit(Watch(b"/", b"0", caller.put(b"/a", b"1")))
    caller.puts_until(first, 1)
    caller.client.cancel(first)
    second = caller.client.submit(Watch(b"/", b"0", caller.put(b"/a", b"2")))
    caller.puts_until(second, 1)
    assert first not in {ticket for ticket, _ in (*caller.completed, *caller.client.poll())}


def test_compaction_fails_older_reads_and_ends_older_watches(caller: Caller, etcd: EtcdCluster) -> None:
    old, new = caller.put(b"/a", b"1"), caller.put(b"/a", b"2")
    etcd.etcdctl("compaction", str(new))
    assert caller.failure(Range(b"/a", revision=old)).code is ErrorCode.COMPACTED
    ended = caller.call(Watch(b"/", b"0", old))
    assert isinstance(ended, WatchEnded)
    assert ended.code is ErrorCode.COMPACTED


def test_a_request_that_is_too_large_has_a_code_of_its_own(caller: Caller) -> None:
    assert caller.failure(Txn((), (Put(b"/a", bytes(2_000_000)),))).code is ErrorCode.TOO_LARGE


def test_wake_makes_the_descriptor_readable_until_the_next_poll(caller: Caller) -> None:
    for _ in range(2):
        caller.client.wake()
    assert select.select([caller.client], [], [], 0)[0]
    assert caller.client.poll() == []
    assert not select.select([caller.client], [], [], 0)[0]


def test_an_exhausted_quota_has_a_code_of_its_own(tmp_path: Path) -> None:
    arguments = ["--quota-backend-bytes", "1000000"]
    with (
        EtcdCluster(tmp_path, arguments=arguments) as etcd,
        closing(Caller(ConnectionSettings(etcd.endpoints))) as caller,
    ):
        append = Txn((), (Put(b"/a", bytes(500_000)),))
        while isinstance(result := caller.call(append), TxnResult):  # etcd notices at its next commit
            pass
        assert isinstance(result, Failure)
        assert (result.code, result.code.is_definite) == (ErrorCode.NO_SPACE, True)


# Failover


def test_an_endpoint_that_refuses_connections_costs_nothing(etcd: EtcdCluster) -> None:
    endpoints = [f"127.0.0.1:{free_port()}", *etcd.endpoints]
    with closing(Caller(ConnectionSettings(endpoints))) as caller:
        start = caller.put(b"/a", b"1")
        assert caller.puts_until(caller.client.submit(Watch(b"/", b"0", start)), 1)
    with closing(Caller(ConnectionSettings(endpoints))) as caller:
        assert caller.puts_until(caller.client.submit(Watch(b"/", b"0", start)), 1)


def test_without_any_member_requests_and_watches_are_unavailable() -> None:
    with closing(Caller(ConnectionSettings([f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]))) as caller:
        assert caller.failure(Range(b"/a")).code is ErrorCode.UNAVAILABLE
        ended = caller.call(Watch(b"/", b"0", 1))
        assert isinstance(ended, WatchEnded)
        assert ended.code is ErrorCode.UNAVAILABLE


def test_nodes_begin_at_different_members() -> None:
    connection = ConnectionSettings([f"127.0.0.1:{free_port()}" for _ in range(3)])
    reasons = set[str]()
    for _ in range(30):
        with closing(Caller(connection, client=open_client(connection, 10.0))) as caller:
            reasons.add(caller.failure(Range(b"/a")).reason)
    assert len(reasons) == 3, "the reason names the last one"


def test_a_member_that_does_not_answer_is_replaced_by_another(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path, 3) as etcd, closing(Caller(ConnectionSettings(etcd.endpoints), 1.0)) as caller:
        start = caller.put(b"/a", b"1")
        watch = caller.client.submit(Watch(b"/", b"0", start))
        caller.puts_until(watch, 1)
        etcd.members[0].send_signal(signal.SIGSTOP)
        while isinstance(
            result := caller.call(Range(b"/a")), Failure
        ):  # a time-out first, then until there is a leader
            assert not result.code.is_definite
        ended = caller.next_result(watch)
        assert isinstance(ended, WatchEnded)
        # The requests find it out, or on a slow machine the ping of the connection, which gRPC sends.
        assert ended.reason.endswith(("no response in time", "(ping timeout)"))
        elsewhere = caller.client.submit(Watch(b"/", b"0", start, elsewhere=True))
        assert caller.puts_until(elsewhere, 1)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ("UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", "Connection refused"),
        (
            "UNKNOWN: ipv6:%5B::1%5D:1: Tls handshake failed: CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
            "cannot verify the certificate of etcd: certificate has expired; check --etcd-ca",
        ),
        ("UNAVAILABLE: ipv4:127.0.0.1:1: Unwrap failed (TSI_DATA_CORRUPTED)", "etcd rejects the client certificate"),
        ("UNAVAILABLE: Stream removed (Deadline Exceeded)", "no response in time"),
    ],
)
def test_the_reasons_of_grpc_are_explained(details: str, reason: str) -> None:
    assert explained(f"failed to connect to all addresses; last error: {details}").startswith(reason)


# TLS, users


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateFiles.make(tmp_path_factory.mktemp("certificates") / "files")


def test_tls_needs_the_authority_and_a_client_certificate(tmp_path: Path, certificates: CertificateFiles) -> None:
    client, ca = certificates.client_cert.read_bytes(), certificates.authority.read_bytes()
    with EtcdCluster(tmp_path, tls=certificates) as etcd:
        with closing(
            Caller(ConnectionSettings(etcd.endpoints, True, Credentials(ca=ca, certificate=client, key=client)))
        ) as caller:
            assert caller.put(b"/a", b"1")
        for wrong in (Credentials(ca=ca), Credentials(certificate=client, key=client)):
            with closing(Caller(ConnectionSettings(etcd.endpoints, True, wrong))) as caller:
                assert caller.failure(Range(b"/a")).code is ErrorCode.UNAVAILABLE


@pytest.mark.any_python
def test_a_user_needs_the_password_and_a_lost_token_is_renewed(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        for command in ("user add root:secret", "role add root", "user grant-role root root", "user add guest:guest"):
            etcd.etcdctl(*command.split())
        etcd.etcdctl("auth", "enable")
        with closing(Caller(ConnectionSettings(etcd.endpoints, credentials=Credentials("root", "secret")))) as caller:
            start = caller.put(b"/a", b"1")
            etcd.members[0].kill()  # its tokens are in memory only
            etcd.start(*etcd.members)
            while isinstance(result := caller.call(Range(b"/a")), Failure):
                assert result.code in {ErrorCode.UNAVAILABLE, ErrorCode.TIMED_OUT}
            assert caller.puts_until(caller.client.submit(Watch(b"/", b"0", start)), 1)
        for credentials, code in (
            (Credentials("root", "wrong"), ErrorCode.UNAUTHENTICATED),
            (Credentials(), ErrorCode.UNAUTHENTICATED),
            (Credentials("guest", "guest"), ErrorCode.PERMISSION_DENIED),
        ):
            with closing(Caller(ConnectionSettings(etcd.endpoints, credentials=credentials))) as caller:
                assert caller.failure(Range(b"/a")).code is code
                ended = caller.call(Watch(b"/", b"0", 1))
                assert isinstance(ended, WatchEnded)
                assert ended.code is code


def test_credentials_show_no_secret() -> None:
    shown = repr(ConnectionSettings(["host:1"], True, Credentials("root", "secret", b"secret", b"secret", b"secret")))
    assert "secret" not in shown


def test_the_generated_messages_are_those_of_the_proto_file(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    source = Path(rpc_pb2.__file__).parents[2]
    proto = "scoop_etcd/client/rpc.proto"
    assert protoc.main(["", f"-I{source}", f"--python_out={tmp_path}", proto]) == 0
    generated, kept = (Path(each) for each in (tmp_path / "scoop_etcd/client/rpc_pb2.py", rpc_pb2.__file__))
    [line] = [each for each in generated.read_text().splitlines() if each.startswith("DESCRIPTOR = ")]
    assert line in kept.read_text()
