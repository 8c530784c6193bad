"""Settings that are valid by themselves and contradict each other."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from typing import Final

from scoop_server.config.addresses import Address, InternetAddress
from scoop_server.config.options import Group
from scoop_server.config.settings import OPTION, OPTIONS, Settings
from scoop_server.config.values import KIB, format_size

_OVERRIDDEN_BY: Final = {
    "listen": ("host", "port"),
    "memory": ("data_dir", "fsync"),
    "etcd": ("data_dir", "fsync"),
}
"""Settings that make others ineffective. An ineffective flag is rejected, because someone has just typed it; a variable
or a file may well set what is used at another time."""

_OF_REPLICATION: Final = tuple(
    option.name for option in OPTIONS if option.group is Group.REPLICATION and option.name != "etcd"
)

_REPLICATED_LINE_BYTES_MAX: Final = 512 * KIB
"""A line must fit into one entry of the log, and an entry into a request of etcd, which has 1.5 MiB by default."""


def contradictions(settings: Settings, sources: Mapping[str, str], flags: Container[str]) -> Iterator[str]:
    """Yield a line for the operator for each contradiction; ``sources`` and ``flags`` are by names of options."""
    for winner, losers in _OVERRIDDEN_BY.items():
        for loser in losers:
            if OPTION[winner].value_in(settings) and loser in flags:
                yield f"{sources[loser]} has no effect with {winner} ({sources[winner]}); remove one of them"
    if settings.tls_cert is None:
        yield from _uses_of_no_certificate(settings, sources)
    yield from _repeated_addresses(settings, sources)
    yield from _replication_contradictions(settings, sources, flags)


def unused_certificate(settings: Settings, sources: Mapping[str, str]) -> str | None:
    """Return a line for the operator if there is a certificate and no address with TLS.

    An operator would believe the server to be secure. It is no contradiction by itself, because a service manager may
    pass sockets with TLS.
    """
    if settings.tls_cert is None or any(_is_tls(address) for address in settings.listen):
        return None
    return f"tls_cert ({sources['tls_cert']}) is set, but no address has TLS; add one with --listen tls:HOST:PORT"


def _uses_of_no_certificate(settings: Settings, sources: Mapping[str, str]) -> Iterator[str]:
    for name in ("tls_key", "tls_client_ca"):
        if OPTION[name].value_in(settings) is not None:
            yield f"{name} ({sources[name]}) is set, but there is no certificate; set one with --tls-cert"
    for address in settings.listen:
        if _is_tls(address):
            yield (f"listen ({sources['listen']}): {address} needs a certificate; set one with --tls-cert, or use tcp:")


def _is_tls(address: Address) -> bool:
    return isinstance(address, InternetAddress) and address.is_tls


def _replication_contradictions(settings: Settings, sources: Mapping[str, str], flags: Container[str]) -> Iterator[str]:
    replication, limits = settings.replication, settings.limits
    if replication.urls is None:
        for name in _OF_REPLICATION:
            if name in flags:
                yield f"{sources[name]} has no effect without etcd; set its URLs with --etcd"
        return
    if settings.memory:
        yield f"memory ({sources['memory']}) contradicts etcd ({sources['etcd']}); remove one of them"
    for name in ("etcd_ca", "etcd_cert", "etcd_key"):
        if OPTION[name].value_in(settings) is not None and not replication.urls.is_tls:
            yield f"{name} ({sources[name]}) needs TLS; use https: in etcd ({sources['etcd']})"
    for name, needed in (("etcd_cert", "etcd_key"), ("etcd_key", "etcd_cert"), ("etcd_password_file", "etcd_user")):
        if OPTION[name].value_in(settings) and not OPTION[needed].value_in(settings):
            yield f"{name} ({sources[name]}) needs {needed}; set it with {OPTION[needed].flag}"
    if limits.line_bytes_max > _REPLICATED_LINE_BYTES_MAX:
        yield (
            f"max_line ({sources['max_line']}): expected at most {format_size(_REPLICATED_LINE_BYTES_MAX)} with etcd "
            f"({sources['etcd']}), got {format_size(limits.line_bytes_max)}"
        )


def _repeated_addresses(settings: Settings, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each address that is given twice. Port 0 is a different port each time."""
    addresses: list[tuple[Address, str]] = [(address, sources["listen"]) for address in settings.listen]
    # The default address does not count: sockets from a service manager may replace it.
    if not settings.listen and sources["port"] != "default":
        addresses.append((InternetAddress(settings.host, settings.port), sources["port"]))
    if settings.admin is not None:
        addresses.append((settings.admin, sources["admin"]))
    source_of: dict[Address, str] = {}
    for address, source in addresses:
        place = replace(address, is_tls=False) if isinstance(address, InternetAddress) else address
        if isinstance(place, InternetAddress) and place.port == 0:
            continue
        if place in source_of:
            yield f"{address} is set by {source_of[place]} and by {source}; remove or change one of them"
        source_of[place] = source
