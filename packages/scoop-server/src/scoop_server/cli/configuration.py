"""``--show-config`` and ``--check-config``: the settings with their sources, and what a start would reject."""

import os
import time

from scoop_server import __version__
from scoop_server.app.plugin import IndexPlugin, Invocation
from scoop_server.app.preflight import expiry_warning, start_problems
from scoop_server.cli import stdio
from scoop_server.config.contradictions import unused_certificate
from scoop_server.config.option_table import OptionTable
from scoop_server.config.sources import ResolvedSettings, resolve
from scoop_server.config.toml_file import format_value
from scoop_server.errors import ConfigurationError
from scoop_server.telemetry.logs import print_problem


def format_configuration(resolved: ResolvedSettings, table: OptionTable[IndexPlugin]) -> str:
    """Return a configuration file with these settings, each with its source in a comment."""
    lines = [f"# scoop-server {__version__}"]
    for option in table:
        match resolved.settings.value_of(option):
            case None | ():
                line = f"# {option.name} is not set"
            case (bool() | int() | float() | str()) as value:
                line = f"{option.name} = {format_value(value)}"
            case tuple(values):
                line = f"{option.name} = {format_value([str(each) for each in values])}"
            case value:
                line = f"{option.name} = {format_value(str(value))}"
        source = resolved.sources[option.name].encode("unicode_escape").decode("ascii")
        lines.append(f"{line}  # {source}")
    return "\n".join(lines) + "\n"


def check_config(given: Invocation) -> int:
    """Print the problems to standard error, one line each, or that there are none.

    Return the status with which a start would fail, or 0.

    A certificate that no address uses is only a warning here: a service manager may pass a socket with TLS.
    """
    try:
        resolved = resolve(given.flags, os.environ, given.table)
    except ConfigurationError as error:
        for problem in error.args:
            print_problem(str(problem))
        return error.exit_status
    # systemd sets MAINPID for a check during a reload. The sockets that it has passed to the server are not known here.
    if "MAINPID" not in os.environ and (unused := unused_certificate(resolved.settings, resolved.sources)):
        print_problem(f"warning: {unused}, or pass a socket with TLS by a service manager", "WARNING")
    if expiry := expiry_warning(resolved.settings, time.time()):
        print_problem(f"warning: {expiry}", "WARNING")
    problems = start_problems(resolved.settings, given.table.selected(resolved.settings))
    for each in problems:
        print_problem(str(each))
    if problems:
        return problems[0].exit_status
    return stdio.run_with_streams("print", lambda: stdio.print_text("the settings are valid\n"))
