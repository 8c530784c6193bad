"""The units in contrib/systemd say what the server does, and leave it what it needs."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from scoop_server.app import claims, signals
from scoop_server.config.limits import Limits
from scoop_server.config.settings import OPTIONS, Settings
from scoop_server.errors import ConfigurationError
from scoop_server.net import activation
from scoop_server.net import listener as listening

from tests.support.admin import WHERE, get
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess
from tests.support.prometheus import expressions

UNITS: Final = Path(__file__).parents[2] / "contrib" / "systemd"
SERVICE: Final = UNITS / "scoop.service"
SOCKET: Final = UNITS / "scoop.socket"
TLS_SOCKET: Final = UNITS / "scoop-tls.socket"
UNIX_SOCKET: Final = UNITS / "scoop-unix.socket"
ALL: Final = (SERVICE, SOCKET, TLS_SOCKET, UNIX_SOCKET)

EXPOSURE_MAX: Final = 15
"""In tenths of what ``systemd-analyze security`` tells: 0 is a service that can do no harm, 100 one that can do any."""

needs_systemd_analyze: Final = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_systemctl: Final = pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemctl is not installed")
needs_mounts: Final = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="mounts of its own are not allowed here",
)
needs_strace: Final = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def values(unit: Path, name: str) -> list[str]:
    """Return what ``unit`` assigns to ``name``, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def value(unit: Path, name: str) -> str:
    """Return what ``unit`` assigns to ``name``, once."""
    [only] = values(unit, name)
    return only


def seconds(text: str) -> float:
    """Return a time span of systemd's, as far as these units write them."""
    found = re.fullmatch(r"(\d+)(s|min)", text)
    assert found is not None
    return float(found[1]) * {"s": 1, "min": 60}[found[2]]


def arguments() -> list[str]:
    """Return the arguments that the service gives the server."""
    program, *rest = value(SERVICE, "ExecStart").replace("%S", "/var/lib").split()
    assert Path(program).name == "scoop-server"
    return rest


def analyze(*words: str) -> str:
    """Run systemd-analyze; return what it prints. Raises where it finds fault."""
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd_analyze
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for unit in ALL:
        # The program that it starts is one that is here.
        text = re.sub(r"^(ExecStart=)\S+", rf"\1{sys.executable}", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    printed = analyze("verify", "--man=no", *(str(tmp_path / unit.name) for unit in ALL))
    assert "scoop" not in printed


@needs_systemd_analyze
def test_the_service_is_exposed_as_little_as_promised() -> None:
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(SERVICE))


def test_the_service_gives_flags_that_there_are() -> None:
    known = {"--config", *(option.flag for option in OPTIONS)}
    given = {argument for argument in arguments() if argument.startswith("-")}
    assert given
    assert given <= known


def test_the_service_keeps_the_index_where_systemd_lets_it_write() -> None:
    given = arguments()
    assert given[given.index("--data-dir") + 1] == f"/var/lib/{value(SERVICE, 'StateDirectory')}"


def test_the_signals_are_those_that_the_server_obeys() -> None:
    assert values(SERVICE, "KillSignal") == []  # so it is SIGTERM
    assert value(SERVICE, "ExecReload") == "/bin/kill -HUP $MAINPID"
    assert {signal.SIGHUP, signal.SIGTERM} <= set(signals.HANDLED)


def test_the_times_are_longer_than_what_the_server_takes_without_a_word() -> None:
    limits = Limits()
    assert seconds(value(SERVICE, "TimeoutStopSec")) >= 2 * (limits.drain_seconds_max + limits.linger_seconds_max)
    assert seconds(value(SERVICE, "WatchdogSec")) >= 4 * limits.tick_seconds


def test_the_limit_of_open_files_leaves_room_for_all_clients() -> None:
    assert int(value(SERVICE, "LimitNOFILE")) >= Limits().clients_max + claims.RESERVED_DESCRIPTORS


def test_settings_that_are_wrong_are_not_tried_again() -> None:
    assert value(SERVICE, "RestartPreventExitStatus") == str(ConfigurationError.exit_status)


def test_the_socket_is_where_the_server_would_listen() -> None:
    assert value(SOCKET, "ListenStream") == f"{Settings().host}:{Settings().port}"
    for unit in (SOCKET, TLS_SOCKET):
        assert int(value(unit, "Backlog")) == listening.BACKLOG
        assert value(unit, "NoDelay") == "yes"


def test_the_socket_for_tls_has_the_name_by_which_the_server_knows_it() -> None:
    assert value(TLS_SOCKET, "FileDescriptorName") == activation.TLS_NAME
    assert values(SOCKET, "FileDescriptorName") == []
    assert value(TLS_SOCKET, "Service") == SERVICE.name


