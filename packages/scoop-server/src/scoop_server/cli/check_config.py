"""``--check-config``: report every problem that a start would have, one line each."""

import sys
import time
from collections.abc import Mapping

from scoop_server.app.preflight import expiry_warning, start_problems
from scoop_server.config.contradictions import unused_certificate
from scoop_server.config.sources import Flags, resolve
from scoop_server.errors import ConfigurationError
from scoop_server.telemetry.logs import escaped


def check_config(flags: Flags, environment: Mapping[str, str]) -> int:
    """Print the problems to standard error, and return the status with which a start would fail, or 0.

    A certificate that no address uses is only a warning here: a service manager may pass a socket with TLS.
    """
    try:
        resolved = resolve(flags, environment)
    except ConfigurationError as error:
        for problem in error.args:
            _report(str(problem))
        return error.exit_status
    # systemd sets MAINPID for a check during a reload. The sockets that it has passed to the server are not known here.
    if "MAINPID" not in environment and (unused := unused_certificate(resolved.settings, resolved.sources)):
        _report(f"warning: {unused}, or pass a socket with TLS by a service manager")
    if expiry := expiry_warning(resolved.settings, time.time()):
        _report(f"warning: {expiry}")
    problems = start_problems(resolved.settings)
    for each in problems:
        _report(str(each))
    return problems[0].exit_status if problems else 0


def _report(line: str) -> None:
    print(f"scoop-server: {escaped(line)}", file=sys.stderr)
