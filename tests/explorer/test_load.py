"""The load command at a small size: it measures everything, whatever the figures are on this machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.explorer_pages import urls_by_kind

from tests.support.process import WAIT_SECONDS, processes_with

pytestmark = pytest.mark.campaign


@pytest.mark.parametrize("graph", ["homebrew", "random"])
def test_every_figure_is_measured(graph: str) -> None:
    command = [sys.executable, "-m", "bench.explorer_load", "--graph", graph]
    small = ["--packages", "3000", "--seconds", "1", "--rate", "20", "--changes", "200", "--turns", "1", "--pages", "1"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, timeout=5 * WAIT_SECONDS, check=False)
    assert done.stderr == ""
    names = [line.partition(":")[0] for line in done.stdout.splitlines()[1:]]
    assert names == [
        "ready",
        "processor time until then",
        *(f"{share} of {kind}" for kind in urls_by_kind(["a"], ["a"], 1) for share in ("processor time", "p50", "p99")),
        "pages that appeared before their whole answer",
        "requesting pages",
        "changes",
        "requests",
        "processor of the server",
        "processor of the explorer",
        "processor of its counting processes",
        "processor of the clients",
        "lag, median",
        "lag, largest",
        "p99 on the server side, at most",
        "p50 as clients see it",
        "p99 as clients see it",
        "memory, largest",
        "processor time of a change beside the explorer, more by",
        "changes per second beside the explorer, less by",
        "processor time of a change beside a process that only computes, more by",
        "changes per second beside a process that only computes, less by",
    ]


def test_a_run_that_is_terminated_stops_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.explorer_load"]
    command += ["--packages", "300", "--pages", "1", "--seconds", "1000", "--rate", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        while not run.stdout.readline().startswith("requesting pages"):
            assert run.poll() is None
        run.terminate()
        _, errors = run.communicate(timeout=WAIT_SECONDS)
    assert (run.returncode, errors) == (128 + signal.SIGTERM, "")
    assert processes_with(f"TMPDIR={tmp_path}") == []
    assert list(tmp_path.iterdir()) == []
