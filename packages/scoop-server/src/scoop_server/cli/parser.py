"""The command line: one tree of parsers, made from the tables of options and commands. ``serve`` is the default."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from scoop_server import __version__, form
from scoop_server.app.plugin import Command, Invocation, OptionTable
from scoop_server.cli import stdio
from scoop_server.cli.commands import COMMANDS
from scoop_server.config.options import SERVE, Group, Option
from scoop_server.errors import ConfigurationError

PROGRAM: Final = "scoop-server"

_DESCRIPTION: Final = (
    "Serve a package index: nothing is indexed before its dependencies, and nothing is removed while another package "
    "depends on it."
)

_EPILOG: Final = (
    "Each option can also be set by an environment variable, --port by SCOOP_PORT, and in the TOML file that --config "
    "or SCOOP_CONFIG names, as port = 8080. Flags override variables, and variables override the file. Sizes may have "
    "the units k, m and g, times the units ms, s, m, h and d."
)

_LISTS_PLUGINS: Final = frozenset({"-h", "--help", "--help-all", "--show-config"})
"""Flags whose output includes the options of plug-ins."""


class _UnknownArgumentError(ConfigurationError):
    """An option or a command that no parser knows; a plug-in may."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, as the rest of the server does."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError."""
        raise ConfigurationError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002  # always standard output
        """Print the help or the version. argparse would ignore that it cannot be written."""
        if status := stdio.run_with_streams("print", lambda: stdio.print_text(message)):
            self.exit(status)

    def reject(self, word: str, advice: str) -> NoReturn:
        """Raise the error of an unknown word, with the way out if there is one."""
        raise _UnknownArgumentError(f"unknown {word}{f'; {advice}' if advice else ''} (see {self.prog} --help)")

    def check_flags(self, arguments: Sequence[str], table: OptionTable) -> None:
        """Reject the first flag that is unknown.

        argparse would report the value of an unknown flag, as an unknown command, before the flag itself.
        """
        for argument in arguments:
            flag = argument.partition("=")[0]
            if flag == "--":
                return
            is_flag = flag.startswith("-") and not flag[1:2].isdigit()  # -1 is a value
            if is_flag and flag not in self._option_string_actions:
                self.reject(f"option {flag}", table.advice(flag, {each: each for each in self._option_string_actions}))


def parse_command_line(arguments: Sequence[str], table: OptionTable) -> Invocation:
    """Parse the command line.

    Raises ConfigurationError for an invalid one, and SystemExit after printing the help or the version.
    """
    if not _LISTS_PLUGINS.isdisjoint(arguments):
        table.load_plugins()
    try:
        return _parse(arguments, table)
    except _UnknownArgumentError:
        table.load_plugins()
        if not table.plugins:
            raise
        return _parse(arguments, table)


def _parse(arguments: Sequence[str], table: OptionTable) -> Invocation:
    root, parsers = build_parsers(table, with_all="--help-all" in arguments)
    command = next((each for each in arguments[:1] if not each.startswith("-")), None)
    if command is not None and command not in parsers:
        root.reject(f"command {command!r}", table.advice(command, {each: each for each in parsers}))
    parsers.get(command or "", root).check_flags(arguments, table)
    given = vars(root.parse_args(_with_joined_values(arguments)))
    if (named := given.pop("command")) != command:
        root.error(f"expected the command {named} as the first argument")
    names = {"config", *(option.name for option in table)}
    return Invocation(
        command or SERVE,
        given.pop("directory", ""),
        {name: value for name, value in given.items() if name in names},
        {name: value for name, value in given.items() if name not in names},
        table,
    )


def _with_joined_values(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with ``--option=-1s`` for ``--option -1s``, whose value argparse takes for a flag."""
    joined: list[str] = []
    for argument in arguments:
        if re.match(r"-[0-9]", argument) and joined and re.fullmatch(r"--[^=]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def all_commands(table: OptionTable) -> Mapping[str, Command]:
    """Return the commands of the server and of the plug-ins that have been loaded, by name."""
    commands = dict(COMMANDS)
    for plugin in table.plugins:
        commands |= plugin.commands
    return commands


def build_parsers(table: OptionTable, *, with_all: bool = True) -> tuple[_Parser, Mapping[str, _Parser]]:
    """Return the root of the tree, and the parsers of the commands. The help lists all options, or the basic ones."""
    commands = all_commands(table)
    # Options that are not given are absent from the namespace.
    root = _Parser(
        prog=PROGRAM, usage=_usage(commands, table), description=_DESCRIPTION, epilog=_EPILOG,
        argument_default=argparse.SUPPRESS, allow_abbrev=False,
    )  # fmt: skip
    _add_options(root, table, with_all=with_all)
    root.add_argument("--version", action="version", version=f"{PROGRAM} {__version__} ({form()})")
    subparsers = root.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog=PROGRAM)
    parsers: dict[str, _Parser] = {}
    for name, command in commands.items():
        summary = f"{command.description[0].lower()}{command.description[1:].partition('.')[0]}"
        parsers[name] = parser = subparsers.add_parser(
            name, help=summary, description=command.description, argument_default=argparse.SUPPRESS, allow_abbrev=False
        )
        if name == SERVE:
            _add_options(parser, table, with_all=with_all)
            continue
        if command.has_directory:
            parser.add_argument("directory", metavar="DIR", nargs="?", help="data directory")
        if command.add_arguments is not None:
            command.add_arguments(parser)
        if table.plugins and (command.has_directory or name not in COMMANDS):  # one of a plug-in needs its options
            _add_selection(parser, name, command, table)
    return root, parsers


def _usage(commands: Mapping[str, Command], table: OptionTable) -> str:
    others = "|".join(name for name, command in commands.items() if command.has_directory)
    places = "|".join(["DIR", *(plugin.selector for plugin in table.plugins)])
    return f"%(prog)s [{SERVE}] [OPTION ...]\n       %(prog)s {others} {places}"


def _add_selection(parser: _Parser, name: str, command: Command, table: OptionTable) -> None:
    """Add the options of the command ``name`` that name an index of a plug-in."""
    instead = ", instead of DIR" if command.has_directory else ""
    groups = {each.options: parser.add_argument_group(f"an index in {each.place}{instead}") for each in table.plugins}
    others = parser.add_argument_group("settings of such an index")
    for option in table:
        if name in option.commands:
            _add_option(groups.get(option.owner, others), option, is_listed=True)
    for plugin in table.plugins:
        plugin.add_arguments(name, groups[plugin.options])
    others.add_argument("--config", metavar="FILE", help="TOML file with these settings and those above")


def _add_options(parser: _Parser, table: OptionTable, *, with_all: bool) -> None:
    groups = {group: parser.add_argument_group(group) for group in [*Group, *(option.group for option in table)]}
    for option in table:
        if SERVE in option.commands:
            _add_option(groups[option.group], option, is_listed=with_all or option.is_basic)
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings, such as port = 8080")
    actions = parser.add_mutually_exclusive_group()
    for action, text in (
        ("show-config", "print all settings and their sources as such a file, and exit"),
        ("check-config", "report every problem that a start would have, and exit"),
    ):
        actions.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=text)
    parser.add_argument("--help-all", action="help", help="print all options, and exit")


def _add_option(group: argparse._ArgumentGroup, option: Option, *, is_listed: bool) -> None:
    text = f"{option.meaning} (default: {option.default_text})" if is_listed else argparse.SUPPRESS
    if option.is_switch:
        group.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=text)
    else:
        action = "append" if option.is_repeatable else "store"
        group.add_argument(option.flag, action=action, metavar=option.kind.metavar, help=text)
