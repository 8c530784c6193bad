"""Settings that are valid by themselves and contradict each other."""

from collections.abc import Iterable, Iterator
from typing import Final

from scoop_core import Address, InternetAddress

from scoop_server.config.settings import Settings

_OVERRIDDEN_BY: Final = {
    "listen": ("host", "port"),
    "memory": ("data_dir", "fsync"),
}
"""Settings that make others ineffective. An ineffective flag is rejected, because someone has just typed it; a variable
or a file may well set what is used at another time."""


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield a line for the operator for each contradiction."""
    for winner, losers in _OVERRIDDEN_BY.items():
        if getattr(settings, winner):
            yield from without_effect(winner, losers, settings)
    if settings.tls_cert is None:
        yield from _uses_of_no_certificate(settings)
    if settings.tls_crl is not None and settings.tls_client_ca is None:
        yield f"{settings.with_source('tls_crl')} needs the authorities of clients; name them with --tls-client-ca"
    yield from _repeated_addresses(settings)


def without_effect(winner: str, losers: Iterable[str], settings: Settings) -> Iterator[str]:
    """Yield a line for each of ``losers`` that is set by a flag, and has no effect with the setting ``winner``."""
    for loser in losers:
        if settings.is_flag(loser):
            yield f"{settings.source_of(loser)} has no effect with {settings.with_source(winner)}; remove one of them"


def unused_certificate(settings: Settings) -> str | None:
    """Return a line for the operator if there is a certificate and no address with TLS.

    An operator would believe the server to be secure. It is no contradiction by itself, because a service manager may
    pass sockets with TLS.
    """
    if settings.tls_cert is None or any(each.place.is_tls for each in settings.listen):
        return None
    return f"{settings.with_source('tls_cert')} is set, but no address has TLS; add one with --listen tls:HOST:PORT"


def _uses_of_no_certificate(settings: Settings) -> Iterator[str]:
    for name in ("tls_key", "tls_client_ca"):
        if getattr(settings, name) is not None:
            yield f"{settings.with_source(name)} is set, but there is no certificate; set one with --tls-cert"
    for address in (each for each in settings.listen if each.place.is_tls):
        yield f"{settings.with_source('listen')}: {address} needs a certificate; set one with --tls-cert, or use tcp:"


def _repeated_addresses(settings: Settings) -> Iterator[str]:
    """Yield a line for each address that is given twice. Port 0 is a different port each time."""
    source = settings.source_of("listen" if settings.listen else "port")
    # The default address does not count: sockets from a service manager may replace it.
    addresses = [(each, source) for each in settings.addresses if settings.listen or source != "default"]
    if settings.admin is not None:
        addresses.append((settings.admin, settings.source_of("admin")))
    source_of: dict[Address, str] = {}
    for address, source in addresses:
        place = address.place
        if isinstance(place, InternetAddress):
            if not place.port:
                continue
            place = place._replace(is_tls=False)
        if place in source_of:
            yield f"{address} is set by {source_of[place]} and by {source}; remove or change one of them"
        source_of[place] = source
