"""Short runs of the campaign on replication, and Homebrew on three nodes."""

import json
import random
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.homebrew import play_five_phases
from tests.support.process import ServerProcess

pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")

from tests.replication.run import main  # after the check of its requirements
from tests.replication.witness import Witness

pytestmark = [needs_etcd, pytest.mark.campaign]


def test_faults_of_nodes_and_members_break_no_guarantee() -> None:
    assert main(["--seconds", "25"]) == 0


def test_the_witness_reads_the_entries_that_are_no_longer_in_the_history_of_etcd(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        with ServerProcess("--etcd", etcd.urls) as node, node.connect() as client:
            client.ask_one_by_one("INDEX|gmp|", "INDEX|isl|gmp")
        revision: int = json.loads(etcd.etcdctl("put", "other", "", "-w", "json"))["header"]["revision"]
        etcd.etcdctl("compaction", str(revision))
        with closing(Witness(etcd.endpoints, "/scoop/")) as witness:
            witness.wait_for(revision)
            assert witness.lines() == ["INDEX|gmp|", "INDEX|isl|gmp"]


@pytest.mark.parametrize("depth", [500, 1])
def test_100_clients_of_three_nodes_index_and_remove_the_homebrew_list(tmp_path: Path, depth: int) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # shown on failure
    with ExitStack() as resources:
        etcd = resources.enter_context(EtcdCluster(tmp_path, 3))
        nodes = [resources.enter_context(ServerProcess("--etcd", etcd.urls)) for _ in range(3)]
        first, *others = (node.address for node in nodes)
        play_five_phases(first, 100, seed, depth, others)
    assert all(node.wait() == 0 for node in nodes)
