"""Clients of the Scoop package index: blocking and asyncio, with pipelining, TLS, time-outs and failover.

The command ``scoop`` is built on them; its modules, under :mod:`scoop_client.cli`, are private.
:mod:`scoop_client.ecosystems` imports the packages of other ecosystems.
"""

from scoop_core import Address, InternetAddress, UnixAddress, parse_address

from scoop_client.asynchronous import AsyncClient
from scoop_client.blocking import Client
from scoop_client.errors import (
    ClientError,
    ConnectionFailed,
    ConnectionLost,
    InvalidInput,
    InvalidResponse,
    ResponseTimeout,
    TlsRejected,
)
from scoop_client.options import create_tls_context

__all__ = [
    "Address",
    "AsyncClient",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ConnectionLost",
    "InternetAddress",
    "InvalidInput",
    "InvalidResponse",
    "ResponseTimeout",
    "TlsRejected",
    "UnixAddress",
    "create_tls_context",
    "parse_address",
]

__version__ = "0.1.0"
