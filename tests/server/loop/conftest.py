import logging
from collections.abc import Iterator

import pytest

from tests.support.event_loop import Loop


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as each:
        yield each
