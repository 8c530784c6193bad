"""docs/howto-restore.md: its commands, run word for word, print what it says."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import code_blocks, run_block
from tests.support.process import ServerProcess

pytestmark = [
    pytest.mark.any_python,
    pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed (on Debian: apt install rsync)"),
]

PAGE: Final = Path(__file__).parents[1] / "docs" / "howto-restore.md"

VARYING: Final = re.compile(r"^(?P<time>\S+Z) (?P<batch>\d+) (?P<identity>uid=\d+) ", re.MULTILINE)
"""The time of a change, its batch, which depends on how many requests arrive together, and its user."""


def check_console(block: str, directory: Path, batch: int) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
        shown = run_block(command.replace("--at 1", f"--at {batch}"), directory)
        assert VARYING.sub("", shown) == VARYING.sub("", expected), command
        assert len(VARYING.findall(shown)) == len(VARYING.findall(expected))


def test_a_mistake_is_found_and_undone(tmp_path: Path) -> None:
    start, mistake, replace, archive = code_blocks(PAGE, "sh")
    find, before, index_again, read_archive = code_blocks(PAGE, "console")
    arguments = shlex.split(start)[1:]
    with ServerProcess(*arguments, working_directory=tmp_path) as server:
        run_block(mistake, tmp_path)
        check_console(find, tmp_path, 0)
        removed = VARYING.search(run_block("scoop-server log scoop-data | grep REMOVE", tmp_path))
        assert removed is not None
        last_good = int(removed["batch"]) - 1
        check_console(before, tmp_path, last_good)
        check_console(index_again, tmp_path, last_good)
        run_block("scoop --server unix:scoop.sock remove app-7", tmp_path)
        server.stop()
    run_block(replace + archive, tmp_path)
    check_console(read_archive, tmp_path, last_good)
