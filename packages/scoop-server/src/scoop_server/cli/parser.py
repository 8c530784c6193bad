"""The command line: one tree of parsers, made from the table of options. ``serve`` is the default command."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NoReturn

from scoop_server import __version__
from scoop_server.cli import stdio
from scoop_server.config.options import Group, Option
from scoop_server.config.settings import OPTIONS
from scoop_server.config.sources import Flags
from scoop_server.errors import ConfigurationError
from scoop_server.text import closest

PROGRAM: Final = "scoop-server"

SERVE: Final = "serve"

_REVISION_DIGITS: Final = 19
"""A revision has 63 bits."""

COMMANDS: Final[Mapping[str, str]] = {
    SERVE: "Run the server. This is the default command.",
    "check": "Verify every file of a data directory, or an index in etcd, and change nothing. A server may be using "
    "it. Exit status: 0 intact, 1 damaged, 3 intact except for an interrupted write at the end, which the next start "
    "drops, 4 written by a newer version.",
    "dump": "Print an index as protocol lines, dependencies first. A server may be using the data directory.",
    "restore": "Create a data directory or an index in etcd from protocol lines on standard input, such as those of "
    "dump.",
    "nodes": "List the nodes of an index in etcd: addresses, version, applied revision, lag and digest. Exit status: "
    "0, or 1 if nodes differ at the same revision.",
}
"""The commands and their descriptions, of which the first sentence is the summary."""

_DESCRIPTION: Final = (
    "Serve a package index: nothing is indexed before its dependencies, and nothing is removed while another package "
    "depends on it."
)

_EPILOG: Final = (
    "Each option can also be set by an environment variable, --port by SCOOP_PORT, and in the TOML file that --config "
    "or SCOOP_CONFIG names, as port = 8080. Flags override variables, and variables override the file. Sizes may have "
    "the units k, m and g, times the units ms, s, m, h and d."
)


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, as the rest of the server does, and suggests flags."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError."""
        raise ConfigurationError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002  # always standard output
        """Print the help or the version. argparse would ignore that it cannot be written."""
        if status := stdio.run_with_streams("print", lambda: stdio.print_text(message)):
            self.exit(status)

    def check_flags(self, arguments: Sequence[str]) -> None:
        """Raise ConfigurationError at the first flag that is unknown.

        argparse would report the value of an unknown flag, as an unknown command, before the flag itself.
        """
        for argument in arguments:
            flag = argument.partition("=")[0]
            if flag == "--":
                return
            is_flag = flag.startswith("-") and not flag[1:2].isdigit()  # -1 is a value
            if is_flag and flag not in self._option_string_actions:
                similar = closest(flag, self._option_string_actions)
                self.error(f"unknown option {flag}" + (f"; did you mean {similar}?" if similar else ""))


class Action(Enum):
    """The action of ``serve``."""

    RUN = auto()
    SHOW_CONFIG = auto()
    CHECK_CONFIG = auto()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A parsed command line."""

    command: str
    directory: str = ""
    """The operand of ``check``, ``dump`` and ``restore``."""
    flags: Flags = field(default_factory=dict)
    """The flags of ``serve``, and of a command with ``--etcd``."""
    revision: int = 0
    """The revision of ``dump``; 0 is the current one."""
    action: Action = Action.RUN


def parse_command_line(arguments: Sequence[str]) -> CommandLine:
    """Parse the command line.

    Raises ConfigurationError for an invalid one, and SystemExit after printing the help or the version.
    """
    root, parsers = build_parsers(with_all="--help-all" in arguments)
    command = next((each for each in arguments[:1] if not each.startswith("-")), None)
    if command is None:
        root.check_flags(arguments)
    elif command in parsers:
        parsers[command].check_flags(arguments)
    else:
        similar = closest(command, parsers)
        root.error(f"unknown command {command!r}" + (f"; did you mean {similar}?" if similar else ""))
    given = vars(root.parse_args(arguments))
    if given["command"] != command:
        root.error(f"expected the command {given['command']} as the first argument")
    flags = {name: given[name] for name in (*(option.name for option in OPTIONS), "config") if name in given}
    return CommandLine(
        command or SERVE,
        directory=given.get("directory", ""),
        flags=flags,
        action=given.get("action", Action.RUN),
        revision=given.get("revision", 0),
    )


def build_parsers(*, with_all: bool = True) -> tuple[_Parser, Mapping[str, _Parser]]:
    """Return the root of the tree, and the parsers of the commands.

    Options that are not given are absent from the namespace. The help lists all options, or only the basic ones.
    """
    root = _Parser(
        prog=PROGRAM,
        usage=f"%(prog)s [{SERVE}] [OPTION ...]\n       %(prog)s check|dump|restore DIR|--etcd URLS",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_options(root, with_all=with_all)
    root.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = root.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog=PROGRAM)
    parsers: dict[str, _Parser] = {}
    for name, description in COMMANDS.items():
        parser = commands.add_parser(
            name,
            help=f"{description[0].lower()}{description[1:].partition('.')[0]}",
            description=description,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        if name == SERVE:
            _add_options(parser, with_all=with_all)
        else:
            if name != "nodes":
                parser.add_argument("directory", metavar="DIR", nargs="?", help="data directory")
            _add_etcd_options(parser, with_rules=name == "restore")
            if name == "dump":
                parser.add_argument(
                    "--revision", metavar="N", type=_revision, help="a revision of etcd that it has not compacted"
                )
        parsers[name] = parser
    return root, parsers


_OF_SERVING: Final = frozenset({"reads", "commit_timeout"})
_RULES: Final = frozenset({"reject_cycles", "max_line"})
"""The rules that all nodes must share, which a restore writes."""


def _add_etcd_options(parser: _Parser, *, with_rules: bool) -> None:
    group = parser.add_argument_group("an index in etcd, instead of DIR")
    for option in OPTIONS:
        is_of_etcd = option.group is Group.REPLICATION and option.name not in _OF_SERVING
        if is_of_etcd or (with_rules and option.name in _RULES):
            _add_option(group, option, is_listed=True)
    group.add_argument("--config", metavar="FILE", help="TOML file with these settings")


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _REVISION_DIGITS and int(text)):
        raise argparse.ArgumentTypeError(f"expected a revision above 0, got {text!r}")
    return int(text)


def _add_options(parser: _Parser, *, with_all: bool) -> None:
    groups = {group: parser.add_argument_group(group) for group in Group}
    for option in OPTIONS:
        _add_option(groups[option.group], option, is_listed=with_all or option.is_basic)
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings, such as port = 8080")
    actions = parser.add_mutually_exclusive_group()
    for flag, action, text in (
        ("--show-config", Action.SHOW_CONFIG, "print all settings and their sources as such a file, and exit"),
        ("--check-config", Action.CHECK_CONFIG, "report every problem that a start would have, and exit"),
    ):
        actions.add_argument(flag, dest="action", action="store_const", const=action, help=text)
    parser.add_argument("--help-all", action="help", help="print all options, and exit")


def _add_option(group: argparse._ArgumentGroup, option: Option, *, is_listed: bool) -> None:
    text = f"{option.meaning} (default: {option.default_text})" if is_listed else argparse.SUPPRESS
    if option.is_switch:
        group.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=text)
    else:
        action = "append" if option.is_repeatable else "store"
        group.add_argument(option.flag, action=action, metavar=option.kind.metavar, help=text)
