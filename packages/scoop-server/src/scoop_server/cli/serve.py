"""``scoop-server serve``: run a server, or show or check its settings."""

import os

from scoop_server.app.application import Application
from scoop_server.app.plugin import Invocation
from scoop_server.cli import stdio
from scoop_server.cli.configuration import check_config, format_configuration
from scoop_server.cli.failures import report_failures
from scoop_server.config.addresses import are_sockets_handed_over
from scoop_server.config.contradictions import unused_certificate
from scoop_server.config.settings import Settings
from scoop_server.config.sources import resolve
from scoop_server.errors import ConfigurationError, ResourceError
from scoop_server.telemetry.logs import set_up_logging


def serve(given: Invocation) -> int:
    """Run a server until a signal stops it; with ``--check-config`` or ``--show-config``, do only that."""
    action = given.arguments.get("action")
    if action == "check-config":
        return check_config(given)
    resolved = resolve(given.flags, os.environ, given.table)
    if action == "show-config":
        text = format_configuration(resolved, given.table)
        return stdio.run_with_streams("print", lambda: stdio.print_text(text))
    # An operator would believe the server to be secure. Sockets of a service manager may have TLS.
    unused = unused_certificate(resolved.settings, resolved.sources)
    if unused is not None and not are_sockets_handed_over(os.environ):
        raise ConfigurationError(unused)
    return report_failures(lambda: _run(resolved.settings, given), resolved.settings.log_format)


def _run(settings: Settings, given: Invocation) -> int:
    try:
        set_up_logging(settings.log_level, settings.log_format, with_access=settings.access_log)
        with Application.open(
            settings, lambda: resolve(given.flags, os.environ, given.table).settings, given.table
        ) as application:
            application.run()
    except OSError as error:  # no descriptor, memory or thread for what the server itself needs
        raise ResourceError(
            f"cannot serve: {error.strerror or error}; what was acknowledged is stored as --fsync says, so raise the "
            "limits of the process or of the system and start again"
        ) from error
    return 0
