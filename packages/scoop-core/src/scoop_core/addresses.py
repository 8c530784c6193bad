"""Addresses of servers, as people write them.

``tcp:HOST:PORT``  plain TCP, ``tcp:127.0.0.1:8080``; an IPv6 address is in brackets, ``tcp:[::1]:8080``
``HOST:PORT``      the same
``tls:HOST:PORT``  TLS over TCP
``unix:PATH``      a Unix socket, ``unix:/run/scoop.sock``
"""

import re
from typing import Final, NamedTuple, TypeAlias

_is_host_and_port: Final = re.compile(r"(?:\[([\w:.%-]+)\]|([^\[\]:\s\0]+)):([0-9]{1,5})", re.ASCII).fullmatch

_PORT_MAX: Final = 65_535


class InternetAddress(NamedTuple):
    """A host, which is a name, an IPv4 or an IPv6 address, and a port.

    >>> str(InternetAddress("::1", 8443, is_tls=True))
    'tls:[::1]:8443'
    """

    host: str
    port: int
    is_tls: bool = False

    def __str__(self) -> str:
        return f"{'tls' if self.is_tls else 'tcp'}:{format_host_and_port(self.host, self.port)}"


class UnixAddress(NamedTuple):
    """A socket in the file system.

    >>> str(UnixAddress("/run/scoop.sock"))
    'unix:/run/scoop.sock'
    """

    path: str

    @property
    def is_tls(self) -> bool:
        """Return False: a Unix socket has no TLS.

        >>> parse_address("unix:/run/scoop.sock").is_tls
        False
        """
        return False

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address: TypeAlias = InternetAddress | UnixAddress


def parse_address(text: str, *, port_min: int = 1) -> Address:
    """Return the address that ``text`` specifies. Raises ValueError with "expected A, got B".

    A server may listen on port 0, which is any free one; a client cannot connect to it.

    >>> parse_address("127.0.0.1:8080")
    InternetAddress(host='127.0.0.1', port=8080, is_tls=False)
    >>> parse_address("unix:/run/scoop.sock")
    UnixAddress(path='/run/scoop.sock')
    """
    scheme, _, rest = text.partition(":")
    if scheme in {"tcp", "tls"}:
        return InternetAddress(*parse_host_and_port(rest, port_min=port_min), is_tls=scheme == "tls")
    if scheme == "unix" and rest and "\0" not in rest:
        return UnixAddress(rest)
    if not _is_host_and_port(text):
        raise ValueError(f"expected HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got {text!r}")
    return InternetAddress(*parse_host_and_port(text, port_min=port_min))


def parse_host_and_port(text: str, *, port_min: int = 1) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[HOST]:PORT``. Raises ValueError with "expected A, got B".

    >>> parse_host_and_port("[::1]:8080")
    ('::1', 8080)
    """
    found = _is_host_and_port(text)
    if found is None:
        raise ValueError(f"expected HOST:PORT, with an IPv6 address in brackets, got {text!r}")
    if not port_min <= int(found[3]) <= _PORT_MAX:
        raise ValueError(f"expected a port from {port_min} to {_PORT_MAX}, got {text!r}")
    return found[1] or found[2], int(found[3])


def format_host_and_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets.

    >>> format_host_and_port("127.0.0.1", 8080), format_host_and_port("::1", 8080)
    ('127.0.0.1:8080', '[::1]:8080')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
