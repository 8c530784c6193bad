"""docs/client.md and the client's part of the README: every example runs and prints what is shown."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import scoop_core
from scoop_core import DependencyGraph

from scoop_client.cli.importing import ECOSYSTEMS
from scoop_client.cli.parser import build_parser
from scoop_client.cli.settings import CONFIG_VARIABLE, VARIABLES
from scoop_client.ecosystems.debian import APT_LISTS

from tests.support.pages import ROOT, code_blocks, code_spans, table_rows
from tests.support.process import WAIT_SECONDS, ServerProcess, server_environment

pytestmark = pytest.mark.any_python

PAGE: Final = ROOT / "docs" / "client.md"
README: Final = ROOT / "README.md"

DOCUMENTED_ADDRESS: Final = "127.0.0.1:8080"

COMMAND_SECONDS: Final = 5 * WAIT_SECONDS
"""An import of Debian's archive computes for several seconds, and other tests may compute beside it."""

PROGRESS: Final = re.compile(r"^(?:loading|importing [a-z]+): .* requests, .* failed\n", re.MULTILINE)
"""The progress that a slow machine shows every two seconds."""


class Place:
    """A directory in which a server was started without options, but for its port."""

    def __init__(self, directory: Path, address: str) -> None:
        self._directory = directory
        self._address = address
        shim = directory / "bin" / "scoop"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoop_client.cli.main "$@"\n')
        shim.chmod(0o755)
        path = f"{shim.parent}:{os.environ['PATH']}"
        self._environment = server_environment({"SCOOP_SERVER": address, "HOME": str(directory), "PATH": path})

    def run(self, command: str) -> str:
        """Return the output of a command line, with the documented address."""
        return self._run(["bash", "-c", command.replace(DOCUMENTED_ADDRESS, self._address)])

    def run_program(self, program: str) -> str:
        """Return the output of a Python program."""
        return self._run([sys.executable, "-c", program.replace(DOCUMENTED_ADDRESS, self._address)])

    def _run(self, command: list[str]) -> str:
        finished = subprocess.run(
            command,
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        printed = PROGRESS.sub("", finished.stdout)
        return printed.replace(self._address, DOCUMENTED_ADDRESS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place")
    with ServerProcess(working_directory=directory) as server:
        yield Place(directory, f"127.0.0.1:{server.port}")


def steps_of(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a session with the output shown."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


def without_numbers(text: str) -> str:
    """Return ``text`` with each number masked: they differ from machine to machine and from day to day."""
    return re.sub(r" *\d[\d,.]*", " N", text)


def test_each_example_prints_what_is_shown(place: Place) -> None:
    for block in code_blocks(PAGE, "(?:console|python)"):
        if not block.startswith("$ "):
            assert place.run_program(block).splitlines() == re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE)
        for command, shown in steps_of(block):
            printed = place.run(command)
            if command.startswith(("scoop ping", "scoop log")):
                printed, shown = without_numbers(printed), without_numbers(shown)  # noqa: PLW2901  # of this step
            assert printed == shown, command


def test_the_first_commands_of_the_readme(tmp_path: Path) -> None:
    commands = list(steps_of(code_blocks(README, "console")[1]))
    assert len(commands) == 3
    with ServerProcess(working_directory=tmp_path) as server:
        place = Place(tmp_path, f"127.0.0.1:{server.port}")
        for command, shown in commands:
            assert place.run(command) == shown, command


@pytest.mark.campaign
@pytest.mark.skipif(not list(APT_LISTS.glob("*_main_*_Packages*")), reason="this machine has no package lists of apt")
@pytest.mark.parametrize("page", [PAGE, README], ids=["client", "readme"])
def test_the_archive_of_this_machine(place: Place, page: Path) -> None:
    blocks = code_blocks(page, "shell-session")
    assert blocks
    for block in blocks:
        for command, shown in steps_of(block):
            assert without_numbers(place.run(command)) == without_numbers(shown), command


def test_the_settings_are_listed() -> None:
    rows = {
        code_spans(flag)[0]: code_spans(variable)[0]
        for flag, variable, _ in table_rows(PAGE, "flag", "variable", "meaning")
    }
    expected = {f"--{name.replace('_', '-')}": variable for name, variable in VARIABLES.items() if name != "data"}
    assert rows == expected | {"--from": VARIABLES["data"], "--config": CONFIG_VARIABLE}


def test_the_ecosystems_are_listed() -> None:
    rows = table_rows(PAGE, "ecosystem", "input", "a package is named", "dependencies")
    assert [code_spans(row[0])[0] for row in rows] == list(ECOSYSTEMS)


def test_the_help_of_each_question_names_the_call_of_the_library() -> None:
    commands = build_parser()[1]
    rows = table_rows(PAGE, "command", "scoop-core")
    assert len(rows) > 5
    for questions, calls in rows:
        asked = [each for each in code_spans(questions) if not each.startswith("-")]
        helps = " ".join(commands[each].description or "" for each in asked)
        first, *others = code_spans(calls)
        assert first in helps or [first] == asked
        assert all(hasattr(DependencyGraph, call) or hasattr(scoop_core, call) for call in (first, *others))


def test_the_settings_file_is_valid(place: Place, tmp_path: Path) -> None:
    [content] = code_blocks(PAGE, "toml")
    (tmp_path / "client.toml").write_text(content)
    printed = place.run(f"SCOOP_SERVER= scoop --config {tmp_path}/client.toml ping")
    assert "cannot read the certificates /etc/scoop/authority.pem" in printed
