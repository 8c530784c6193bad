"""The table of commands. Those for a stored index use a data directory, or the source of a plug-in."""

import os
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoop_core import resolve_identity

from scoop_server.app.plugin import Command, IndexSource, Invocation
from scoop_server.app.sources import resolve
from scoop_server.cli import stdio
from scoop_server.cli.directory import DirectorySource
from scoop_server.config.access_file import number_of, read_access_file
from scoop_server.config.options import SERVE
from scoop_server.errors import ConfigurationError
from scoop_server.telemetry.logs import escaped


def _serve(given: Invocation) -> int:
    from scoop_server.cli.serve import serve  # noqa: PLC0415  # nothing else needs the event loop and TLS

    return serve(given)


def _source(given: Invocation, *accepted: str) -> IndexSource:
    """Return the index that the arguments name. Raises ConfigurationError if they name none, or two.

    A data directory has the arguments ``accepted``; an index of a plug-in may have more.
    """
    if given.directory:
        if given.flags or not given.arguments.keys() <= {*accepted}:
            raise ConfigurationError(f"expected {_places(given)}, got {given.directory} and other arguments")
        return DirectorySource(given.directory, given.arguments)
    settings = resolve(given.flags, os.environ, given.table)
    plugin = given.table.selected(settings)
    if plugin is None:
        raise ConfigurationError(f"expected {_places(given)} (see scoop-server {given.command} --help)")
    return plugin.source(settings, given.arguments)


def _access(given: Invocation) -> int:
    file, identity, line = (str(given.arguments.get(name, "")) for name in ("file", "identity", "line"))
    try:
        is_permitted, reason = read_access_file(Path(file)).explain([resolve_identity(identity, number_of)], line)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    print(escaped(reason), file=stdio.standard_output_text())
    return 0 if is_permitted else 1


def _add_access_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="TOML file with roles")
    parser.add_argument("identity", metavar="IDENTITY", help="such as CN=builder, user=ci or anonymous")
    parser.add_argument("line", metavar="LINE", nargs="?", help="a request, such as 'INDEX|gcc|gmp'")


def _places(given: Invocation) -> str:
    given.table.load_plugins()
    return " or ".join(["a data directory", *(plugin.selector for plugin in given.table.plugins)])


_MOMENT: Final = "a batch, a time, or a time ago such as 2h"


def _add_moment(parser: ArgumentParser) -> None:
    parser.add_argument("--at", metavar="MOMENT", help=f"the index as it was: at {_MOMENT}")


_FILTERS: Final = ("since", "until", "package", "identity", "follow", "json")


def _add_filters(parser: ArgumentParser) -> None:
    parser.add_argument("--since", metavar="MOMENT", help=f"begin there: after {_MOMENT}")
    parser.add_argument("--until", metavar="MOMENT", help=f"end there: {_MOMENT}")
    parser.add_argument("--package", metavar="NAME", help="changes of this package only")
    parser.add_argument("--identity", metavar="NAME", help="changes of this identity only, such as CN=builder")
    parser.add_argument("--follow", action="store_true", help="go on with new changes, until interrupted")
    parser.add_argument("--json", action="store_true", help="print an object per line")


COMMANDS: Final[Mapping[str, Command]] = {
    SERVE: Command(_serve, "Run the server. This is the default command."),
    "check": Command(
        lambda given: _source(given).check(stdio.standard_output_text()),
        "Verify every file of a stored index, and change nothing. A server may be using it. Exit status: 0 intact, "
        "1 damaged, 3 intact except for an interrupted write at the end, which the next start drops, 4 written by a "
        "newer version.",
        has_directory=True,
    ),
    "dump": Command(
        lambda given: _source(given, "at").dump(stdio.standard_output()),
        "Print a stored index as protocol lines. Dependencies come first. A server may be using it.",
        has_directory=True,
        add_arguments=_add_moment,
    ),
    "log": Command(
        lambda given: _source(given, *_FILTERS).log(stdio.standard_output_text()),
        "Print who changed what: all changes in a data directory, its history, or archived files. A server may be "
        "using it.",
        has_directory=True,
        add_arguments=_add_filters,
    ),
    "restore": Command(
        lambda given: _source(given).restore(stdio.standard_input()),
        "Create a stored index from protocol lines on standard input, such as those of dump.",
        has_directory=True,
    ),
    "access": Command(
        _access,
        "Say which role of an access file an identity has, and whether it permits a request. Exit status: 0 permitted, "
        "1 not permitted.",
        add_arguments=_add_access_arguments,
    ),
}
"""The commands of the server, by name."""
