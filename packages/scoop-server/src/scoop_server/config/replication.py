"""The settings of an index that is replicated over etcd."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from scoop_server.config.options import Group, option
from scoop_server.config.values import Kind, duration, member, parse_text, path

T = TypeVar("T")

_PREFIX_BYTES_MAX: Final = 255
"""Far longer than a path needs. Each entry of the log repeats it."""


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
    schemes, addresses = set(), []
    for each in text.split(","):
        try:
            url = urlsplit(each.strip())
            is_valid = url.scheme in {"http", "https"} and bool(url.hostname and url.port)
        except ValueError:  # an invalid port, or brackets
            raise ValueError(_expected_urls(each)) from None
        if not is_valid or url.path not in {"", "/"} or url.query or url.fragment or "@" in url.netloc:
            raise ValueError(_expected_urls(each))
        schemes.add(url.scheme)
        addresses.append(url.netloc)
    if len(schemes) > 1:
        raise ValueError("expected https: for all endpoints or http: for all, got both")
    return EtcdUrls(tuple(dict.fromkeys(addresses)), schemes == {"https"})


def _expected_urls(text: str) -> str:
    if "@" in text:  # which may hide a password
        return "expected URLs without a user; set it with --etcd-user"
    return f"expected https://HOST:PORT or http://HOST:PORT, separated by commas, got {text!r}"


def _parse_prefix(text: str) -> str:
    if not text.isascii() or not text.isprintable() or len(text) > _PREFIX_BYTES_MAX or not text.strip("/"):
        raise ValueError(
            f"expected a prefix of 1 to {_PREFIX_BYTES_MAX} printable ASCII characters, such as /scoop/, got {text!r}"
        )
    return text if text.endswith("/") else f"{text}/"


def _of_etcd(default: T, kind: Kind[T], name: str, meaning: str, *, is_basic: bool = False) -> T:
    """Declare an option of the group of replication."""
    return option(default, kind, Group.REPLICATION, meaning, name=name, is_basic=is_basic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """The options of replication. All but :attr:`urls` have an effect only with it."""

    urls: EtcdUrls | None = _of_etcd(
        None,
        Kind(_parse_urls, "URLS"),
        "etcd",
        "replicate the index over etcd at these URLs, separated by commas, instead of storing it in a directory",
        is_basic=True,
    )
    prefix: str = _of_etcd(
        "/scoop/",
        Kind(_parse_prefix, "PREFIX"),
        "etcd_prefix",
        "prefix of all keys in etcd; another one is another index",
    )
    reads: Reads = _of_etcd(
        Reads.LINEARIZABLE,
        member("HOW", Reads),
        "reads",
        "what a QUERY sees: linearizable (every change that any node has acknowledged) or local (the state of its "
        "node, which may lag behind, and is there without a quorum)",
    )
    commit_seconds_max: float = _of_etcd(
        10.0,
        duration(),
        "commit_timeout",
        "disconnect a client whose request is not answered within this time; the outcome of its changes is unknown",
    )
    ca: Path | None = _of_etcd(
        None,
        path("FILE"),
        "etcd_ca",
        "certificate authorities, in PEM, of the endpoints; without it those of the system",
    )
    cert: Path | None = _of_etcd(None, path("FILE"), "etcd_cert", "client certificate for etcd, in PEM")
    key: Path | None = _of_etcd(None, path("FILE"), "etcd_key", "private key of the client certificate, in PEM")
    user: str | None = _of_etcd(
        None,
        Kind(lambda text: parse_text(text, "user"), "NAME"),
        "etcd_user",
        "user of etcd, whose password is in --etcd-password-file or the variable SCOOP_ETCD_PASSWORD",
    )
    password_file: Path | None = _of_etcd(
        None, path("FILE"), "etcd_password_file", "file with the password of the user; a newline at its end is ignored"
    )
