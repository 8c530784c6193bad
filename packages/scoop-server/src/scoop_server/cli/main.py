"""The entry point of ``scoop-server``: run a command, and report a failure in one line."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scoop_server.app.application import Application
from scoop_server.cli import stdio
from scoop_server.cli.check import check
from scoop_server.cli.check_config import check_config
from scoop_server.cli.dump import dump
from scoop_server.cli.parser import PROGRAM, SERVE, Action, CommandLine, parse_command_line
from scoop_server.cli.restore import restore
from scoop_server.cli.show_config import format_configuration
from scoop_server.config.addresses import are_sockets_handed_over
from scoop_server.config.contradictions import unused_certificate
from scoop_server.config.settings import Settings
from scoop_server.config.sources import ResolvedSettings, resolve
from scoop_server.errors import ConfigurationError, ResourceError, ServerError
from scoop_server.telemetry.logs import log_final_problem, set_up_logging

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
"""The status that a shell reports for a program that Ctrl-C has ended."""

EXIT_OUT_OF_MEMORY: Final = 1

_OUT_OF_MEMORY: Final = (
    "out of memory; what was acknowledged is stored as --fsync says, so give the process more memory and start again"
)

_DIRECTORY_COMMANDS: Final[Mapping[str, Callable[[str], int]]] = {
    "check": lambda path: check(path, stdio.standard_output_text()),
    "dump": lambda path: dump(path, stdio.standard_output()),
    "restore": lambda path: restore(path, stdio.standard_input()),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``, and return its exit status."""
    log_format = "text"
    try:
        line = parse_command_line(sys.argv[1:] if arguments is None else arguments)
        if line.command != SERVE:
            return stdio.run_with_streams(f"{line.command} {line.directory}".rstrip(), lambda: _run(line))
        if line.action is Action.CHECK_CONFIG:
            return check_config(line.flags, os.environ)
        resolved = resolve(line.flags, os.environ)
        if line.action is Action.SHOW_CONFIG:
            return stdio.run_with_streams("print", lambda: stdio.print_text(format_configuration(resolved)))
        _reject_unused_certificate(resolved)
        log_format = resolved.settings.log_format
        _serve(resolved.settings, lambda: resolve(line.flags, os.environ).settings)
    except ServerError as error:
        log_final_problem(str(error), log_format)
        return error.exit_status
    except MemoryError:  # the index may be half changed, so nothing is saved: the journal has what was acknowledged
        log_final_problem(_OUT_OF_MEMORY, log_format)
        return EXIT_OUT_OF_MEMORY
    except KeyboardInterrupt:  # before the server handles signals, or in another command
        return EXIT_INTERRUPTED
    return 0


def _serve(settings: Settings, reread: Callable[[], Settings]) -> None:
    """Run a server until a signal stops it."""
    try:
        set_up_logging(settings.log_level, settings.log_format, with_access=settings.access_log)
        with Application.open(settings, reread) as application:
            application.run()
    except OSError as error:  # no descriptor, memory or thread for what the server itself needs
        raise ResourceError(
            f"cannot serve: {error.strerror or error}; what was acknowledged is stored as --fsync says, so raise the "
            "limits of the process or of the system and start again"
        ) from error


def _run(line: CommandLine) -> int:
    """Run a command on its data directory, or on the index in etcd that the settings name."""
    if line.directory:
        if line.flags or line.revision:
            raise ConfigurationError(f"expected a data directory or --etcd, got {line.directory} and flags of etcd")
        return _DIRECTORY_COMMANDS[line.command](line.directory)
    settings = resolve(line.flags, os.environ).settings
    if settings.replication.urls is None:
        place = "" if line.command == "nodes" else "a data directory or "
        raise ConfigurationError(f"expected {place}--etcd URLS (see {PROGRAM} {line.command} --help)")
    from scoop_etcd import commands as etcd_commands  # noqa: PLC0415  # its imports cost memory and time

    match line.command:
        case "check":
            return etcd_commands.check_etcd(settings, stdio.standard_output_text())
        case "dump":
            return etcd_commands.dump_etcd(settings, line.revision, stdio.standard_output())
        case "restore":
            return etcd_commands.restore_etcd(settings, stdio.standard_input())
        case _:
            return etcd_commands.print_nodes(settings, stdio.standard_output_text())


def _reject_unused_certificate(resolved: ResolvedSettings) -> None:
    """Raise ConfigurationError if no address uses the certificate, unless a service manager has passed sockets."""
    problem = unused_certificate(resolved.settings, resolved.sources)
    if problem is not None and not are_sockets_handed_over(os.environ):
        raise ConfigurationError(problem)
