"""The benchmark of the client runs, and prints what docs/client.md quotes."""

import re
import subprocess
import sys

import pytest

from tests.support.pages import ROOT

pytestmark = pytest.mark.any_python


@pytest.mark.campaign
def test_a_small_run_prints_each_figure() -> None:
    command = [sys.executable, "-m", "bench.client", "--rounds", "1", "--queries", "1000", "--packages", "1000"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^client, depth 100: [\d,]+ QUERY/s$", printed, re.MULTILINE)
    assert re.search(
        r"^scoop load of 1,000 packages: \d+\.\d\d s; processor time of the server: ", printed, re.MULTILINE
    )
