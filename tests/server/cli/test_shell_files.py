"""The shell completions and the manual page that are shipped with the package."""

import re
import shutil
import subprocess

import pytest
from shell_files import COMPLETIONS, EXIT_STATUSES, MANUAL, TABLE, shell_files

from scoop_server import __version__
from scoop_server.cli.directory import EXIT_DAMAGED, EXIT_INTACT, EXIT_NEWER, EXIT_UNREADABLE, EXIT_UNSEALED
from scoop_server.cli.main import EXIT_INTERRUPTED
from scoop_server.cli.parser import all_commands
from scoop_server.cli.stdio import EXIT_BROKEN_PIPE
from scoop_server.errors import ServerError

from tests.support.pages import ROOT, table_rows
from tests.support.process import WAIT_SECONDS

pytestmark = pytest.mark.any_python

COMMANDS = all_commands(TABLE)
FILES = shell_files()
PAGE = FILES[MANUAL]


def test_the_manual_page_has_the_usual_sections() -> None:
    assert PAGE.startswith(f'.TH SCOOP\\-SERVER "1" "" "scoop\\-server {__version__}" "User Commands"\n')
    sections = re.findall(r"^\.SH\s(\w.*)$", PAGE, re.MULTILINE)
    expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "SIGNALS", "EXIT STATUS"]
    assert [section for section in sections if section in {*expected, "EXAMPLES"}] == [*expected, "EXAMPLES"]


def test_the_manual_page_has_every_option_variable_and_command() -> None:
    plain = re.sub(r"\\f[BIR]|\\[,/]", "", PAGE).replace("\\-", "-")
    for option in TABLE:
        flags = f"{option.flag}, --no-{option.flag[2:]}" if option.is_switch else f"{option.flag} {option.kind.metavar}"
        assert plain.count(f".TP\n{flags}\n{option.meaning.split()[0]} ") >= 1
        assert f".TP\n{option.variable}\nSee {option.flag}.\n" in plain
    for command in COMMANDS:
        assert f"\nscoop-server {command}" in plain


def subclasses(error: type[ServerError]) -> set[type[ServerError]]:
    return {error}.union(*(subclasses(each) for each in error.__subclasses__()))


def test_the_manual_page_and_the_operations_page_have_every_exit_status() -> None:
    statuses = {
        EXIT_INTACT,
        EXIT_DAMAGED,
        EXIT_UNSEALED,
        EXIT_NEWER,
        EXIT_UNREADABLE,
        EXIT_BROKEN_PIPE,
        EXIT_INTERRUPTED,
    }
    statuses |= {error.exit_status for error in subclasses(ServerError)}
    assert list(EXIT_STATUSES) == [str(status) for status in sorted(statuses)]
    rows = table_rows(ROOT / "docs" / "operations.md", "exit status", "meaning")
    assert [status for cell, _ in rows for status in cell.split(", ")] == list(EXIT_STATUSES)


@pytest.mark.parametrize(
    "command", [["man", "--warnings", "-E", "UTF-8", "-l", "-"], ["groff", "-man", "-Tutf8", "-ww", "-z"]]
)
def test_the_manual_page_is_formatted_without_a_warning(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    formatted = subprocess.run(command, input=PAGE, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (formatted.returncode, formatted.stderr) == (0, "")


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_a_completion_has_every_option_command_and_word(shell: str) -> None:
    script = FILES[COMPLETIONS[shell]]
    words = [word for option in TABLE for word in (option.flag.removeprefix("--"), *option.kind.words)]
    assert [word for word in (*words, *COMMANDS) if word not in script] == []


_COMPLETE = r"""
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
eval "$(complete -p scoop-server | sed 's/.*-F \([^ ]*\).*/\1/')"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["scoop-server", "ch"], ["check"]),
        (["scoop-server", "--tls-c"], ["--tls-cert", "--tls-client-ca", "--tls-crl"]),
        (["scoop-server", "--fsync", "e"], ["everysec"]),
        (["scoop-server", "serve", "--log-f"], ["--log-format"]),
    ],
)
def test_bash_completes(line: list[str], expected: list[str]) -> None:
    script = FILES[COMPLETIONS["bash"]] + _COMPLETE
    done = subprocess.run(
        ["bash", "-c", script, "bash", *line], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert [word.strip() for word in done.stdout.split()] == expected
