"""The checks of ``--check-config``: whether a start would succeed, without reading the index.

They run the code of a start. A server may be running with the same settings, so an address or a directory that is in
use is not a problem.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from scoop_server.app.claims import read_certificates
from scoop_server.app.plugin import IndexPlugin
from scoop_server.config.access_file import read_access_file
from scoop_server.config.settings import Settings
from scoop_server.errors import DataDirectoryError, DirectoryInUseError, ServerError
from scoop_server.net.listener import ADMIN_WAY_OUT, check_address
from scoop_server.storage.directory import DataDirectory

_EXPIRY_WARNING_DAYS: Final = 14
"""As in the alert rules: enough for a renewal by hand."""


def expiry_warning(settings: Settings, now: float) -> str | None:
    """Return a line for the operator if the certificate has expired, or will soon. A start accepts it nevertheless."""
    try:
        certificates = read_certificates(settings)
    except ServerError:  # a problem, not a warning
        return None
    if certificates is None or certificates.expires_at - now > _EXPIRY_WARNING_DAYS * 86_400:
        return None
    verb = "expires" if certificates.expires_at > now else "expired"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(certificates.expires_at))
    return f"the certificate {certificates.path} {verb} at {moment} UTC; renew it, and reload the server"


def start_problems(settings: Settings, plugin: IndexPlugin | None) -> list[ServerError]:
    """Return the errors with which a start would fail, in the order of a start.

    Sockets that a service manager would pass are not known, and so not checked.
    """
    problems: list[ServerError] = []
    with _adding_to(problems):
        if plugin is not None:
            plugin.check(settings)
        elif not settings.memory:
            _check_directory(str(settings.data_dir))
    with _adding_to(problems):
        certificates = read_certificates(settings)  # without its certificate, no address has a problem of its own
        for address in settings.addresses:
            with _adding_to(problems):
                check_address(address, certificates)
    with _adding_to(problems):
        if settings.access is not None:
            read_access_file(settings.access)
    with _adding_to(problems):
        if settings.admin is not None:
            check_address(settings.admin, way_out=ADMIN_WAY_OUT)
    return problems


@contextmanager
def _adding_to(problems: list[ServerError]) -> Iterator[None]:
    try:
        yield
    except ServerError as error:
        problems.append(error)


def _check_directory(path: str) -> None:
    """Raise DataDirectoryError unless ``path`` can be locked and written, or created."""
    if os.path.lexists(path):
        with suppress(DirectoryInUseError):
            DataDirectory.lock(path).close()
    elif not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
        raise DataDirectoryError(
            f"cannot create the data directory {path}: its parent directory is missing or not writable; "
            "create that first, because only the last part of the path is created"
        )
