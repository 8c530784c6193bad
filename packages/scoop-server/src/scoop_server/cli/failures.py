"""The last line of a command that fails, and its exit status."""

import signal
from collections.abc import Callable
from typing import Final

from scoop_server.errors import ServerError
from scoop_server.telemetry.logs import log_final_problem

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
"""The status that a shell reports for a program that Ctrl-C has ended."""

EXIT_OUT_OF_MEMORY: Final = 1

_OUT_OF_MEMORY: Final = (
    "out of memory; what was acknowledged is stored as --fsync says, so give the process more memory and start again"
)


def report_failures(run: Callable[[], int], log_format: str = "text") -> int:
    """Return the exit status of ``run``; report a failure of it in one line."""
    try:
        return run()
    except ServerError as error:
        log_final_problem(str(error), log_format)
        return error.exit_status
    except MemoryError:  # the index may be half changed, so nothing is saved: the journal has what was acknowledged
        log_final_problem(_OUT_OF_MEMORY, log_format)
        return EXIT_OUT_OF_MEMORY
    except KeyboardInterrupt:  # before the server handles signals, or in another command
        return EXIT_INTERRUPTED
