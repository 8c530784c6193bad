"""The units in contrib/systemd agree with the server; test_booted_systemd.py starts them."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from scoop_server.app import claims, signals
from scoop_server.config.limits import Limits
from scoop_server.config.settings import OPTIONS, Settings
from scoop_server.net import listener
from scoop_server.net.activation import parse_socket_name

from tests.support.pages import ROOT
from tests.support.process import WAIT_SECONDS

pytestmark = pytest.mark.any_python

UNITS: Final = ROOT / "contrib" / "systemd"
SERVICE: Final = UNITS / "scoop.service"
SOCKETS: Final = sorted(UNITS.glob("*.socket"))
TCP_SOCKET, TLS_SOCKET, UNIX_SOCKET, READ_ONLY_SOCKET = (
    UNITS / name for name in ("scoop.socket", "scoop-tls.socket", "scoop-unix.socket", "scoop-tls-read-only.socket")
)

EXPOSURE_MAX: Final = 15
"""The exposure that ``systemd-analyze security`` reports, in tenths: 0 is confined completely, 100 not at all."""

needs_systemd_analyze: Final = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def values(unit: Path, name: str) -> list[str]:
    """Return what ``unit`` assigns to ``name``, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def value(unit: Path, name: str) -> str:
    """Return the one value that ``unit`` assigns to ``name``."""
    [only] = values(unit, name)
    return only


def seconds(text: str) -> float:
    """Return a time span of systemd in seconds, for the units that these files use."""
    found = re.fullmatch(r"(\d+)(s|min)", text)
    assert found is not None
    return float(found[1]) * {"s": 1, "min": 60}[found[2]]


def analyze(*words: str) -> str:
    """Run systemd-analyze, which must find no fault; return its output."""
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd_analyze
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for unit in (SERVICE, *SOCKETS):
        # verify wants the program to exist.
        text = re.sub(r"^(Exec\w+=)/opt\S+", rf"\1{sys.executable}", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    printed = analyze("verify", "--man=no", *(str(tmp_path / unit.name) for unit in (SERVICE, *SOCKETS)))
    assert "scoop" not in printed


@needs_systemd_analyze
def test_the_service_is_confined() -> None:
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(SERVICE))


def test_the_service_uses_existing_flags_and_its_state_directory() -> None:
    arguments = value(SERVICE, "ExecStart").replace("%S", "/var/lib").split()
    assert Path(arguments[0]).name == "scoop-server"
    assert {word for word in arguments if word.startswith("-")} <= {"--config", *(option.flag for option in OPTIONS)}
    assert arguments[arguments.index("--data-dir") + 1] == f"/var/lib/{value(SERVICE, 'StateDirectory')}"


def test_the_signals_of_the_service_are_handled() -> None:
    assert values(SERVICE, "KillSignal") == []  # the default, SIGTERM
    reload, check = values(SERVICE, "ExecReload")
    assert reload == "/bin/kill -HUP $MAINPID"
    assert check == f"{value(SERVICE, 'ExecStart')} --check-config"
    assert {signal.SIGHUP, signal.SIGTERM} <= set(signals.HANDLED)


def test_the_timeouts_exceed_what_the_server_takes() -> None:
    limits = Limits()
    assert seconds(value(SERVICE, "TimeoutStopSec")) >= 2 * (limits.drain_seconds_max + limits.linger_seconds_max)
    assert seconds(value(SERVICE, "WatchdogSec")) >= 4 * limits.tick_seconds


def test_the_limit_of_open_files_allows_all_clients() -> None:
    reserved = claims.RESERVED_DESCRIPTORS + claims.ADMIN_DESCRIPTORS + Limits().handshakes_max
    assert int(value(SERVICE, "LimitNOFILE")) >= Limits().clients_max + reserved


def test_the_service_is_always_restarted() -> None:
    assert value(SERVICE, "Restart") == "on-failure"
    assert value(SERVICE, "StartLimitIntervalSec") == "0"
    assert values(SERVICE, "RestartPreventExitStatus") == []


def test_the_end_of_a_compaction_for_want_of_memory_does_not_stop_the_service() -> None:
    assert value(SERVICE, "OOMPolicy") == "continue"


def test_the_tcp_socket_has_the_default_address() -> None:
    assert value(TCP_SOCKET, "ListenStream") == f"{Settings().host}:{Settings().port}"


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda unit: str(unit.name))
def test_each_socket_belongs_to_the_service_and_has_the_options_of_a_listener(unit: Path) -> None:
    assert value(unit, "Service") == SERVICE.name
    assert value(unit, "StartLimitIntervalSec") == "0"
    assert int(value(unit, "Backlog")) == listener.BACKLOG
    assert values(unit, "NoDelay") == ([] if unit == UNIX_SOCKET else ["yes"])
    assert values(unit, "Also") == []  # enabling one socket enables no other
    assert f"`{unit.name}`" in (ROOT / "docs" / "operations.md").read_text()


def test_the_names_of_the_sockets_choose_tls_and_the_policy() -> None:
    assert values(TCP_SOCKET, "FileDescriptorName") == values(UNIX_SOCKET, "FileDescriptorName") == []
    is_tls, policy = parse_socket_name(value(TLS_SOCKET, "FileDescriptorName"))
    assert (is_tls, str(policy)) == (True, "")
    is_tls, policy = parse_socket_name(value(READ_ONLY_SOCKET, "FileDescriptorName"))
    assert (is_tls, str(policy)) == (True, "?read-only&anonymous")


def test_the_unix_socket_outlives_the_service_and_its_group_is_not_that_of_the_key() -> None:
    # systemd removes the runtime directory when the service stops.
    assert not Path(value(UNIX_SOCKET, "ListenStream")).is_relative_to(f"/run/{value(SERVICE, 'RuntimeDirectory')}")
    assert value(UNIX_SOCKET, "SocketMode") == f"0{listener.UNIX_MODE:o}"
    assert value(UNIX_SOCKET, "SocketUser") == value(SERVICE, "User")
    assert value(UNIX_SOCKET, "SocketGroup") != value(SERVICE, "Group")
    users = (UNITS / "scoop.sysusers.conf").read_text()
    assert re.search(rf"^g {value(UNIX_SOCKET, 'SocketGroup')} ", users, re.MULTILINE)
    assert re.search(rf"^u {value(SERVICE, 'User')} ", users, re.MULTILINE)
