"""The API against its own description: schemathesis makes requests of all kinds, and checks each response."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from tests.support.data_directory import create_directory
from tests.support.explorer import ExplorerProcess
from tests.support.process import WAIT_SECONDS
from tests.support.waiting import wait_until

SCHEMATHESIS = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 414]
"""
"""It does not know that a URL can be rejected because it is too long."""

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed: nox -s browser installs it"),
]


def test_schemathesis_finds_nothing(tmp_path: Path, homebrew: DependencyGraph) -> None:
    create_directory(tmp_path / "data", homebrew)
    with ExplorerProcess(tmp_path / "data") as explorer:
        wait_until(explorer.is_ready)
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
        command = [
            str(SCHEMATHESIS), "run", f"{explorer.url}/api/v1/openapi.json", "--max-examples", "30", "--no-color",
            "--exclude-path", "/api/v1/events",  # it never ends
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert "generated" in done.stdout
