"""``scoop-server serve``: run a server, or show or check its settings."""

import os
import time
from contextlib import ExitStack
from functools import partial

from scoop_server import __version__
from scoop_server.app.application import Application
from scoop_server.app.plugin import Invocation, OptionTable
from scoop_server.app.preflight import expiry_warning, start_problems
from scoop_server.app.sources import resolve
from scoop_server.cli import stdio
from scoop_server.config.addresses import are_sockets_handed_over
from scoop_server.config.contradictions import unused_certificate
from scoop_server.config.settings import Settings
from scoop_server.config.toml_file import format_value
from scoop_server.errors import ConfigurationError, ResourceError
from scoop_server.telemetry.logs import print_problem, set_up_logging


def serve(given: Invocation) -> int:
    """Run a server until a signal stops it; with ``--check-config`` or ``--show-config``, do only that."""
    action = given.arguments.get("action")
    if action == "check-config":
        return check_config(given)
    settings = resolve(given.flags, os.environ, given.table)
    if action == "show-config":
        text = format_configuration(settings, given.table)
        return stdio.run_with_streams("print", lambda: stdio.print_text(text))
    # An operator would believe the server to be secure. Sockets of a service manager may have TLS.
    unused = unused_certificate(settings)
    if unused is not None and not are_sockets_handed_over(os.environ):
        raise ConfigurationError(unused)
    try:
        set_up_logging(settings.log_level, settings.log_format, with_access=settings.access_log)
        reread = partial(resolve, given.flags, os.environ, given.table)
        with ExitStack() as resources:
            Application(settings, reread, given.table, resources).run()
    except OSError as error:  # no descriptor, memory or thread for what the server itself needs
        raise ResourceError(
            f"cannot serve: {error.strerror or error}; what was acknowledged is stored as --fsync says, so raise the "
            "limits of the process or of the system and start again"
        ) from error
    return 0


def format_configuration(settings: Settings, table: OptionTable) -> str:
    """Return a configuration file with these settings, each with its source in a comment."""
    lines = [f"# scoop-server {__version__}"]
    for option in table:
        value = settings.value_of(option)
        line = f"# {option.name} is not set" if value in (None, ()) else f"{option.name} = {format_value(value)}"
        source = settings.source_of(option.name).encode("unicode_escape").decode("ascii")
        lines.append(f"{line}  # {source}")
    return "\n".join(lines) + "\n"


def check_config(given: Invocation) -> int:
    """Print the problems to standard error, one line each, or that there are none.

    Return the status with which a start would fail, or 0.

    A certificate that no address uses is only a warning here: a service manager may pass a socket with TLS.
    """
    try:
        settings = resolve(given.flags, os.environ, given.table)
    except ConfigurationError as error:
        for problem in error.args:
            print_problem(str(problem))
        return error.exit_status
    # systemd sets MAINPID for a check during a reload. The sockets that it has passed to the server are not known here.
    if "MAINPID" not in os.environ and (unused := unused_certificate(settings)):
        print_problem(f"warning: {unused}, or pass a socket with TLS by a service manager", "WARNING")
    if expiry := expiry_warning(settings, time.time()):
        print_problem(f"warning: {expiry}", "WARNING")
    problems = start_problems(settings, given.table.selected(settings))
    for each in problems:
        print_problem(str(each))
    if problems:
        return problems[0].exit_status
    return stdio.run_with_streams("print", lambda: stdio.print_text("the settings are valid\n"))
