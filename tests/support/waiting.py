"""Waiting for what no event announces."""

import time
from collections.abc import Callable

from tests.support.process import WAIT_SECONDS


def wait_until(is_true: Callable[[], object]) -> None:
    """Wait until ``is_true()``. Raises AssertionError after :data:`WAIT_SECONDS`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError("the event has not happened")
        time.sleep(0.02)
