"""The command line: flags and commands, what is rejected, and the help."""

import contextlib
import re
from collections.abc import Sequence

import pytest

from scoop_server import __version__, form
from scoop_server.app.plugin import IndexPlugin, Invocation, OptionTable, find_plugins
from scoop_server.cli.parser import all_commands, parse_command_line
from scoop_server.errors import ConfigurationError

from tests.support.settings import TABLE
from tests.support.toy_plugin import ToyPlugin

COMMANDS = all_commands(TABLE)


def parsed(arguments: Sequence[str]) -> Invocation:
    return parse_command_line(arguments, OptionTable())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("serve", "", {}, {})),
        (["--port", "9000"], ("serve", "", {"port": "9000"}, {})),
        (["serve", "--port=9000", "--no-memory"], ("serve", "", {"port": "9000", "memory": False}, {})),
        (["--listen", "a", "--listen", "b"], ("serve", "", {"listen": ["a", "b"]}, {})),
        (["--config", "c", "--show-config"], ("serve", "", {"config": "c"}, {"action": "show-config"})),
        (["--check-config"], ("serve", "", {}, {"action": "check-config"})),
        (["check", "data"], ("check", "data", {}, {})),
        (["dump", "--", "--data"], ("dump", "--data", {}, {})),
        (["restore", "data"], ("restore", "data", {}, {})),
        (["dump", "--etcd", "http://h:1", "--revision", "7"], ("dump", "", {"etcd": "http://h:1"}, {"revision": 7})),
        (["nodes", "--config", "c"], ("nodes", "", {"config": "c"}, {})),
    ],
)
def test_serve_is_the_default_command(arguments: Sequence[str], expected: tuple[object, ...]) -> None:
    given = parsed(arguments)
    assert (given.command, given.directory, given.flags, given.arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "finds"),
    [
        (["--port", "1", "--memory"], False),
        (["check", "data"], False),
        (["--version"], False),
        (["--etcd", "http://h:1"], True),
        (["check", "--etcd=http://h:1"], True),
        (["nodes"], True),
        (["--help"], True),
        (["--prot", "1"], True),
    ],
)
def test_plugins_are_found_only_for_what_the_server_does_not_know(arguments: list[str], finds: bool) -> None:
    found: list[str] = []

    def find() -> Sequence[IndexPlugin]:
        found.append("once")
        return find_plugins()

    with contextlib.suppress(ConfigurationError, SystemExit):
        parse_command_line(arguments, OptionTable(find))
    assert found == ["once"] * finds


@pytest.mark.parametrize("arguments", [["check", "--toy=a"], ["--toy=a"], ["check", "--etcd=http://h:1", "--config=c"]])
def test_several_plugins_share_the_commands(arguments: list[str]) -> None:
    table = OptionTable(lambda: [*find_plugins(), ToyPlugin()])
    given = parse_command_line(arguments, table)
    assert [f"--{name}={value}" for name, value in given.flags.items()] == [each for each in arguments if "=" in each]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--etcd", "http://h:1"], "option --etcd"),
        (["check", "--etcd-prefix=/a/"], "option --etcd-prefix"),
        (["--reads", "local"], "option --reads"),
        (["nodes"], "command 'nodes'"),
    ],
)
def test_a_word_of_a_package_that_is_missing_tells_how_to_install_it(arguments: list[str], word: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_command_line(arguments, OptionTable(tuple))
    assert f"unknown {word}; install it with: pip install 'scoop-server[etcd]' (see " in str(raised.value)


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
        parsed(arguments)
    assert str(raised.value) == message


def test_a_negative_number_is_a_value() -> None:
    assert parsed(["--idle-timeout", "-1"]).flags == {"idle_timeout": "-1"}
    assert parsed(["--line-timeout", "-1s", "--memory"]).flags["line_timeout"] == "-1s"


def printed(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parsed(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys) == f"scoop-server {__version__} ({form()})\n"


def listed_flags(help_text: str) -> set[str]:
    return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", help_text, re.MULTILINE))


def test_the_help_lists_the_commands_and_the_basic_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["--help"], capsys)
    assert text.startswith("usage: scoop-server [serve] [OPTION ...]\n")
    assert text.count("\n") <= 66
    basic = {option.flag for option in TABLE if option.is_basic}
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
    assert listed_flags(text) >= {option.flag for option in TABLE}
    words = " ".join(text.split())
    assert "--port PORT TCP port to listen on; 0 picks a free one (default: 8080)" in words
    assert "--max-line SIZE longest message, without its newline (default: 64k)" in words
    assert "--memory, --no-memory keep the index in memory only (default: no)" in words


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "serve"])
def test_each_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([command, "--help"], capsys)
    assert text.startswith(f"usage: scoop-server {command} [-h]")
    assert ("--etcd URLS" in text) == (command != "access")
