"""The entry point of ``scoop-server``: parse the command line, run its command, and report its failure."""

import signal
import sys
from collections.abc import Sequence
from typing import Final

from scoop_server.app.plugin import OptionTable
from scoop_server.cli import stdio
from scoop_server.cli.parser import all_commands, parse_command_line
from scoop_server.config.options import SERVE
from scoop_server.errors import ServerError
from scoop_server.telemetry.logs import log_final_problem

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
"""The status that a shell reports for a program that Ctrl-C has ended."""

EXIT_OUT_OF_MEMORY: Final = 1

_OUT_OF_MEMORY: Final = (
    "out of memory; what was acknowledged is stored as --fsync says, so give the process more memory and start again"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``, report a failure in one line, and return its exit status."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except ServerError as error:
        log_final_problem(str(error))
        return error.exit_status
    except MemoryError:  # the index may be half changed, so nothing is saved: the journal has what was acknowledged
        log_final_problem(_OUT_OF_MEMORY)
        return EXIT_OUT_OF_MEMORY
    except KeyboardInterrupt:  # before the server handles signals, or in another command
        return EXIT_INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    given = parse_command_line(arguments, OptionTable())
    run = all_commands(given.table)[given.command].run
    if given.command == SERVE:
        return run(given)
    return stdio.run_with_streams(f"{given.command} {given.directory}".rstrip(), lambda: run(given))
