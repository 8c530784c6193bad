"""Fixtures of the tests of the client."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Scoop
from tests.support.process import ServerProcess


@pytest.fixture
def scoop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Scoop:
    """The command, with an empty home, no variables, and no lines about its progress, which depend on time."""
    for name in ("SCOOP_SERVER", "SCOOP_CLIENT_DATA", "SCOOP_CLIENT_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("scoop_client.cli.output.SECONDS_BETWEEN_LINES", math.inf)
    return Scoop(monkeypatch, capsys)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """An empty server."""
    with ServerProcess("--memory") as process:
        yield process


@pytest.fixture
def address(server: ServerProcess) -> str:
    """The address of the empty server."""
    return f"127.0.0.1:{server.port}"
