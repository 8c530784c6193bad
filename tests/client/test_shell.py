"""``scoop shell``: from a pipe, and at a prompt in a pseudo-terminal; and the display of progress on a terminal."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_client.cli.shell import USAGES, complete, hint

from tests.support.command import Scoop
from tests.support.process import WAIT_SECONDS, server_environment
from tests.support.terminal import Terminal

COMMAND = (sys.executable, "-m", "scoop_client.cli.main")

TAB = "\t"
UP = "\x1b[A"
CTRL_C = "\x03"
CTRL_D = "\x04"

READY = r"scoop>\n\n"
"""The prompt, drawn with the space below it that a menu may need: keys are read from then on."""


class TestPipe:
    def test_each_line_is_run(self, scoop: Scoop, address: str) -> None:
        lines = "index isl gmp\nINDEX|gmp|\n# a comment\n\nINDEX isl gmp\nquery isl nothing\nping\nremove isl gmp\n"
        result = scoop("shell", "--server", address, stdin=lines.encode())
        *requests, removed_1, removed_2 = result.out.splitlines()
        assert requests[:5] == ["isl FAIL: gmp is not indexed", "gmp OK", "isl OK", "isl OK", "nothing FAIL"]
        assert requests[5].endswith(" ms")
        assert (removed_1, removed_2, result.status, result.err) == ("isl OK", "gmp OK", 1, "")

    def test_mistakes_do_not_end_the_shell(self, scoop: Scoop, address: str) -> None:
        lines = b"frobnicate\nindex\nINDEX|a\nindex a b'\nindex caf\xe9\nindex a\n"
        result = scoop("shell", "--server", address, stdin=lines)
        assert (result.out, result.status) == ("a OK\n", 2)
        assert result.err.splitlines() == [
            "scoop: unknown command 'frobnicate'; help lists the commands",
            "scoop: expected index NAME [DEPENDENCY ...], got 'index'",
            "scoop: expected 2 bars, got 1: 'INDEX|a'",
            "scoop: No closing quotation",
            "scoop: invalid '\\xe9' at column 4 of the name: 'caf\\xe9'",
        ]

    def test_quit(self, scoop: Scoop, address: str) -> None:
        assert scoop("shell", "--server", address, stdin=b"quit\nindex a\n").out == ""

    def test_quit_ends_the_shell_although_the_pipe_is_open(self, address: str) -> None:
        with subprocess.Popen(
            [*COMMAND, "shell", "--server", address], stdin=subprocess.PIPE, env=server_environment()
        ) as process:
            assert process.stdin is not None
            process.stdin.write(b"quit\n")
            process.stdin.flush()
            assert process.wait(WAIT_SECONDS) == 0

    def test_help(self, scoop: Scoop, address: str) -> None:
        everything = scoop("shell", "--server", address, stdin=b"help\n").out
        for command, usage in USAGES.items():
            assert f"{command} {usage.arguments}".rstrip() in everything
            assert usage.example in everything
        assert "remove" not in scoop("shell", "--server", address, stdin=b"help index\n").out

    def test_json(self, scoop: Scoop, address: str) -> None:
        result = scoop("shell", "--json", "--server", address, stdin=b"query a\nfrobnicate\n")
        assert result.json() == [{"command": "QUERY", "package": "a", "response": "FAIL"}]
        assert result.err.startswith('{"error": ')

    def test_no_connection(self, scoop: Scoop) -> None:
        assert scoop("shell", "--server", "unix:/nonexistent", stdin=b"query a\n").status == 3


@pytest.mark.any_python
class TestPrompt:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "home"

    @pytest.fixture
    def terminal(self, address: str, home: Path) -> Iterator[Terminal]:
        home.mkdir()
        environment = server_environment({"HOME": str(home), "SCOOP_SERVER": address})
        with Terminal((*COMMAND, "shell"), environment) as terminal:
            terminal.wait_for(f"connected to tcp:{address}; .*\n")
            terminal.wait_for(READY)
            yield terminal

    def test_requests(self, terminal: Terminal) -> None:
        terminal.send_keys("index isl gmp\r")
        terminal.wait_for("isl FAIL: gmp is not indexed")
        terminal.wait_for(READY)
        terminal.send_keys("index gmp\r")
        terminal.wait_for("gmp OK")
        terminal.wait_for(READY)
        terminal.send_keys(CTRL_D)
        assert terminal.wait() == 0

    def test_hints_and_completion_of_commands_and_of_names_already_seen(self, terminal: Terminal) -> None:
        terminal.send_keys("ind" + TAB)
        terminal.wait_for("index")
        terminal.send_keys(" ")
        terminal.wait_for(r"NAME \[DEPENDENCY \.\.\.\]")
        terminal.send_keys("libstdc++6\r")
        terminal.wait_for(r"libstdc\+\+6 OK")
        terminal.wait_for(READY)
        terminal.send_keys("query lib" + TAB)
        terminal.wait_for(r"stdc\+\+6")
        terminal.send_keys("\r")
        terminal.wait_for(r"libstdc\+\+6 OK")

    def test_ctrl_c_drops_the_line_and_history_brings_it_back(self, terminal: Terminal, home: Path) -> None:
        terminal.send_keys("query a\r")
        terminal.wait_for("a FAIL")
        terminal.wait_for(READY)
        terminal.send_keys("index unfinished" + CTRL_C)
        terminal.wait_for(READY)
        terminal.send_keys(UP)
        terminal.wait_for("query a")
        terminal.send_keys("\r")
        terminal.wait_for("a FAIL")
        terminal.wait_for(READY)
        terminal.send_keys("quit\r")
        assert terminal.wait() == 0
        history = home / ".local" / "state" / "scoop" / "history"
        assert "+query a\n" in history.read_text()
        assert history.stat().st_mode & 0o077 == 0


@pytest.mark.any_python
def test_a_home_that_cannot_be_written_costs_only_the_history(address: str) -> None:
    environment = server_environment({"HOME": "/dev/null", "SCOOP_SERVER": address})
    with Terminal((*COMMAND, "shell"), environment) as terminal:
        terminal.wait_for("the history ends with the shell: cannot write /dev/null/.*: not a directory\n")
        terminal.wait_for(READY)
        terminal.send_keys("query a\r")
        terminal.wait_for("a FAIL")
        terminal.wait_for(READY)
        terminal.send_keys(CTRL_D)
        assert terminal.wait() == 0


def test_completion() -> None:
    assert complete("", []) == list(USAGES)
    assert complete("help i", ["isl"]) == ["index"]
    assert complete("index isl g", ["gmp", "gcc", "isl"]) == ["gmp", "gcc"]
    assert [hint("quer"), hint("query "), hint("query a"), hint("frobnicate ")] == ["", "NAME ...", "", ""]


@pytest.mark.any_python
def test_a_terminal_shows_a_progress_bar_and_a_table(address: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("isl: gmp\ngmp\n")
    environment = server_environment({"HOME": str(tmp_path), "SCOOP_SERVER": address})
    with Terminal((*COMMAND, "load", str(tmp_path / "list")), environment) as terminal:
        terminal.wait_for("loading .*2/2")
        terminal.wait_for("2 requests answered: 2 OK, 0 failed")
        assert terminal.wait() == 0
    for command, shown in {"stats": "│ packages", "order": "gmp +isl", "needs": "isl has 1 dependency"}.items():
        arguments = [command, *(["isl"] if command == "needs" else []), "--from", str(tmp_path / "list")]
        with Terminal((*COMMAND, *arguments), environment) as terminal:
            terminal.wait_for(shown)
            assert terminal.wait() == 0


@pytest.mark.any_python
def test_without_the_extra_a_terminal_shows_what_to_install(address: str, tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys; find = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name: None if name in ('rich', 'prompt_toolkit') else find(name); "
        "from scoop_client.cli.main import main; sys.exit(main(['shell']))"
    )
    environment = server_environment({"HOME": str(tmp_path), "SCOOP_SERVER": address})
    with Terminal((sys.executable, "-c", program), environment) as terminal:
        terminal.wait_for(r"scoop: the prompt needs an extra: pip install 'scoop-client\[cli\]'")
        assert terminal.wait() == 2
