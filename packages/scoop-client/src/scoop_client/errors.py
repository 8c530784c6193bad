"""The exceptions of scoop_client, a branch of scoop_core's tree.

::

    ScoopError
    └── ClientError
        ├── ConnectionFailed         no address could be connected; nothing was sent
        ├── ConnectionLost           a connection ended while requests were unanswered
        │   ├── ResponseTimeout      the server did not answer in time
        │   ├── InvalidResponse      the server violated the protocol
        │   └── TlsRejected          the server ended TLS with an alert, usually because of the client's certificate
        └── InvalidInput             a file or an environment cannot be read as packages

The attributes hold the details; ``str`` is one line for a person. A request that cannot be sent raises
scoop_core's :exc:`~scoop_core.InvalidName` or :exc:`~scoop_core.LimitExceeded`.
"""

from collections.abc import Sequence
from typing import ClassVar

from scoop_core import Address, Command, Request, ScoopError


class ClientError(ScoopError):
    """The root of the exceptions of scoop_client.

    >>> issubclass(ClientError, ScoopError)
    True
    """


class ConnectionFailed(ClientError, ConnectionError):
    """No address could be connected. ``attempts`` holds each address with the reason.

    >>> from scoop_client import UnixAddress
    >>> print(ConnectionFailed([(UnixAddress("/run/scoop.sock"), "no such file")]))
    cannot connect to unix:/run/scoop.sock: no such file
    """

    def __init__(self, attempts: Sequence[tuple[Address, str]]) -> None:
        super().__init__(attempts)
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        failures = "; ".join(f"cannot connect to {address}: {reason}" for address, reason in self.attempts)
        return failures or "cannot connect: there is no address"


class ConnectionLost(ClientError, ConnectionError):
    """The connection to ``address`` ended while requests were unanswered. ``reason`` explains why.

    ``unanswered`` holds these requests, the oldest first; whether the server has applied them is unknown.
    """

    may_retry: ClassVar[bool] = True
    """True if another connection can be expected to work."""

    def __init__(self, address: Address, reason: str, unanswered: Sequence[Request] = ()) -> None:
        super().__init__(address, reason, unanswered)
        self.address = address
        self.reason = reason
        self.unanswered = tuple(unanswered)

    def __str__(self) -> str:
        changes = sum(request.command is not Command.QUERY for request in self.unanswered)
        text = f"lost the connection to {self.address}: {self.reason}"
        return f"{text}; outcome unknown: {changes:,} of the changes" if changes else text

    def with_unanswered(self, unanswered: Sequence[Request]) -> "ConnectionLost":
        """Return the same error about other requests."""
        return type(self)(self.address, self.reason, unanswered)


class ResponseTimeout(ConnectionLost, TimeoutError):
    """The server did not answer in time."""

    may_retry = False


class InvalidResponse(ConnectionLost):
    """The server violated the protocol: it is probably not a server of this protocol."""

    may_retry = False


class TlsRejected(ConnectionLost):
    """The server ended TLS with an alert, usually because it does not accept the client's certificate."""

    may_retry = False


class InvalidInput(ClientError, ValueError):
    """A file or an environment cannot be read as packages.

    >>> print(InvalidInput("Cargo.lock", "line 3: expected a table"))
    cannot read Cargo.lock: line 3: expected a table
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = "standard input" if source == "-" else source
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read {self.source}: {self.reason}"
