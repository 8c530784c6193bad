"""The command ``scoop-server``: read what the operator asks for, do it, and say in one line why not."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from scoop_server.app.application import Application
from scoop_server.cli import maintenance, usage
from scoop_server.config.sources import read_settings, reread_settings
from scoop_server.errors import CertificateError, DataDirectoryError, ListenError
from scoop_server.telemetry.logs import set_up_logging, tell_problem

_STATUS_INTERRUPTED: Final = 128 + signal.SIGINT
"""What a shell reports for a program that Ctrl-C has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    log_format = "text"
    try:
        if arguments and arguments[0] in maintenance.COMMAND_NAMES:
            return maintenance.main(arguments)
        if arguments and arguments[0] in usage.COMMAND_NAMES:
            return usage.main(arguments)
        settings = read_settings(arguments, os.environ)
        log_format = settings.log_format
        set_up_logging(settings.log_level, settings.log_format, with_access=settings.access_log)
        with Application.open(settings, lambda: reread_settings(arguments, os.environ)) as application:
            application.run()
    except (ListenError, CertificateError, DataDirectoryError) as error:
        tell_problem(str(error), log_format)
        return 1
    except KeyboardInterrupt:  # before the server listens to signals, or in a command that is none
        return _STATUS_INTERRUPTED
    return 0
