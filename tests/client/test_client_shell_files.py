"""The shell completions and the manual page of ``scoop``."""

import re
import shutil
import subprocess

import pytest
from client_shell_files import COMPLETIONS, EXIT_STATUSES, MANUAL, shell_files

from scoop_client.cli.parser import EXAMPLES, build_parser
from scoop_client.cli.settings import CONFIG_VARIABLE, VARIABLES
from scoop_client.cli.status import ExitStatus

from tests.support.pages import ROOT, table_rows
from tests.support.process import WAIT_SECONDS

pytestmark = pytest.mark.any_python

FILES = shell_files()
PAGE = FILES[MANUAL]
PLAIN = re.sub(r"\\f[BIR]|\\[,/]", "", PAGE).replace("\\-", "-")

COMMANDS = build_parser()[1]


def test_the_manual_page_has_every_command_option_variable_and_example() -> None:
    for name, parser in COMMANDS.items():
        assert f"scoop {name}" in PLAIN
        for action in parser._actions:
            for flag in set(action.option_strings) - {"-h", "--help"}:
                assert flag in PLAIN
    for text in (*VARIABLES.values(), CONFIG_VARIABLE, *EXAMPLES):
        assert f".TP\n{text}\n" in PLAIN


def test_the_manual_page_and_the_page_on_the_client_have_every_exit_status() -> None:
    assert list(EXIT_STATUSES) == [str(status.value) for status in ExitStatus]
    rows = table_rows(ROOT / "docs" / "client.md", "exit status", "meaning")
    assert [status for cell, _ in rows for status in cell.split(", ")] == list(EXIT_STATUSES)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_formatted_without_a_warning() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z"]
    formatted = subprocess.run(command, input=PAGE, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (formatted.returncode, formatted.stderr) == (0, "")


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_a_completion_has_every_command(shell: str) -> None:
    script = FILES[COMPLETIONS[shell]]
    assert [command for command in (*COMMANDS, "debian", "response-timeout", "mermaid") if command not in script] == []


_COMPLETE = r"""
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
eval "$(complete -p scoop | sed 's/.*-F \([^ ]*\).*/\1/')"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["scoop", "imp"], ["impact", "import"]),
        (["scoop", "import", "d"], ["debian"]),
        (["scoop", "export", "--format", "m"], ["mermaid"]),
        (["scoop", "load", "--dr"], ["--dry-run"]),
    ],
)
def test_bash_completes(line: list[str], expected: list[str]) -> None:
    script = FILES[COMPLETIONS["bash"]] + _COMPLETE
    done = subprocess.run(
        ["bash", "-c", script, "bash", *line], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert sorted(word.strip() for word in done.stdout.split()) == expected
