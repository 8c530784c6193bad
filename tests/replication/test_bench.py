"""The benchmark of replication runs, and its alternative follows the rules of the index."""

from pathlib import Path

import pytest

from tests.support.etcd_cluster import EtcdCluster, needs_etcd

pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")

import grpc

from bench.replication.command_line import main
from bench.replication.transactions import transaction

from scoop_etcd.client.rpc_pb2 import TxnResponse

pytestmark = [needs_etcd, pytest.mark.any_python]


def test_one_transaction_of_etcd_answers_a_request(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd, grpc.insecure_channel(etcd.endpoints[0]) as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Txn")

        def is_ok(line: str, removed: str = "") -> bool:
            succeeded: bool = TxnResponse.FromString(call(transaction(line, removed))).succeeded
            return succeeded

        assert not is_ok("INDEX|isl|gmp")
        assert is_ok("INDEX|gmp|")
        assert is_ok("INDEX|isl|gmp")
        assert not is_ok("REMOVE|gmp|")
        assert is_ok("REMOVE|isl|", "gmp")
        assert is_ok("REMOVE|gmp|")


@pytest.mark.campaign
def test_every_section_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1", "--seconds", "0.1", "--packages", "2000", "--output", str(tmp_path)]) == 0
    goals = capsys.readouterr().out.partition("Goals\n")[2].rstrip().splitlines()
    assert len(goals) == 1 + 8
    assert list(tmp_path.iterdir()) == []
