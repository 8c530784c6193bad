"""The options of a client, and the order in which it tries its addresses."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoop_core import MAX_UNANSWERED, Address, InternetAddress, UnixAddress, parse_address

PING_NAME: Final = "ping"
"""The package of the QUERY that tests a connection; whether it is indexed does not matter."""

MAX_DEPTH: Final = 1_000
"""The default limit of unanswered requests: hides 1 ms of latency at a million requests per second."""


MAX_TIMEOUT: Final = 86_400
"""The limit of a time-out, in seconds: the system rejects very long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The options of a client. Times are in seconds.

    >>> ClientOptions.of(["127.0.0.1:8080"]).response_timeout
    30.0
    """

    addresses: tuple[Address, ...]
    tls: ssl.SSLContext | None = None
    connect_timeout: float = 5.0
    """Limits one connection attempt, TLS included."""
    response_timeout: float = 30.0
    """Limits the time without a response while requests are unanswered."""
    reconnect_timeout: float = 10.0
    """Limits the time spent on new connections after one was lost. 0: no attempt."""
    max_unanswered: int = MAX_DEPTH
    resend_changes: bool = False

    @classmethod
    def of(
        cls,
        addresses: Sequence[str | Address],
        *,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = 5.0,
        response_timeout: float = 30.0,
        reconnect_timeout: float = 10.0,
        max_unanswered: int = MAX_DEPTH,
        resend_changes: bool = False,
    ) -> "ClientOptions":
        """Check and return the options. Raises ValueError with "expected A, got B"."""
        for each in addresses:
            if not isinstance(each, str | InternetAddress | UnixAddress):
                raise TypeError(f"expected addresses such as '127.0.0.1:8080', got {each!r}")
        parsed = tuple(parse_address(each) if isinstance(each, str) else each for each in addresses)
        if not parsed:
            raise ValueError("expected at least one address, got none")
        for seconds in (connect_timeout, response_timeout):
            if not 0 < seconds <= MAX_TIMEOUT:
                raise ValueError(f"expected a time-out above 0 s and up to {MAX_TIMEOUT} s, got {seconds:g} s")
        if not 0 <= reconnect_timeout <= MAX_TIMEOUT:
            raise ValueError(f"expected a reconnect_timeout from 0 s to {MAX_TIMEOUT} s, got {reconnect_timeout:g} s")
        if not 1 <= max_unanswered <= MAX_UNANSWERED:
            raise ValueError(f"expected max_unanswered from 1 to {MAX_UNANSWERED}, got {max_unanswered}")
        return cls(
            addresses=parsed,
            tls=tls if tls or not any(each.is_tls for each in parsed) else create_tls_context(),
            connect_timeout=connect_timeout,
            response_timeout=response_timeout,
            reconnect_timeout=reconnect_timeout,
            max_unanswered=max_unanswered,
            resend_changes=resend_changes,
        )


def create_tls_context(
    ca: str | Path | None = None, cert: str | Path | None = None, key: str | Path | None = None
) -> ssl.SSLContext:
    """Return the TLS settings of a client that trusts the authorities in ``ca`` and presents ``cert``.

    All are PEM files. Without ``ca`` the authorities of the system are trusted; without ``key`` the private key is in
    ``cert``. Raises OSError, of which ssl.SSLError is one.

    >>> create_tls_context().check_hostname
    True
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


class Failover:
    """The order in which addresses are tried: from the last one that worked on; from the next one after a loss.

    >>> failover = Failover(("a:1", "b:1"))
    >>> failover.order()
    ('a:1', 'b:1')
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = tuple(addresses)
        self._first = 0

    def order(self) -> tuple[Address, ...]:
        """Return the addresses in the order of the next attempts."""
        return self._addresses[self._first :] + self._addresses[: self._first]

    def prefer(self, address: Address) -> None:
        """Try ``address`` first from now on."""
        self._first = self._addresses.index(address)

    def avoid(self, address: Address) -> None:
        """Try the address after ``address`` first from now on."""
        self._first = (self._addresses.index(address) + 1) % len(self._addresses)
