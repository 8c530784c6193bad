"""Addresses to listen on, as operators write them: an address of :mod:`scoop_core`, with its scheme.

An access policy may follow, as in ``tcp:[::]:8081?read-only``; see :mod:`~scoop_server.config.access`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scoop_core import Address, UnixAddress, format_host_and_port, parse_address

from scoop_server.config.access import UNRESTRICTED, AccessPolicy, split_policy

_UNIX_PATH_BYTES_MAX: Final = 107
"""The length of ``sun_path``, without its terminating zero byte."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen on; port 0 is any free one."""

    place: Address
    policy: AccessPolicy = UNRESTRICTED

    def __str__(self) -> str:
        return f"{self.place}{self.policy}"


def are_sockets_handed_over(environment: Mapping[str, str]) -> bool:
    """Return whether a service manager has passed sockets to this process; they replace all addresses."""
    return environment.get("LISTEN_PID") == str(os.getpid()) and bool(environment.get("LISTEN_FDS"))


def parse_listen_address(text: str) -> ListenAddress:
    """Return the address that ``text`` specifies. Raises ValueError with "expected A, got B".

    >>> str(parse_listen_address("tls:[::1]:0?read-only"))
    'tls:[::1]:0?read-only'
    """
    place, policy = split_policy(text)
    scheme, _, rest = place.partition(":")
    if scheme not in {"tcp", "tls", "unix"} or not rest:  # nothing is plain TCP by default where TLS may be meant
        raise ValueError(f"expected tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got {text!r}")
    if (policy.requires_certificate or policy.is_anonymous) and scheme != "tls":
        raise ValueError(f"expected tls:HOST:PORT before anonymous, subject and issuer, got {text!r}")
    address = parse_address(place, port_min=0)
    if isinstance(address, UnixAddress) and len(os.fsencode(address.path)) > _UNIX_PATH_BYTES_MAX:
        raise ValueError(f"expected a socket path of at most {_UNIX_PATH_BYTES_MAX} bytes, got {text!r}")
    return ListenAddress(address, policy)


def format_address(address: object) -> str:
    """Return the address of a socket as operators write it, without a scheme.

    >>> format_address(("127.0.0.1", 8080)), format_address(("::1", 8080, 0, 0))
    ('127.0.0.1:8080', '[::1]:8080')
    """
    return format_host_and_port(*address[:2]) if isinstance(address, tuple) else str(address)