def test_the_unix_socket_is_for_whom_the_server_would_make_it_and_outlives_the_service() -> None:
    path = Path(value(UNIX_SOCKET, "ListenStream"))
    # systemd removes this directory when the service stops, and all that is in there.
    assert not path.is_relative_to(f"/run/{value(SERVICE, 'RuntimeDirectory')}")
    assert value(UNIX_SOCKET, "SocketMode") == f"0{listening.UNIX_MODE:o}"
    assert value(UNIX_SOCKET, "SocketUser") == value(SERVICE, "User")
    assert value(UNIX_SOCKET, "SocketGroup") == value(SERVICE, "Group")
    assert value(UNIX_SOCKET, "Service") == SERVICE.name
    assert int(value(UNIX_SOCKET, "Backlog")) == listening.BACKLOG


def test_the_page_for_operators_names_every_socket_and_where_it_is() -> None:
    page = (UNITS.parents[1] / "docs" / "operations.md").read_text()
    for unit in ALL[1:]:
        assert f"`{unit.name}`" in page
    assert value(UNIX_SOCKET, "ListenStream") in page


@needs_systemctl
@pytest.mark.parametrize(
    "wanted", [[SERVICE], [TLS_SOCKET, SERVICE], [SOCKET, SERVICE], [UNIX_SOCKET, SERVICE], list(ALL)]
)
def test_what_is_enabled_is_what_was_named(tmp_path: Path, wanted: list[Path]) -> None:
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in ALL:
        shutil.copy(unit, units)
    command = ["systemctl", f"--root={tmp_path}", "enable", *(unit.name for unit in wanted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert {link.name for link in units.rglob("*") if link.is_symlink()} == {unit.name for unit in wanted}


def test_no_unit_brings_another_along() -> None:
    for unit in ALL:
        assert values(unit, "Also") == []


def test_the_kinds_of_addresses_are_those_that_the_server_opens() -> None:
    allowed = value(SERVICE, "RestrictAddressFamilies").split()
    assert sorted(allowed) == sorted(family.name for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX))


def test_the_metrics_of_the_process_have_the_files_that_they_are_read_from() -> None:
    assert any("process_" in expression for expression in expressions())
    assert "pid" not in values(SERVICE, "ProcSubset")


@needs_mounts
def test_alerts_and_dashboard_find_their_metrics_behind_what_the_service_hides_of_proc() -> None:
    hidden = [f"hidepid={value(SERVICE, 'ProtectProc')}", *(f"subset={each}" for each in values(SERVICE, "ProcSubset"))]
    mount = f'mount -t proc -o {",".join(hidden)} proc /proc && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", mount, "sh", *MODULE_COMMAND)
    with ServerProcess("--memory", "--admin", "127.0.0.1:0", command=command) as server:
        status, metrics = get(server.wait_for_log(WHERE)[1], "/metrics")
        assert server.stop() == 0
    assert status == 200
    exposed = set(re.findall(r"^(process_\w+)", metrics, re.MULTILINE))
    asked = {name for expression in expressions() for name in re.findall(r"\bprocess_\w+", expression)}
    assert asked
    assert asked <= exposed


def allowed_system_calls() -> set[str]:
    """Return the system calls that the service leaves the server."""
    groups: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in analyze("syscall-filter").splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), set())
        elif line.strip() and not line.strip().startswith("#"):
            members.add(line.strip())

    def expand(name: str) -> Iterator[str]:
        if name.startswith("@"):
            for member in groups[name]:
                yield from expand(member)
        else:
            yield name

    allowed: set[str] = set()
    for names in values(SERVICE, "SystemCallFilter"):
        calls = {call for name in names.removeprefix("~").split() for call in expand(name)}
        allowed = allowed - calls if names.startswith("~") else allowed | calls
    return allowed


@needs_strace
@needs_systemd_analyze
def test_a_whole_life_makes_no_system_call_that_the_service_forbids(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    # -D: the server is the child, and the tracer a process beside it, so that signals reach the server.
    command = ["strace", "-D", "-f", "-qq", "-o", str(trace), *MODULE_COMMAND]
    with ServerProcess("--data-dir", str(tmp_path / "data"), "--max-clients", "100", command=command) as server:
        with server.connect() as client:
            assert client.ask("INDEX|gmp|", "QUERY|gmp|", "WRONG") == ["OK", "OK", "ERROR"]
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("compaction into .* is complete")
        with server.connect() as client:
            assert client.ask("REMOVE|gmp|") == ["OK"]
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert {"accept4", "fdatasync", "rename"} <= made
    assert made - allowed_system_calls() == set()
