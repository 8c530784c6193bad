"""Threads and child processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from scoop_etcd.client.threads import Threads
from scoop_server.telemetry.workers import ChildProcess, run_child, start_thread

from tests.support.process import WAIT_SECONDS

ROOT = Path(__file__).parents[3]

PARENT = """
import os
from scoop_server.telemetry.workers import ChildProcess
ChildProcess("tests.support.patient_child", "0")
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
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"working\n"
        parent.kill()
        parent.wait(WAIT_SECONDS)
        assert parent.stdout.read() == b""  # the child had it open


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Give what this process and its children write to standard output."""
    before = os.dup(1)
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        try:
            yield stream
        finally:
            os.dup2(before, 1)
            os.close(before)


@pytest.mark.parametrize("niceness", [0, 10])
def test_a_child_gives_way_to_its_parent_and_can_be_killed(monkeypatch: pytest.MonkeyPatch, niceness: int) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with standard_output() as output:
        child = ChildProcess("tests.support.patient_child", str(niceness))
        started = output.readline()
    try:
        assert started == b"working\n"
        assert child.poll() is None
        assert os.getpgid(child.pid) != os.getpgid(0)  # ^C is not for it
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
        scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in ("self", child.pid)]
        assert scores[1] == min(1_000, scores[0] + 500)
    finally:
        child.kill()
    assert child.poll() == -signal.SIGKILL


def test_a_child_that_gets_no_thread_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert run_child(lambda: 0, lambda: None, 0) == 1
    assert caplog.messages == ["cannot begin: can't start new thread"]
