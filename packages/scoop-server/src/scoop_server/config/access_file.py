"""The file of ``--access FILE``: roles, which say who may change what.

A peer has the first role that names one of its identities, from its admission on and after each reload; one without a
role is disconnected. The loop asks :meth:`AccessRules.role_of` once per connection. A role that permits everything
costs nothing after that. Any other one has a screen, which the loop calls with the text of requests that it has
received: it marks each request that the role does not permit, so that the graph answers ERROR. So nothing below the
loop knows of roles.
"""

import grp
import hashlib
import os
import pwd
from pathlib import Path

from scoop_core import AccessError, AccessRules

from scoop_server.config.toml_file import read_configuration_file
from scoop_server.errors import ConfigurationError


def read_access_file(path: Path) -> AccessRules:
    """Read the file ``path``. Raises ConfigurationError with one line: file, line, reason and way out."""
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would block all clients
        raise ConfigurationError(f"cannot read {path}: not a regular file; name a TOML file with --access")
    file = read_configuration_file(str(path), "--access")
    try:
        return AccessRules.from_mapping(file.values, number_of, hashlib.sha256(file.text.encode()).hexdigest()[:16])
    except AccessError as error:
        place, way_out = file.place_of(error.key, error.number), "correct it, and try it with scoop-server access"
        raise ConfigurationError(f"cannot use {place}: {error}; {way_out}") from error


def number_of(kind: str, name: str) -> int:
    """Return the number of a user or group of this machine. Raises KeyError, and ValueError for a NUL character."""
    return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
