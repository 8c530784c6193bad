"""The settings of one run of the server."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from scoop_core import InternetAddress

from scoop_server.config.addresses import ListenAddress
from scoop_server.config.limits import Limits
from scoop_server.config.options import SERVE, Group, Option, declared_options, option, repeatable_option
from scoop_server.config.values import ADDRESS, HOST, PLAIN_ADDRESS, SWITCH, choice, integer, member, path

OwnerT = TypeVar("OwnerT")

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")


class Fsync(enum.StrEnum):
    """The sync policy of commits. Under each policy, every acknowledged change survives the death of the process."""

    ALWAYS = "always"
    """Every commit waits: every answered change survives a power loss."""
    EVERYSEC = "everysec"
    """Once per second: a power loss may lose the last second."""
    NEVER = "never"
    """The operating system decides."""


def _file(group: Group, meaning: str, *, is_basic: bool = False) -> Path | None:
    """Declare the path of a file that need not be given."""
    return option(None, path("FILE"), group, meaning, is_basic=is_basic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one run of the server."""

    listen: tuple[ListenAddress, ...] = repeatable_option(
        ADDRESS,
        Group.LISTENING,
        "address to listen on: tcp:HOST:PORT, tls:HOST:PORT or unix:PATH; can be given several times, and replaces "
        "--host and --port",
        is_basic=True,
    )
    host: str = option("127.0.0.1", HOST, Group.LISTENING, "host name or IP address to listen on, without TLS")
    port: int = option(
        8080, integer(0, 65_535, "PORT"), Group.LISTENING, "TCP port to listen on; 0 picks a free one", is_basic=True
    )
    tls_cert: Path | None = _file(
        Group.TLS, "certificate of the server, in PEM, followed by the intermediate certificates", is_basic=True
    )
    tls_key: Path | None = _file(Group.TLS, "private key of the certificate, in PEM", is_basic=True)
    tls_client_ca: Path | None = _file(
        Group.TLS,
        "certificate authorities, in PEM, that issue client certificates; without it clients need no certificate",
        is_basic=True,
    )
    tls_crl: Path | None = _file(
        Group.TLS, "revocation lists of the client authorities, in PEM; without it no certificate is revoked"
    )
    access: Path | None = _file(
        Group.LISTENING,
        "TOML file with the roles of clients; without it each client that is admitted may send anything",
    )
    data_dir: Path = option(
        Path("scoop-data"),
        path("DIR"),
        Group.DATA,
        "directory that stores the index; created if missing",
        is_basic=True,
    )
    memory: bool = option(False, SWITCH, Group.DATA, "keep the index in memory only", is_basic=True)
    fsync: Fsync = option(
        Fsync.ALWAYS,
        member("WHEN", Fsync),
        Group.DATA,
        "when an acknowledged change is synced to disk: always (before the response), everysec (within a second) or "
        "never (left to the operating system)",
    )
    reject_cycles: bool = option(
        False,
        SWITCH,
        Group.DATA,
        "answer FAIL to an INDEX that would close a dependency cycle",
        commands=(SERVE, "restore"),
    )
    admin: ListenAddress | None = option(
        None,
        PLAIN_ADDRESS,
        Group.MONITORING,
        "address that serves /livez, /readyz, /metrics and /version over HTTP: HOST:PORT or unix:PATH",
        is_basic=True,
    )
    log_level: str = option(
        "info", choice("LEVEL", LOG_LEVELS), Group.LOGGING, f"least severe level to log: {', '.join(LOG_LEVELS)}"
    )
    log_format: str = option(
        "text", choice("FORMAT", LOG_FORMATS), Group.LOGGING, "format of the log: text, or json, one object per line"
    )
    access_log: bool = option(False, SWITCH, Group.LOGGING, "log each request with its client and its response")
    limits: Limits = field(default_factory=Limits)
    parts: Mapping[type, object] = field(default_factory=dict)
    """The options of plug-ins, by the dataclasses that declare them."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The sources of those options that are not defaults, by name; see :meth:`source_of`."""

    def part(self, owner: type[OwnerT]) -> OwnerT:
        """Return the options that the dataclass ``owner`` declares."""
        parts = {Settings: self, Limits: self.limits, **self.parts}
        found = parts.get(owner)
        return found if isinstance(found, owner) else owner()

    def value_of(self, option: Option) -> object:
        """Return the value of ``option``."""
        value: object = getattr(self.part(option.owner), option.attribute)
        return value

    def source_of(self, name: str) -> str:
        """Return the source of an option, such as ``flag --port``, ``variable SCOOP_PORT`` or ``scoop.toml line 3``."""
        return self.sources.get(name, "default")

    def is_flag(self, name: str) -> bool:
        """Return whether a flag has set the option ``name``."""
        return self.source_of(name) == f"flag --{name.replace('_', '-')}"

    def with_source(self, name: str) -> str:
        """Return the name of an option and its source, for the operator."""
        return f"{name} ({self.source_of(name)})"

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        """The addresses to listen on."""
        return self.listen or (ListenAddress(InternetAddress(self.host, self.port)),)


OPTIONS: Final = tuple(
    sorted([*declared_options(Settings), *declared_options(Limits)], key=lambda each: [*Group].index(Group(each.group)))
)
"""Every option of the server, in the order of the help."""
