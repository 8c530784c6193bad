"""The manifests in contrib/kubernetes agree with each other, with the image and with the server."""

from typing import Any, Final

import pytest
import yaml

from scoop_etcd.options import EtcdSettings
from scoop_server.config.limits import Limits

from tests.support.dockerfile import variables
from tests.support.pages import ROOT
from tests.support.settings import read_settings

pytestmark = pytest.mark.any_python

DIRECTORY: Final = ROOT / "contrib" / "kubernetes"
WORKLOADS: Final = {"replicated.yaml": "Deployment", "single.yaml": "StatefulSet"}


def load(name: str) -> dict[str, Any]:
    """Return the objects of a file by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((DIRECTORY / name).read_text())}


def workload(name: str) -> dict[str, Any]:
    """Return the specification of the pods in a file, and of what starts them."""
    spec: dict[str, Any] = load(name)[WORKLOADS[name]]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    [only] = workload(name)["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(name: str) -> dict[str, str]:
    """Return the variables of the container: those of the image, with those of the manifest."""
    return variables() | {each["name"]: each["value"] for each in container(name)["env"]}


def test_every_object_selects_the_pods() -> None:
    shared = load("service.yaml")
    assert shared.keys() == {"Service", "NetworkPolicy"}
    [budget] = [load("replicated.yaml")["PodDisruptionBudget"]]
    [monitor] = load("podmonitor.yaml").values()
    selectors = [shared["Service"]["spec"]["selector"], shared["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in (budget, monitor)]
    for name in WORKLOADS:
        selectors += [workload(name)["selector"]["matchLabels"], workload(name)["template"]["metadata"]["labels"]]
    assert selectors == [selectors[0]] * len(selectors)
    assert workload("replicated.yaml")["replicas"] - budget["spec"]["maxUnavailable"] >= 2


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_pods_are_confined(name: str) -> None:
    pod = workload(name)["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # or SCOOP_PORT would be the URL of the Service
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] >= 2 * Limits().drain_seconds_max


def test_the_network_policy_admits_labelled_pods_and_the_monitoring_only() -> None:
    policy = load("service.yaml")["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    admitted = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert admitted == {
        "index": [{"podSelector": {"matchLabels": {"scoop-client": "true"}}}],
        "admin": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_ports_and_probes_are_those_of_the_server(name: str) -> None:
    inside = environment(name)
    ports = {each["name"]: str(each["containerPort"]) for each in container(name)["ports"]}
    assert ports == {"index": inside["SCOOP_PORT"], "admin": inside["SCOOP_ADMIN"].rpartition(":")[2]}
    probes = {name: each for name, each in container(name).items() if name.endswith("Probe")}
    # Not /readyz: a node that waits for etcd, or for space on its disk, is not to be restarted.
    for probe in ("startupProbe", "livenessProbe"):
        assert probes[probe]["httpGet"] == {"path": "/livez", "port": "admin"}
    # A single server that is read-only still answers queries, which nobody else would.
    ready = {
        "replicated.yaml": {"httpGet": {"path": "/readyz", "port": "admin"}},
        "single.yaml": {"tcpSocket": {"port": "index"}},
    }
    assert ready[name].items() <= probes["readinessProbe"].items()


def test_the_jobs_of_the_pod_monitor_are_those_of_the_alerts() -> None:
    [monitor] = load("podmonitor.yaml").values()
    assert workload("single.yaml")["template"]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "scoop"
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "admin"}]


def test_the_nodes_are_replicated_and_the_single_server_is_not() -> None:
    assert read_settings([], environment("replicated.yaml")).part(EtcdSettings).urls is not None
    single = read_settings([], environment("single.yaml"))
    assert single.part(EtcdSettings).urls is None


def test_the_single_server_keeps_its_index_on_its_volume() -> None:
    spec = workload("single.yaml")
    assert spec["replicas"] == 1
    [claim] = spec["volumeClaimTemplates"]
    [mount] = container("single.yaml")["volumeMounts"]
    assert mount["name"] == claim["metadata"]["name"]
    # Below the mount point: its owner and mode are those of the volume, and it may hold lost+found.
    directory = read_settings([], environment("single.yaml")).data_dir
    assert directory is not None
    assert str(directory.parent) == mount["mountPath"]
