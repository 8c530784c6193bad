"""The settings of the command. Precedence: flags, variables, the file with named servers, defaults.

The file is TOML::

    server = "build"                    # used without --server

    [servers.build]
    addresses = ["tls:index-1.example:8443", "tls:index-2.example:8443"]
    ca = "/etc/scoop/authority.pem"
    cert = "/etc/scoop/client.pem"
    data = "/var/lib/scoop"             # answers offline questions
"""

import contextlib
import os
import re
import ssl
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scoop_core import Address, DependencyGraph, parse_address, parse_duration

from scoop_client.blocking import Client
from scoop_client.errors import ClientError
from scoop_client.inputs import read_graph
from scoop_client.link import describe
from scoop_client.options import MAX_TIMEOUT, create_tls_context

DEFAULT_ADDRESS: Final = "127.0.0.1:8080"
DEFAULT_DATA: Final = "scoop-data"
"""The data directory of a server that was started in the same directory without options."""

VARIABLES: Final = {
    "server": "SCOOP_SERVER",
    "ca": "SCOOP_CLIENT_CA",
    "cert": "SCOOP_CLIENT_CERT",
    "key": "SCOOP_CLIENT_KEY",
    "connect_timeout": "SCOOP_CLIENT_CONNECT_TIMEOUT",
    "response_timeout": "SCOOP_CLIENT_RESPONSE_TIMEOUT",
    "data": "SCOOP_CLIENT_DATA",
}
"""The variable of each setting. The prefix SCOOP_ alone belongs to the server."""

CONFIG_VARIABLE: Final = "SCOOP_CLIENT_CONFIG"


class UsageError(ClientError):
    """The command line, a variable or the settings file is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings."""

    server: str = DEFAULT_ADDRESS
    """Addresses, separated by commas, or the name of a server in the file."""
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    connect_timeout: str = "5s"
    response_timeout: str = "30s"
    data: str = DEFAULT_DATA
    form: str | None = None
    """The form of ``data``; None: as its content shows."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The flag, variable or file of each setting, by name."""
    file: Path = Path()
    """The settings file, which may not exist."""

    def read_graph(self) -> DependencyGraph:
        """Return the graph that answers questions. Raises UsageError if ``--server`` names none, and InvalidInput."""
        return read_graph(self.data_directory(), self.form)

    def data_directory(self) -> str:
        """Return the path of the data that answers questions. Raises UsageError if ``--server`` names none."""
        if self.sources.get("server") == "--server" and self.sources.get("data") != str(self.file):
            raise UsageError(f"--server: {self.file} has no data directory of {self.server!r}; use --from")
        return self.data

    def new_client(
        self, addresses: str | None = None, *, resend_changes: bool = False, reconnect_timeout: float = 10.0
    ) -> Client:
        """Return a client of the server, or of ``addresses``. Raises UsageError."""
        parsed = self._parse_addresses(addresses)
        with self._problems_of("connect_timeout"):
            connect_timeout = _parse_timeout(self.connect_timeout)
        with self._problems_of("response_timeout"):
            response_timeout = _parse_timeout(self.response_timeout)
        try:
            uses_files = self.ca or self.cert or self.key
            return Client(
                *parsed,
                tls=create_tls_context(self.ca, self.cert, self.key) if uses_files else None,
                connect_timeout=connect_timeout,
                response_timeout=response_timeout,
                reconnect_timeout=reconnect_timeout,
                resend_changes=resend_changes,
            )
        except OSError as error:
            files = ", ".join(filter(None, (self.ca, self.cert, self.key)))
            is_content = isinstance(error, ssl.SSLError)
            way_out = "; expected PEM files, and the key of --cert in it or in --key" if is_content else ""
            raise UsageError(f"cannot read the certificates {files}: {describe(error)}{way_out}") from error

    def _parse_addresses(self, into: str | None) -> list[Address]:
        given = into or self.server
        try:
            parsed = [parse_address(each) for each in re.split(r"[,\s]+", given) if each]
            if not parsed:
                raise ValueError(f"expected at least one address, got {given!r}")  # noqa: TRY301  # reported as below
        except ValueError as error:
            is_name = into is None and not re.search(r"[:,\s]", given)
            unknown = f", and no server of {self.file} has that name" if is_name else ""
            raise UsageError(f"{'--into' if into else self.sources['server']}: {error}{unknown}") from error
        return parsed

    @contextlib.contextmanager
    def _problems_of(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise UsageError(f"{self.sources[name]}: {error}") from error


def _parse_timeout(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > MAX_TIMEOUT:
        raise ValueError(f"expected a time of at most {MAX_TIMEOUT} s, got {text!r}")
    return seconds


def default_file(environment: Mapping[str, str]) -> Path:
    """Return the path of the settings file that is read if none is named."""
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return Path(home, "scoop", "client.toml")


def resolve(flags: Namespace, environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises UsageError."""
    given: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name, variable in VARIABLES.items():
        flag, set_by_variable = getattr(flags, name, None), environment.get(variable)
        option = "--from" if name == "data" else f"--{name.replace('_', '-')}"
        if flag == "":
            raise UsageError(f"{option}: expected a value, got ''")
        if value := flag or set_by_variable:
            given[name] = value
            sources[name] = option if flag else variable
    named = getattr(flags, "config", None) or environment.get(CONFIG_VARIABLE)
    path = Path(named) if named else default_file(environment)
    if named or path.is_file():
        found = _read_file(path, given.get("server"))
        sources = dict.fromkeys(found, str(path)) | sources
        given = found | given
        # A name has been replaced by its addresses.
        if "addresses" in given:
            given["server"] = given.pop("addresses")
            sources["server"] = sources.pop("addresses")
    return Settings(**given, form=getattr(flags, "form", None), sources=sources, file=path)


def _read_file(path: Path, server: str | None) -> dict[str, str]:
    """Return the settings of the server with the name ``server``, or of the default one."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the settings {path}: {reason}") from error
    servers = content.get("servers", {})
    name = server or content.get("server")
    if not isinstance(servers, dict) or content.keys() - {"server", "servers"}:
        raise UsageError(f"cannot read the settings {path}: expected the key server and tables [servers.NAME]")
    if name is None:
        return {}
    entry = servers.get(name)
    if entry is None:
        return {} if server else {"server": str(name)}
    known = {"addresses"} | VARIABLES.keys() - {"server"}
    if not isinstance(entry, dict) or entry.keys() - known or not entry.get("addresses"):
        raise UsageError(
            f"cannot read the settings {path}: expected addresses and other settings in [servers.{name}], of "
            f"{', '.join(sorted(known))}"
        )
    addresses = entry["addresses"]
    joined = addresses if isinstance(addresses, str) else ",".join(map(str, addresses))
    return {key: str(value) for key, value in entry.items()} | {"addresses": joined}
