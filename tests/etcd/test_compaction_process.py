"""The process of a compaction, with a real etcd."""

import os
from pathlib import Path

import pytest

from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.compaction_process import start_compaction
from scoop_etcd.formats.records import Config

from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import ServerProcess, run_to_end

PREFIX = "/scoop/"


@needs_etcd
def test_a_compaction_ends_with_status_0(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    with EtcdCluster(tmp_path) as etcd:
        with ServerProcess("--etcd", etcd.urls) as node, node.connect() as client:
            assert client.ask("INDEX|gmp|", "INDEX|isl|gmp") == ["OK", "OK"]
        # No node is the compactor any more when its lease is gone, so the key has the create revision 0.
        for lease in etcd.etcdctl("lease", "list").split("\n")[1:-1]:
            etcd.etcdctl("lease", "revoke", lease)
        process = start_compaction(ConnectionSettings(etcd.endpoints), PREFIX, "text", Config(False, 65_536), fence=0)
        while (status := process.poll()) is None:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # the end of any child process
        assert status == 0
        checked = run_to_end("check", "--etcd", etcd.urls)
        assert "2 packages" in checked.stdout
        assert "and 0 entries after it" in checked.stdout
