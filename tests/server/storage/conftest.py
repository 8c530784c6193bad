"""Fixtures of the tests of storage."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_server.storage.directory import DataDirectory

from tests.support.faulty_files import FaultyFiles
from tests.support.storage import Bench


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
def directory(tmp_path: Path, files: FaultyFiles) -> Iterator[DataDirectory]:
    """An open directory; whatever else a test opens on ``files`` must be closed at its end."""
    with DataDirectory(str(tmp_path), files) as opened:
        yield opened
    assert files.open_files == {}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
