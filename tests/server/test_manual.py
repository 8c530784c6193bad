import re
import shutil
import subprocess

import pytest

from scoop_server import __version__
from scoop_server.cli.manual import manual_page
from scoop_server.cli.usage import parsers
from scoop_server.config.options import OPTIONS

from tests.support.pages import ROOT, table_rows
from tests.support.process import WAIT_SECONDS

PAGE = manual_page(parsers())


def test_it_has_the_sections_of_a_manual_page() -> None:
    first, *lines = PAGE.splitlines()
    assert first == f'.TH SCOOP\\-SERVER 1 "" "scoop\\-server {__version__}" "User Commands"'
    assert [line[4:] for line in lines if line.startswith(".SH ")] == [
        *(
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "COMMANDS",
            "ENVIRONMENT",
            "SIGNALS",
            "EXIT STATUS",
            "SEE ALSO",
        ),
    ]
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} == {".SH", ".SS", ".TP", ".PP", ".br"}
    assert PAGE.isascii()


def test_it_tells_every_option_its_variable_and_every_command() -> None:
    plain = re.sub(r"\\f[BIR]", "", PAGE).replace("\\-", "-")
    for option in OPTIONS:
        flags = f"{option.flag}, --no-{option.flag[2:]}" if option.is_switch else f"{option.flag} {option.metavar}"
        text = f"{option.help[0].upper()}{option.help[1:]} (default: {option.default_text})."
        assert f".TP\n{flags}\n{text}\n" in plain
        assert f".TP\n{option.variable}\nSee {option.flag}.\n" in plain
    for name, parser in parsers().items():
        assert not name or f"\nscoop-server {name}" in plain
        assert str(parser.description) in plain


def test_it_tells_every_exit_status_that_the_page_for_operators_does() -> None:
    section = PAGE.partition(".SH EXIT STATUS\n")[2].partition(".SH ")[0]
    rows = table_rows(ROOT / "docs" / "operations.md", "exit status", "what it means")
    assert re.findall(r"^\.TP\n\\fB(\d+)\\fR$", section, re.MULTILINE) == [status for status, _ in rows]


@pytest.mark.parametrize(
    "command",
    [["man", "--warnings", "-E", "UTF-8", "-l", "-"], ["groff", "-man", "-Tutf8", "-ww", "-z"]],
    ids=["man", "groff"],
)
def test_the_formatter_has_nothing_to_complain_about(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    formatted = subprocess.run(command, input=PAGE, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (formatted.returncode, formatted.stderr) == (0, "")
