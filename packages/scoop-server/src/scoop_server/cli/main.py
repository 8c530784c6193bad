"""The entry point of ``scoop-server``: parse the command line, and run its command."""

import sys
from collections.abc import Sequence

from scoop_server.app.plugin import find_plugins
from scoop_server.cli import stdio
from scoop_server.cli.failures import report_failures
from scoop_server.cli.parser import all_commands, parse_command_line
from scoop_server.config.option_table import OptionTable
from scoop_server.config.options import SERVE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``, and return its exit status."""
    return report_failures(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    given = parse_command_line(arguments, OptionTable(find_plugins))
    run = all_commands(given.table)[given.command].run
    if given.command == SERVE:
        return run(given)
    return stdio.run_with_streams(f"{given.command} {given.directory}".rstrip(), lambda: run(given))
