"""Addresses of servers, as users write them.

``tcp:HOST:PORT``  plain TCP, ``tcp:127.0.0.1:8080``; an IPv6 address is in brackets, ``tcp:[::1]:8080``
``HOST:PORT``      the same
``tls:HOST:PORT``  TLS over TCP
``unix:PATH``      a Unix socket, ``unix:/run/scoop.sock``
"""

import re
from typing import Final, NamedTuple, TypeAlias

_HOST_AND_PORT: Final = re.compile(r"(?:\[([\w:.%-]+)\]|([^\[\]:\s\0]+)):([0-9]{1,5})", re.ASCII)

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
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.is_tls else 'tcp'}:{host}:{self.port}"


class UnixAddress(NamedTuple):
    """A socket in the file system.

    >>> str(UnixAddress("/run/scoop.sock"))
    'unix:/run/scoop.sock'
    """

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address: TypeAlias = InternetAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Return the address that ``text`` specifies. Raises ValueError with "expected A, got B".

    >>> parse_address("127.0.0.1:8080")
    InternetAddress(host='127.0.0.1', port=8080, is_tls=False)
    >>> parse_address("unix:/run/scoop.sock")
    UnixAddress(path='/run/scoop.sock')
    """
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest and "\0" not in rest:
        return UnixAddress(rest)
    match = _HOST_AND_PORT.fullmatch(rest if scheme in {"tcp", "tls"} else text)
    if match is None or scheme == "unix":
        raise ValueError(f"expected HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got {text!r}")
    port = int(match[3])
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(f"expected a port from 1 to {_PORT_MAX}, got {text!r}")
    return InternetAddress(match[1] or match[2], port, is_tls=scheme == "tls")
