"""Threads and child processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from scoop_etcd.client.threads import Threads
from scoop_server.telemetry.workers import start_thread

from tests.support.process import WAIT_SECONDS

PARENT = """
import os
from scoop_server.telemetry.workers import ChildProcess
ChildProcess("tests.support.patient_child")
os.read(0, 1)
"""
"""A program whose child writes a line once it works, and works for ever."""


@pytest.mark.parametrize("start", [partial(start_thread, name="log"), Threads("etcd").run])
def test_a_thread_that_the_system_does_not_allow_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[Callable[[], None]], object]
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(OSError, match="can't start new thread"):
            start(lambda: None)


def test_a_child_ends_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"working\n"
        parent.kill()
        parent.wait(WAIT_SECONDS)
        assert parent.stdout.read() == b""  # the child had it open
