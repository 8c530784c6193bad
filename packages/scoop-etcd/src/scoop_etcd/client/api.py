"""The port between a node and etcd: the values of etcd's API version 3 that Scoop uses, and an asynchronous client.

The client does the input and output; the node decides. So a simulation can take the place of etcd.

**Requests.** :meth:`EtcdClient.submit` starts a request, never blocks, and returns a ticket. :meth:`EtcdClient.poll`
returns the completions since then. Every request except a :class:`Watch` gets exactly one completion, within the
time-out of the client: a result, or a :class:`Failure`. Requests run concurrently and complete in any order.

**Outcomes.** A result is what etcd answered. After a :class:`Failure` whose code :attr:`~ErrorCode.is_definite`, the
request had no effect and never will have one. After any other, the outcome is unknown: the request may take effect
later, even much later (a proposal that waits in a partitioned member). The client therefore never repeats a
:class:`Txn` by itself; it may repeat a request only if it knows that no byte of it was sent.

**Reads.** Every :class:`Range` without a revision, and each :class:`Txn`, is linearizable.

**Watches.** A :class:`Watch` yields :class:`WatchEvents`, in order, until a :class:`WatchEnded`, which is its last
completion. It never skips an event: where the client cannot continue (another endpoint, a broken stream), it ends the
watch, and the node opens another from the revision that it needs.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Ticket: TypeAlias = int
"""Identifies a request of one client; never used twice."""


class ErrorCode(enum.Enum):
    """The reasons of failures that a node tells apart."""

    UNAVAILABLE = "unavailable"
    """No connection, no leader, a change of the leader, or a response that was lost."""
    TIMED_OUT = "timed out"
    """No response within the time-out of the client."""
    COMPACTED = "compacted"
    """The requested revision has been compacted."""
    NO_SPACE = "no space"
    """The quota of etcd's database is exhausted: an alarm refuses every put."""
    TOO_LARGE = "too large"
    """The request exceeds etcd's ``--max-request-bytes``."""
    LEASE_NOT_FOUND = "lease not found"
    """A put names a lease that has expired, or a lease to keep is gone."""
    UNAUTHENTICATED = "unauthenticated"
    """Invalid user or password, or a client certificate is missing. (The client renews an expired token by itself.)"""
    PERMISSION_DENIED = "permission denied"
    """The user may not access a key of the request."""
    INVALID = "invalid"
    """Any other error by which etcd refused the request before it took effect: a defect of Scoop, or another API."""

    @property
    def is_definite(self) -> bool:
        """Return whether the request had no effect and never will have one."""
        return self not in {ErrorCode.UNAVAILABLE, ErrorCode.TIMED_OUT}


# Requests. Keys and values are bytes; a range is [key, range_end), and an empty range_end means the key alone.


@dataclass(frozen=True, slots=True)
class Put:
    """Put a key; ``lease`` 0 means no lease. An operation of a :class:`Txn`."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key or a range. An operation of a :class:`Txn`."""

    key: bytes
    range_end: bytes = b""


@dataclass(frozen=True, slots=True)
class Range:
    """Read a key or a range, in the order of the keys. A request, and an operation of a :class:`Txn`.

    ``revision`` 0 is the current one (linearizable); an older one is read as it was. ``limit`` 0 means no limit.
    """

    key: bytes
    range_end: bytes = b""
    revision: int = 0
    limit: int = 0
    keys_only: bool = False


class Target(enum.Enum):
    """The attribute of a key that a condition compares; each is 0 while the key does not exist."""

    CREATE_REVISION = "create revision"
    MOD_REVISION = "mod revision"


@dataclass(frozen=True, slots=True)
class Compare:
    """The condition that an attribute of ``key`` equals ``expected``."""

    key: bytes
    target: Target
    expected: int


def is_missing(key: bytes) -> Compare:
    """Return the condition that ``key`` does not exist."""
    return Compare(key, Target.CREATE_REVISION, 0)


Operation: TypeAlias = Put | Delete | Range


@dataclass(frozen=True, slots=True)
class Txn:
    """Execute ``success`` if all conditions hold, else ``failure``: atomically, all changes at one revision."""

    compare: tuple[Compare, ...]
    success: tuple[Operation, ...]
    failure: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """Grant a lease of ``ttl`` seconds."""

    ttl: int


@dataclass(frozen=True, slots=True)
class LeaseKeepAlive:
    """Renew a lease once."""

    lease: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch the puts of a range from ``start_revision`` on; deletions are filtered out (NODELETE).

    The client asks for fragments and for progress notifications. With ``elsewhere``, it uses another endpoint than
    that of its previous watch, if it has several: the previous one made no progress.
    """

    key: bytes
    range_end: bytes
    start_revision: int
    elsewhere: bool = False


EtcdRequest: TypeAlias = Range | Txn | LeaseGrant | LeaseKeepAlive | Watch


# Results


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key and its value. ``lease`` 0 means no lease."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The keys that a :class:`Range` read, at most as many as its limit; ``more`` if there are others.

    ``revision`` is that of the header: the store's when the read was executed, at least. Of a linearizable read, it is
    not older than any change acknowledged before the request.
    """

    revision: int
    kvs: tuple[KeyValue, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The branch that a :class:`Txn` took; ``revision`` is that of the store after it.

    ``ranges`` holds the result of each :class:`Range` of that branch, in order; puts and deletions have none.
    """

    revision: int
    succeeded: bool
    ranges: tuple[RangeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """A lease after a grant or a renewal.

    The renewal of a lease that has expired is a :class:`Failure` with LEASE_NOT_FOUND (etcd answers with a TTL of 0).
    """

    lease: int


@dataclass(frozen=True, slots=True)
class WatchEvents:
    """Keys that were put, in the order of their revisions; each once.

    The keys of one revision may be spread over several of these: fragments of one response. A progress notification
    has no keys. It is no more than a sign of life, because etcd before 3.5.8 sends it too early.
    """

    kvs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class WatchEnded:
    """The end of a watch that the node did not cancel."""

    code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of any request but a watch. ``reason`` is the text for the operator, with the endpoint."""

    code: ErrorCode
    reason: str


Result: TypeAlias = RangeResult | TxnResult | LeaseResult | WatchEvents | WatchEnded | Failure


class EtcdClient(Protocol):
    """An asynchronous client of one etcd cluster. All methods are called in the thread of the event loop."""

    def submit(self, request: EtcdRequest, /) -> Ticket:
        """Start ``request``; return its ticket without waiting. Reasons of the network become a :class:`Failure`.

        Also without a connection: the client connects, chooses endpoints and fails over by itself.
        """

    def cancel(self, ticket: Ticket, /) -> None:
        """Abandon a request or a watch: :meth:`poll` returns nothing more for ``ticket``, not even what has arrived.

        The request may still take effect. A ticket that has been completed is ignored.
        """

    def poll(self) -> Sequence[tuple[Ticket, Result]]:
        """Return the completions, oldest first, and clear the signal of :meth:`fileno`. Never blocks.

        The order matters within one watch only.
        """

    def wake(self) -> None:
        """Make :meth:`fileno` readable until the next :meth:`poll`, although nothing may have been completed."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while :meth:`poll` has something to return."""

    def close(self) -> None:
        """Abandon all requests and watches, and disconnect. Called last, and once."""
