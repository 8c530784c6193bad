"""Addresses, as operators write them.

``tcp:HOST:PORT``  plain TCP, ``tcp:127.0.0.1:8080``; an IPv6 address is in brackets, ``tcp:[::1]:8080``
``tls:HOST:PORT``  TLS over TCP
``unix:PATH``      a Unix socket, ``unix:/run/scoop.sock``

An access policy may follow, as in ``tcp:[::]:8081?read-only``; see :mod:`~scoop_server.config.access`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from scoop_server.config.access import UNRESTRICTED, AccessPolicy, split_policy

_HOST_AND_PORT: Final = re.compile(r"(?:\[([\w:.%-]+)\]|([^\[\]:\s\0]+)):([0-9]{1,5})", re.ASCII)

_PORT_MAX: Final = 65_535

_UNIX_PATH_BYTES_MAX: Final = 107
"""The length of ``sun_path``, without its terminating zero byte."""


@dataclass(frozen=True, slots=True)
class InternetAddress:
    """A host, which is a name, an IPv4 or an IPv6 address, and a port; port 0 is any free one."""

    host: str
    port: int
    is_tls: bool = False
    policy: AccessPolicy = field(default=UNRESTRICTED, compare=False)

    def __str__(self) -> str:
        return f"{'tls' if self.is_tls else 'tcp'}:{format_host_and_port(self.host, self.port)}{self.policy}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system."""

    path: str
    policy: AccessPolicy = field(default=UNRESTRICTED, compare=False)

    def __str__(self) -> str:
        return f"unix:{self.path}{self.policy}"


Address = InternetAddress | UnixAddress


def are_sockets_handed_over(environment: Mapping[str, str]) -> bool:
    """Return whether a service manager has passed sockets to this process; they replace all addresses."""
    return environment.get("LISTEN_PID") == str(os.getpid()) and bool(environment.get("LISTEN_FDS"))


def parse_address(text: str) -> Address:
    """Return the address that ``text`` specifies. Raises ValueError with "expected A, got B".

    >>> parse_address("tls:[::1]:8443") == InternetAddress("::1", 8443, is_tls=True)
    True
    >>> parse_address("unix:/run/scoop.sock") == UnixAddress("/run/scoop.sock")
    True
    """
    place, policy = split_policy(text)
    scheme, _, rest = place.partition(":")
    if (policy.requires_certificate or policy.is_anonymous) and scheme != "tls":
        raise ValueError(f"expected tls:HOST:PORT before anonymous, subject and issuer, got {text!r}")
    match scheme:
        case "tcp" | "tls":
            host, port = parse_host_and_port(rest)
            return InternetAddress(host, port, is_tls=scheme == "tls", policy=policy)
        case "unix":
            if not rest or "\0" in rest:
                raise ValueError(f"expected unix:PATH, got {text!r}")
            if len(os.fsencode(rest)) > _UNIX_PATH_BYTES_MAX:
                raise ValueError(f"expected a socket path of at most {_UNIX_PATH_BYTES_MAX} bytes, got {text!r}")
            return UnixAddress(rest, policy)
        case _:
            raise ValueError(f"expected tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got {text!r}")


def parse_host_and_port(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[HOST]:PORT``. Raises ValueError with "expected A, got B".

    >>> parse_host_and_port("[::1]:9180")
    ('::1', 9180)
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected HOST:PORT, with an IPv6 address in brackets, got {text!r}")
    port = int(match[3])
    if port > _PORT_MAX:
        raise ValueError(f"expected a port from 0 to {_PORT_MAX}, got {port}")
    return match[1] or match[2], port


def format_host_and_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets.

    >>> format_host_and_port("127.0.0.1", 8080), format_host_and_port("::1", 8080)
    ('127.0.0.1:8080', '[::1]:8080')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_address(address: object) -> str:
    """Return the address of a socket as operators write it, without a scheme.

    >>> format_address(("127.0.0.1", 8080)), format_address(("::1", 8080, 0, 0))
    ('127.0.0.1:8080', '[::1]:8080')
    """
    return format_host_and_port(*address[:2]) if isinstance(address, tuple) else str(address)
