"""The settings for connections to etcd: addresses, certificates, user and password."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user, and the contents of the files that TLS needs. Nothing of it appears in a representation."""

    user: str = ""
    """Empty for no authentication by password."""
    password: str = field(default="", repr=False)
    ca: bytes | None = field(default=None, repr=False)
    """The certificate authorities of etcd, in PEM; None for those of the system."""
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The cluster that a client connects to: ``host:port`` of each endpoint, and whether they speak TLS."""

    endpoints: Sequence[str]
    is_tls: bool = False
    credentials: Credentials = Credentials()
    certificate_expires_at: float | None = None
    """The Unix time at which the client certificate expires; None without one."""
