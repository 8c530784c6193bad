"""The other end of a connection, as the limits, the access rules and the log know it."""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from scoop_core import ANONYMOUS, Screen

from scoop_server.config.access import UNRESTRICTED, AccessPolicy

_UNQUOTED: Final = "@:/*=+,"
"""What a name may hold in the log without percent encoding. It must not look like another field of the line."""


@dataclass(eq=False, slots=True)
class Peer:
    """The peer of one connection. After a TLS handshake it has the names of its certificate."""

    address: str
    """Where it is, for the log: an address and a port, or the process of a Unix socket."""
    host: str
    """Whose place an anonymous connection takes."""
    listener: str
    """The address of the listener that has accepted it."""
    policy: AccessPolicy = UNRESTRICTED
    names: tuple[str, ...] = ()
    """Its verified identities, such as ``CN=builder`` or ``uid=1000``; empty if anonymous."""
    certificate: bytes = b""
    """The issuer and the serial number of its certificate, by which it can be revoked; empty without one."""
    role: str = ""
    """The name of its role; empty without access rules."""
    screen: Screen | None = None
    """The screen of its role; None if it may send anything."""

    @property
    def identities(self) -> tuple[str, ...]:
        """The identities that access rules may name."""
        return self.names or (ANONYMOUS,)

    @property
    def holder(self) -> str:
        """Whose places its connection takes: those of a name, or of the host of an anonymous peer."""
        return quote_name(self.names[0]) if self.names else self.host

    @property
    def name(self) -> str:
        """The peer in a line of the text log."""
        return f"{self.address} ({quote_name(self.names[0])})" if self.certificate else self.address

    @property
    def fields(self) -> dict[str, object]:
        """The peer in the fields of an event."""
        first = self.names[0] if self.names else ""
        kind, _, name = first.partition("=")
        named: dict[str, object] = {"uid": int(name)} if kind == "uid" else {"subject": first} if first else {}
        role = {"role": self.role} if self.role else {}
        return {"peer": self.name, "address": self.address, "listener": self.listener, **named, **role}


def quote_name(name: str) -> str:
    r"""Return a name for a line of text: as an access policy spells it, in percent encoding.

    >>> quote_name("CN=builder) OK INDEX|pwned|\n")
    'CN=builder%29%20OK%20INDEX%7Cpwned%7C%0A'
    """
    return quote(name, safe=_UNQUOTED)


def host_of(address: str) -> str:
    """Return whose places a client at the IP ``address`` takes: in IPv6 those of its network, of which it has all.

    >>> host_of("192.0.2.1"), host_of("2001:db8:1:2:3::4")
    ('192.0.2.1', '2001:db8:1:2::/64')
    """
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
