"""The howtos: each server is what its page shows, and passes the end-to-end test over the Homebrew list."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.homebrew import WAIT_SECONDS, play_five_phases

ROOT: Final = Path(__file__).parent.parent.parent
EXAMPLES: Final = sorted((ROOT / "examples").glob("*_server.py"))


@contextlib.contextmanager
def running(script: Path) -> Iterator[tuple[str, int]]:
    """Run an example on a free port; yield its address."""
    with subprocess.Popen(
        [sys.executable, str(script), "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            match = re.fullmatch(r"listening on port (\d+)\n", process.stdout.readline())
            assert match
            yield ("127.0.0.1", int(match[1]))
        finally:
            process.terminate()
            _, log = process.communicate(timeout=WAIT_SECONDS)
            print(log)  # pytest shows it where the test has failed
    assert log == "", "the server has complained"


def test_there_is_one_for_each_way_to_do_io() -> None:
    names = [path.stem.removesuffix("_server") for path in EXAMPLES]
    assert names == ["asyncio", "socketserver", "threads", "trio"]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("client_count", [1, 10, 100])
def test_it_serves_the_homebrew_list(script: Path, client_count: int) -> None:
    with running(script) as address:
        play_five_phases(address, client_count, seed=2016)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_its_page_shows_the_whole_of_it_and_it_is_short(script: Path) -> None:
    page = (ROOT / "docs" / f"howto-{script.stem.removesuffix('_server')}.md").read_text("utf-8")
    [block] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert block == script.read_text("utf-8")
    assert len(block.splitlines()) <= 45
