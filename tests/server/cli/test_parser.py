"""The command line: flags and commands, what is rejected, and the help."""

import re
from collections.abc import Sequence

import pytest

from scoop_server import __version__
from scoop_server.cli.parser import COMMANDS, Action, CommandLine, parse_command_line
from scoop_server.config.settings import OPTIONS
from scoop_server.errors import ConfigurationError


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [
        ([], CommandLine("serve")),
        (["--port", "9000"], CommandLine("serve", flags={"port": "9000"})),
        (["serve", "--port=9000", "--no-memory"], CommandLine("serve", flags={"port": "9000", "memory": False})),
        (["--listen", "a", "--listen", "b"], CommandLine("serve", flags={"listen": ["a", "b"]})),
        (["--config", "c", "--show-config"], CommandLine("serve", flags={"config": "c"}, action=Action.SHOW_CONFIG)),
        (["--check-config"], CommandLine("serve", action=Action.CHECK_CONFIG)),
        (["check", "data"], CommandLine("check", directory="data")),
        (["dump", "--", "--data"], CommandLine("dump", directory="--data")),
        (["restore", "data"], CommandLine("restore", directory="data")),
        (
            ["dump", "--etcd", "http://h:1", "--revision", "7"],
            CommandLine("dump", "", {"etcd": "http://h:1"}, revision=7),
        ),
        (["nodes", "--config", "c"], CommandLine("nodes", flags={"config": "c"})),
    ],
)
def test_serve_is_the_default_command(arguments: Sequence[str], parsed: CommandLine) -> None:
    assert parse_command_line(arguments) == parsed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "9000"], "unknown option --prot; did you mean --port? (see scoop-server --help)"),
        (
            ["serve", "--max-lines=9"],
            "unknown option --max-lines; did you mean --max-line? (see scoop-server serve --help)",
        ),
        (["--xyz"], "unknown option --xyz (see scoop-server --help)"),
        (["--por", "1"], "unknown option --por; did you mean --port? (see scoop-server --help)"),
        (["check", "--port", "1"], "unknown option --port (see scoop-server check --help)"),
        (["chekc", "data"], "unknown command 'chekc'; did you mean check? (see scoop-server --help)"),
        (["8080"], "unknown command '8080' (see scoop-server --help)"),
        (
            ["--port", "1", "check", "data"],
            "expected the command check as the first argument (see scoop-server --help)",
        ),
        (["--port"], "argument --port: expected one argument (see scoop-server --help)"),
        (["--memory=yes"], "argument --memory/--no-memory: ignored explicit argument 'yes' (see scoop-server --help)"),
        (
            ["dump", "--revision", "0"],
            "argument --revision: expected a revision above 0, got '0' (see scoop-server dump --help)",
        ),
        (["-p", "3"], "unknown option -p (see scoop-server --help)"),
        (["check", "-v", "data"], "unknown option -v (see scoop-server check --help)"),
        (["nodes", "data"], "unrecognized arguments: data (see scoop-server --help)"),
        (["dump", "one", "two"], "unrecognized arguments: two (see scoop-server --help)"),
    ],
)
def test_other_arguments_are_rejected_in_one_line(arguments: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_command_line(arguments)
    assert str(raised.value) == message


def test_a_negative_number_is_a_value() -> None:
    assert parse_command_line(["--idle-timeout", "-1"]).flags == {"idle_timeout": "-1"}


def printed(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parse_command_line(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys) == f"scoop-server {__version__}\n"


def listed_flags(help_text: str) -> set[str]:
    return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", help_text, re.MULTILINE))


def test_the_help_lists_the_commands_and_the_basic_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["--help"], capsys)
    assert text.startswith("usage: scoop-server [serve] [OPTION ...]\n")
    assert text.count("\n") <= 62
    basic = {option.flag for option in OPTIONS if option.is_basic}
    assert listed_flags(text) == {
        "--help",
        "--help-all",
        "--version",
        "--config",
        "--show-config",
        "--check-config",
        *basic,
    }
    assert re.findall(r"^    ([a-z]+) ", text, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_help_all_lists_every_option_with_its_default(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([*command, "--help-all"], capsys)
    assert listed_flags(text) >= {option.flag for option in OPTIONS}
    words = " ".join(text.split())
    assert "--port PORT TCP port to listen on; 0 picks a free one (default: 8080)" in words
    assert "--max-line SIZE longest message, without its newline (default: 64k)" in words
    assert "--memory, --no-memory keep the index in memory only (default: no)" in words


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "serve"])
def test_each_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([command, "--help"], capsys)
    assert text.startswith(f"usage: scoop-server {command} [-h]")
    assert "--etcd URLS" in text
