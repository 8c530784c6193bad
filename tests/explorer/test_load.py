"""The load command at a small size: it measures everything, whatever the figures are on this machine."""

import subprocess
import sys

import pytest

from tests.support.process import WAIT_SECONDS


@pytest.mark.parametrize("graph", ["homebrew", "random"])
def test_every_figure_is_measured(graph: str) -> None:
    command = [sys.executable, "-m", "bench.explorer_load", "--graph", graph]
    small = ["--packages", "3000", "--seconds", "1", "--rate", "20", "--changes", "200"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.stderr == ""
    names = [line.partition(":")[0] for line in done.stdout.splitlines()[1:]]
    assert names == [
        "ready",
        "processor time until then",
        "changes",
        "processor of the explorer",
        "requests",
        "lag, median",
        "lag, largest",
        "p99 on the server side, at most",
        "p50 as clients see it",
        "p99 as clients see it",
        "memory, largest",
    ]
