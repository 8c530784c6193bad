"""The options of an index that is replicated over etcd, and their contradictions."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from scoop_core import format_host_and_port, parse_host_and_port

from scoop_server.config.contradictions import without_effect
from scoop_server.config.options import SERVE, declared_options, option
from scoop_server.config.settings import Settings
from scoop_server.config.values import KIB, Kind, duration, format_size, member, parse_text, path

T = TypeVar("T")

PASSWORD_VARIABLE: Final = "SCOOP_ETCD_PASSWORD"  # noqa: S105  # the name of one
"""The environment variable for the password of ``--etcd-user``. It is no option, so that nothing prints it."""

_COMMANDS: Final = (SERVE, "check", "dump", "log", "restore", "nodes")
"""The commands that read or write an index in etcd."""

_LINE_BYTES_MAX: Final = 512 * KIB
"""A line must fit into one entry, and an entry into a request of etcd, which has 1.5 MiB by default."""

_PREFIX_BYTES_MAX: Final = 255
"""Far longer than a path needs. Each entry repeats it."""


class Reads(StrEnum):
    """The guarantee of a QUERY."""

    LINEARIZABLE = "linearizable"
    """It sees every change that any node acknowledged before the QUERY was sent."""
    LOCAL = "local"
    """It is answered immediately from the state of its node, which may lag behind."""


@dataclass(frozen=True, slots=True)
class EtcdUrls:
    """The addresses of the endpoints of etcd, ``HOST:PORT``, with TLS for all or none."""

    addresses: tuple[str, ...]
    is_tls: bool

    def __str__(self) -> str:
        return ",".join(f"{'https' if self.is_tls else 'http'}://{address}" for address in self.addresses)


def _parse_urls(text: str) -> EtcdUrls:
    if "@" in text:  # which may hide a password
        raise ValueError("expected URLs without a user; set it with --etcd-user")
    schemes, addresses = set(), []
    for each in text.split(","):
        scheme, _, address = each.strip().removesuffix("/").partition("://")
        host, port = "", 0
        with suppress(ValueError):
            host, port = parse_host_and_port(address)
        if scheme not in {"http", "https"} or not port:
            raise ValueError(f"expected https://HOST:PORT or http://HOST:PORT, separated by commas, got {each!r}")
        schemes.add(scheme)
        addresses.append(format_host_and_port(host, port))
    if len(schemes) > 1:
        raise ValueError("expected https: for all endpoints or http: for all, got both")
    return EtcdUrls(tuple(dict.fromkeys(addresses)), schemes == {"https"})


def _parse_prefix(text: str) -> str:
    if not text.isascii() or not text.isprintable() or len(text) > _PREFIX_BYTES_MAX or not text.strip("/"):
        raise ValueError(
            f"expected a prefix of 1 to {_PREFIX_BYTES_MAX} printable ASCII characters, such as /scoop/, got {text!r}"
        )
    return text if text.endswith("/") else f"{text}/"


def _option(
    default: T, kind: Kind[T], name: str, meaning: str, *, commands: Collection[str] = _COMMANDS, is_basic: bool = False
) -> T:
    """Declare an option of the group of replication."""
    return option(default, kind, "replication", meaning, name=name, commands=commands, is_basic=is_basic)


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """The options of replication. All but :attr:`urls` have an effect only with it."""

    urls: EtcdUrls | None = _option(
        None,
        Kind(_parse_urls, "URLS"),
        "etcd",
        "URLs of etcd, separated by commas: the index is there, shared by several servers, and not in a directory",
        is_basic=True,
    )
    prefix: str = _option(
        "/scoop/",
        Kind(_parse_prefix, "PREFIX"),
        "etcd_prefix",
        "prefix of all keys in etcd; another one is another index",
    )
    reads: Reads = _option(
        Reads.LINEARIZABLE,
        member("HOW", Reads),
        "reads",
        "what a QUERY sees: linearizable (every change that any node has acknowledged) or local (the state of its "
        "node, which may lag behind, and is there without a quorum)",
        commands=(SERVE,),
    )
    commit_seconds_max: float = _option(
        10.0,
        duration(),
        "commit_timeout",
        "disconnect a client whose request is not answered within this time; the outcome of its changes is unknown",
        commands=(SERVE,),
    )
    ca: Path | None = _option(
        None,
        path("FILE"),
        "etcd_ca",
        "certificate authorities, in PEM, of the endpoints; without it those of the system",
    )
    cert: Path | None = _option(None, path("FILE"), "etcd_cert", "client certificate for etcd, in PEM")
    key: Path | None = _option(None, path("FILE"), "etcd_key", "private key of the client certificate, in PEM")
    user: str | None = _option(
        None,
        Kind(lambda text: parse_text(text, "user"), "NAME"),
        "etcd_user",
        f"user of etcd, whose password is in --etcd-password-file or the variable {PASSWORD_VARIABLE}",
    )
    password_file: Path | None = _option(
        None, path("FILE"), "etcd_password_file", "file with the password of the user; a newline at its end is ignored"
    )

    @property
    def place(self) -> str:
        """The place of the index, for people."""
        return f"{self.prefix} in etcd at {self.urls}"


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield a line for the operator for each contradiction."""
    etcd, line_bytes_max = settings.part(EtcdSettings), settings.limits.line_bytes_max
    options = {option.name: option for option in declared_options(EtcdSettings)}
    if etcd.urls is None:
        for name in options:
            if settings.is_flag(name):
                yield f"{settings.source_of(name)} has no effect without etcd; set its URLs with --etcd"
        return
    yield from without_effect("etcd", ("data_dir", "fsync"), settings)
    if settings.memory:
        yield f"{settings.with_source('memory')} contradicts {settings.with_source('etcd')}; remove one of them"
    for name in ("etcd_ca", "etcd_cert", "etcd_key"):
        if settings.value_of(options[name]) is not None and not etcd.urls.is_tls:
            yield f"{settings.with_source(name)} needs TLS; use https: in {settings.with_source('etcd')}"
    for name, needed in (("etcd_cert", "etcd_key"), ("etcd_key", "etcd_cert"), ("etcd_password_file", "etcd_user")):
        if settings.value_of(options[name]) and not settings.value_of(options[needed]):
            yield f"{settings.with_source(name)} needs {needed}; set it with {options[needed].flag}"
    if line_bytes_max > _LINE_BYTES_MAX:
        yield (
            f"{settings.with_source('max_line')}: expected at most {format_size(_LINE_BYTES_MAX)} with etcd "
            f"({settings.source_of('etcd')}), got {format_size(line_bytes_max)}"
        )
