"""The command ``scoop-server``: read what the operator asks for, do it, and say in one line why not."""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from scoop_server import maintenance
from scoop_server.data_directory import DataDirectoryError
from scoop_server.listening import CannotListenError
from scoop_server.service import serve
from scoop_server.settings import read_settings

_STATUS_INTERRUPTED: Final = 128 + signal.SIGINT
"""What a shell reports for a program that Ctrl-C has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in maintenance.COMMAND_NAMES:
            return maintenance.main(arguments)
        settings = read_settings(arguments, os.environ)
        _set_up_logging(settings.log_level)
        serve(settings)
    except (CannotListenError, DataDirectoryError) as error:
        print(f"scoop-server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the server listens to signals, or in a command that is none
        return _STATUS_INTERRUPTED
    return 0


def _set_up_logging(level: str) -> None:
    """Have one line an event on stderr, with the time in UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
