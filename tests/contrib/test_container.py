"""The files in contrib/container agree with each other and with the server, and the health check works."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from packaging.requirements import Requirement

from contrib.container import healthcheck, pins
from scoop_core import InternetAddress

from scoop_etcd.options import EtcdSettings
from scoop_server.config.limits import Limits
from scoop_server.config.settings import OPTIONS

from tests.support.dockerfile import final, instructions, variables
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess
from tests.support.settings import read_settings

pytestmark = pytest.mark.any_python

ROOT: Final = Path(__file__).parents[2]
CONTAINER: Final = ROOT / "contrib" / "container"
HEALTH_CHECK: Final = CONTAINER / "healthcheck.py"

PINNED: Final = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")
"""An image with an exact version and its digest."""

_CAN_BE_PROCESS_1: Final = (
    shutil.which("unshare") is not None
    and subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0
)


def load(name: str) -> Any:
    """Return the contents of a YAML file."""
    return yaml.safe_load((CONTAINER / name).read_text())


# The image


def test_the_base_image_is_pinned_by_digest() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert bases == ["${BASE}", "${BASE}"]
    base = next(rest for name, rest in instructions() if name == "ARG")
    assert PINNED.fullmatch(base.removeprefix("BASE="))


def test_the_image_copies_existing_files_which_are_all_that_the_build_sees() -> None:
    copies = [rest.split() for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    copied = {source for *sources, _ in copies for source in sources}
    assert all((ROOT / path).exists() for path in copied)
    everything, *rules = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert everything == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    assert {"**/__pycache__", "packages/*/dist"} <= set(rules)


def test_the_image_installs_its_packages_and_nothing_without_a_hash() -> None:
    installs = [json.loads(rest) for name, rest in instructions() if name == "RUN" and '"install"' in rest]
    installs = [command for command in installs if "pip" in command[0]]
    assert all("--require-hashes" in command or "--no-index" in command for command in installs)
    assert installs[-1][-len(pins.CONTENTS) :] == list(pins.CONTENTS)


@pytest.mark.parametrize("file", pins.required(), ids=lambda file: str(file.name))
def test_every_requirement_is_pinned_with_hashes(file: Path) -> None:
    pinned = {}
    for line in file.read_text().replace("\\\n", "").splitlines():
        requirement, *hashes = line.split(" --hash=sha256:")
        name, _, version = requirement.partition(" ;")[0].strip().partition("==")
        assert version
        assert hashes
        pinned[name] = version
    for text in pins.required()[file]:
        needed = Requirement(text)
        assert needed.specifier.contains(pinned[needed.name]), text


def test_the_nodes_are_replicated() -> None:
    environment = load("replicated.yaml")["x-node"]["environment"]
    assert read_settings([], environment).part(EtcdSettings).urls is not None


def test_the_members_of_etcd_are_one_cluster_of_an_exact_version() -> None:
    file = load("replicated.yaml")
    assert re.fullmatch(r"\S+:v3\.[5-9]\.\d+(@sha256:[0-9a-f]{64})?", file["x-etcd"]["image"])
    members = {name: each for name, each in file["services"].items() if name.startswith("etcd")}
    for name, member in members.items():
        given = member["environment"]
        assert given["ETCD_NAME"] == name
        assert f"{name}={given['ETCD_INITIAL_ADVERTISE_PEER_URLS']}" in given["ETCD_INITIAL_CLUSTER"].split(",")
        assert given["ETCD_ADVERTISE_CLIENT_URLS"] in file["x-node"]["environment"]["SCOOP_ETCD"].split(",")
        assert member["volumes"] == [f"{name}:/data"]
    assert file["volumes"].keys() == members.keys()


def test_the_server_runs_without_a_shell() -> None:
    for name, rest in instructions():
        if name in {"RUN", "ENTRYPOINT", "CMD"}:
            assert isinstance(json.loads(rest), list)
    [health_check] = final("HEALTHCHECK")
    assert isinstance(json.loads(health_check.partition("CMD ")[2]), list)
    assert final("STOPSIGNAL") == ["SIGTERM"]


def test_the_server_runs_as_an_unprivileged_user_that_owns_its_volume() -> None:
    [user] = final("USER")
    number, group = user.split(":")
    assert int(number) > 0
    [volume] = final("VOLUME")
    [made] = [json.loads(rest) for rest in final("RUN")]
    assert {f"--owner={number}", f"--group={group}", volume} <= set(made)
    assert variables()["SCOOP_DATA_DIR"] == volume


def test_the_environment_holds_valid_options_and_their_ports_are_exposed() -> None:
    given = variables()
    assert given.keys() <= {option.variable for option in OPTIONS}
    settings = read_settings([], given)
    assert settings.admin is not None
    assert isinstance(settings.admin.place, InternetAddress)
    assert final("EXPOSE") == [f"{settings.port} {settings.admin.place.port}"]


def test_the_entry_point_has_valid_arguments() -> None:
    [entry_point] = final("ENTRYPOINT")
    program, *arguments = json.loads(entry_point)
    assert Path(program).name == "scoop-server"
    read_settings(arguments, {})


# The health check


def check_health(**variables: str) -> tuple[int, str]:
    """Run the health check as in the container; return its exit status and what it prints, without an error."""
    inherited = {name: value for name, value in os.environ.items() if name != "SCOOP_ADMIN"}
    done = subprocess.run(
        [sys.executable, str(HEALTH_CHECK)],
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_health_check_succeeds_only_while_the_server_is_ready(tmp_path: Path) -> None:
    inside = variables() | {"SCOOP_HOST": "127.0.0.1", "SCOOP_ADMIN": "127.0.0.1:0", "SCOOP_DATA_DIR": str(tmp_path)}
    with ServerProcess(variables=inside) as server:
        admin = server.wait_for_log(r"serving the admin endpoint at http://127\.0\.0\.1:(\d+)")
        assert check_health(SCOOP_ADMIN=f"0.0.0.0:{admin[1]}") == (0, "200 ready\n")
        with server.connect() as client:
            assert client.ask("INDEX|gmp|") == ["OK"]
    assert check_health(SCOOP_ADMIN=f"0.0.0.0:{admin[1]}")[0] == 1


def test_the_health_check_queries_a_unix_socket(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path / 'admin'}"
    assert check_health(SCOOP_ADMIN=admin)[0] == 1
    with ServerProcess("--memory", "--admin", admin):
        assert check_health(SCOOP_ADMIN=admin) == (0, "200 ready\n")


@pytest.mark.parametrize(
    "admin", [{}, {"SCOOP_ADMIN": ""}, {"SCOOP_ADMIN": "localhost"}, {"SCOOP_ADMIN": "127.0.0.1:http"}]
)
def test_the_health_check_without_an_address_says_what_to_set(admin: dict[str, str]) -> None:
    found = admin.get("SCOOP_ADMIN", "")
    assert check_health(**admin) == (1, f"expected HOST:PORT or unix:PATH in --admin or SCOOP_ADMIN, got {found!r}\n")


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ([], "0.0.0.0:9180"),
        (["scoop-server"], "0.0.0.0:9180"),
        (["scoop-server", "--admin", "127.0.0.1:1"], "127.0.0.1:1"),
        (["scoop-server", "--admin=127.0.0.1:1", "--memory", "--admin=unix:/run/admin"], "unix:/run/admin"),
        (["scoop-server", "--admin"], ""),
    ],
)
def test_the_flag_of_the_server_comes_before_the_variable(command: list[str], address: str) -> None:
    assert healthcheck.admin_address(command, {"SCOOP_ADMIN": "0.0.0.0:9180"}) == address


@pytest.mark.parametrize(
    ("address", "host"),
    [("0.0.0.0:9180", "127.0.0.1"), ("[::]:9180", "::1"), ("10.0.0.1:9180", "10.0.0.1"), ("[::1]:9180", "::1")],
)
def test_the_health_check_connects_to_the_address_or_to_loopback(address: str, host: str) -> None:
    connection = healthcheck.connection_to(address)
    assert (connection.host, connection.port) == (host, 9180)


@pytest.mark.skipif(not _CAN_BE_PROCESS_1, reason="process namespaces are not allowed here")
def test_a_server_that_is_process_1_stops_at_sigterm(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", *MODULE_COMMAND]
    with ServerProcess("--data-dir", str(tmp_path / "data"), command=command) as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        assert "NSpid:" in (status := Path(f"/proc/{int(children)}/status").read_text())
        assert re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
        os.kill(int(children), signal.SIGTERM)
        assert server.wait() == 0
    assert any("received SIGTERM" in line for line in server.log_lines)


# Compose


def test_the_services_are_pinned_and_published_on_loopback_only() -> None:
    services = load("compose.yaml")["services"]
    assert services.keys() == {"scoop", "explorer", "prometheus", "grafana"}
    for name, each in services.items():
        assert name in {"scoop", "explorer"} or PINNED.fullmatch(each["image"])
        assert all(port.startswith("127.0.0.1:") for port in each["ports"])


def test_the_files_and_volumes_of_the_services_exist() -> None:
    compose = load("compose.yaml")
    for each in compose["services"].values():
        for source in (volume.split(":")[0] for volume in each["volumes"]):
            assert (CONTAINER / source).is_file() if source.startswith(".") else source in compose["volumes"]
    build = compose["services"]["scoop"]["build"]
    assert (CONTAINER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_grace_period_exceeds_the_drain_timeout() -> None:
    period = load("compose.yaml")["services"]["scoop"]["stop_grace_period"]
    assert 60 * int(period.removesuffix("m")) >= 2 * Limits().drain_seconds_max


def test_prometheus_scrapes_the_admin_endpoint_and_loads_the_rules() -> None:
    prometheus = load("prometheus.yml")
    [job] = prometheus["scrape_configs"]
    admin_port = variables()["SCOOP_ADMIN"].rpartition(":")[2]
    assert job == {"job_name": "scoop", "static_configs": [{"targets": [f"scoop:{admin_port}"]}]}
    mounted = [volume.split(":")[1] for volume in load("compose.yaml")["services"]["prometheus"]["volumes"]]
    assert set(prometheus["rule_files"]) <= set(mounted)


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    services = load("compose.yaml")["services"]
    [source] = load("grafana-datasource.yml")["datasources"]
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0].rpartition(':')[2]}"
    [provider] = load("grafana-dashboards.yml")["providers"]
    mounted = [Path(volume.split(":")[1]) for volume in services["grafana"]["volumes"]]
    assert Path(provider["options"]["path"]) in [path.parent for path in mounted if path.suffix == ".json"]
