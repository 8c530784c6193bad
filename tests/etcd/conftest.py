"""What the tests with a real etcd share."""

from collections.abc import Iterator

import pytest

from tests.support.etcd_cluster import EtcdCluster


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster
