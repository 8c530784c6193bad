"""The paths of the admin endpoint, at each stage of a run."""

import json
import platform
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph

from scoop_server import __version__, form
from scoop_server.admin.endpoint import open_endpoint
from scoop_server.config.addresses import parse_listen_address
from scoop_server.errors import ListenError
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.telemetry.health import STUCK_SECONDS, Health
from scoop_server.telemetry.statistics import Stage, Statistics

from tests.support.admin import WHERE, RawClient, get, place_of
from tests.support.event_loop import Clock
from tests.support.held import HeldServer
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end

ADMIN: Final = ("--admin", "127.0.0.1:0")

WITHOUT_PROMETHEUS_CLIENT: Final = (
    sys.executable,
    "-c",
    "import sys; sys.modules['prometheus_client'] = None; from scoop_server.cli.main import main; sys.exit(main())",
)


@pytest.fixture
def health() -> Health:
    return Health(Statistics())


@pytest.fixture
def place(health: Health) -> Iterator[str]:
    with closing(open_endpoint(parse_listen_address("tcp:127.0.0.1:0"), health)) as endpoint:
        yield endpoint.address


@pytest.mark.parametrize("stage", Stage)
def test_a_run_is_alive_at_every_stage_and_ready_while_it_serves(health: Health, place: str, stage: Stage) -> None:
    health.statistics.stage = stage
    assert get(place, "/livez") == (200, "ok\n")
    assert get(place, "/readyz") == ((200, "ready\n") if stage is Stage.SERVING else (503, f"{stage}\n"))


def test_a_run_that_refuses_changes_is_not_ready(health: Health, place: str) -> None:
    health.statistics.stage = Stage.SERVING
    store = MemoryStore()
    store.read_only_reason = "the disk is full"
    health.index = LocalIndex[object](DependencyGraph(), store)
    assert get(place, "/livez") == (200, "ok\n")
    assert get(place, "/readyz") == (503, "read-only\n")


def test_a_stuck_event_loop_is_neither_alive_nor_ready(health: Health, place: str) -> None:
    clock = health.statistics.clock = Clock()
    health.statistics.stage, health.statistics.last_tick = Stage.SERVING, clock.now
    clock.now += STUCK_SECONDS + 1
    assert [get(place, path) for path in ("/livez", "/readyz")] == [(503, "stuck\n")] * 2


def test_version_is_json(place: str) -> None:
    with RawClient(place) as client:
        client.send("GET /version HTTP/1.0")
        status, header, body = client.response()
    assert (status, header["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "version": __version__,
        "form": form(),
        "python": platform.python_version(),
        "platform": sys.platform,
    }


def test_metrics_have_the_media_type_of_prometheus(place: str) -> None:
    with RawClient(place) as client:
        client.send("GET /metrics HTTP/1.0")
        status, header, body = client.response()
    assert status == 200
    assert header["Content-Type"].startswith("text/plain; version=")
    assert b"\nscoop_ready 0.0\n" in body


def test_an_unknown_path_is_answered_with_the_known_ones(place: str) -> None:
    assert get(place, "/") == (404, "Not Found: the paths are /livez, /readyz, /metrics, /version\n")


# Addresses


def test_a_unix_socket_serves_its_owner_and_group(health: Health, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with closing(open_endpoint(parse_listen_address(f"unix:{path}"), health)), socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o660
        client.settimeout(WAIT_SECONDS)
        client.connect(str(path))
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as reader:
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            assert reader.read().endswith(b"\r\n\r\nok\n")
    assert not path.exists()


def test_an_address_that_cannot_be_used_names_the_option(health: Health) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:9180: .*; name another address with --admin"):
        open_endpoint(parse_listen_address("tcp:192.0.2.1:9180"), health)


def test_an_address_that_is_taken_prevents_the_start_before_the_index_is_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run_to_end("--port", "0", "--admin", place, "--data-dir", str(tmp_path / "data"))
    assert ended.returncode == 1
    assert f"cannot listen on {place}: Address already in use" in ended.stderr
    assert not list(tmp_path.glob("data/snapshot-*"))


def test_an_address_that_other_machines_can_reach_is_a_warning(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_endpoint(parse_listen_address("tcp:0.0.0.0:0"), health)):
        pass
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(
        r"the admin endpoint at http://0\.0\.0\.0:\d+ is reachable from other machines; restrict access to it", warning
    )


# The process


def test_without_prometheus_client_the_metrics_name_the_package_and_probes_work() -> None:
    with ServerProcess("--memory", *ADMIN, command=WITHOUT_PROMETHEUS_CLIENT) as server:
        assert get(place_of(server), "/metrics") == (
            501,
            "prometheus_client is not installed; install it with: pip install 'scoop-server[metrics]'\n",
        )
        assert get(place_of(server), "/readyz") == (200, "ready\n")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory that holds one package."""
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server, server.connect() as client:
        assert client.ask("INDEX|a|") == ["OK"]
    return tmp_path / "data"


def place_of_held(server: HeldServer) -> str:
    server.process.wait_for_log("serving the admin endpoint at")
    where = re.search(WHERE, server.process.log)
    assert where is not None
    return where[1]


def test_a_server_that_loads_is_alive_and_not_ready(tmp_path: Path, directory: Path) -> None:
    with HeldServer("loading", tmp_path, "--data-dir", str(directory), *ADMIN) as held:
        place = place_of_held(held)
        held.wait_until_held()
        assert get(place, "/livez") == (200, "ok\n")
        assert get(place, "/readyz") == (503, "loading\n")
        held.let_go()
        with held.connect() as client:
            assert client.ask("QUERY|a|") == ["OK"]
            assert get(place, "/readyz") == (200, "ready\n")
            assert "\nscoop_packages 1.0\n" in get(place, "/metrics")[1]


def test_a_server_that_saves_is_alive_and_not_ready(tmp_path: Path, directory: Path) -> None:
    with HeldServer("saving", tmp_path, "--data-dir", str(directory), *ADMIN) as held:
        place = place_of_held(held)
        with held.connect() as client:
            assert client.ask("INDEX|b|a") == ["OK"]
        held.process.send_signal(signal.SIGTERM)
        held.wait_until_held()
        assert get(place, "/livez") == (200, "ok\n")
        assert get(place, "/readyz") == (503, "saving\n")
        held.let_go()
        assert held.process.wait() == 0


def test_bad_clients_of_the_endpoint_cost_the_clients_of_the_index_nothing() -> None:
    with ServerProcess("--memory", *ADMIN) as server, server.connect() as client, ExitStack() as bad_clients:
        place = place_of(server)
        for number in range(200):
            bad = bad_clients.enter_context(RawClient(place)).socket
            bad.sendall((b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", b"GET /me", b"\xff" * 9_000)[number % 3])
            assert client.ask(f"INDEX|{number}|", f"QUERY|{number}|") == ["OK", "OK"]
        assert get(place, "/readyz") == (200, "ready\n")
        assert server.stop() == 0
