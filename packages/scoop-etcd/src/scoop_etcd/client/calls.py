"""Requests to etcd under way, each with the function that takes its result; failed ones are repeated with pauses."""

from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from scoop_etcd.client.api import (
    ErrorCode,
    EtcdClient,
    EtcdRequest,
    Failure,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Range,
    RangeResult,
    Result,
    Ticket,
    Txn,
    TxnResult,
    Watch,
    WatchEnded,
    WatchEvents,
)
from scoop_etcd.errors import ReplicationError

ResultT = TypeVar("ResultT", RangeResult, TxnResult, LeaseResult)

PAUSE_SECONDS_MIN: Final = 0.05
"""The pause before the first repetition: a change of leader takes longer, a lost connection often less."""

_REFUSAL_PAUSE_SECONDS_MAX: Final = 1.0
_OUTAGE_PAUSE_SECONDS_MAX: Final = 0.2
"""Less than the interval of ticks, so that each notices that etcd is back."""


def pause_seconds_max(code: ErrorCode) -> float:
    """Return the longest pause after a failure: etcd may take long to refuse, for instance a wrong password."""
    return _REFUSAL_PAUSE_SECONDS_MAX if code.is_definite else _OUTAGE_PAUSE_SECONDS_MAX


@dataclass(slots=True, eq=False)
class Call:
    """A request that is repeated until it gets a result."""

    request: EtcdRequest
    finish: Callable[[Result], None]
    final: Collection[ErrorCode] = ()
    """Codes of failures after which it is not repeated."""
    ticket: Ticket | None = None
    pause: float = PAUSE_SECONDS_MIN
    due: float = 0.0
    """The time of the next repetition, while ``ticket`` is None."""
    failure: Failure | None = None
    """The last failure; None before the first."""
    revision: int = 0
    """The revision of etcd when it was sent, at least."""


class Calls:
    """The requests of one node over ``client``; ``clock`` is in seconds.

    A request with an unknown outcome is sent again as it is. So each must be harmless when it takes effect twice.
    """

    def __init__(self, client: EtcdClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._by_ticket: dict[Ticket, Call] = {}
        self._waiting: list[Call] = []
        self._arrived: deque[tuple[Ticket, Result]] = deque()
        """Results that have not been delivered."""
        self.failures: Counter[ErrorCode] = Counter()
        """Failed requests and watches by code."""
        self.last_failure: Failure | WatchEnded | None = None
        self.last_answer: float = clock()
        """The time of the last result."""
        self.revision: int = 0
        """A revision that etcd has reached. The results of later requests are not older."""

    def range(
        self, request: Range, done: Callable[[RangeResult | Failure], None], final: Collection[ErrorCode] = ()
    ) -> Call:
        """Read a range; ``done`` gets a failure only with one of the codes ``final``."""
        return self._start(request, RangeResult, done, final)

    def txn(self, request: Txn, done: Callable[[TxnResult | Failure], None], final: Collection[ErrorCode] = ()) -> Call:
        """Execute a transaction; ``done`` gets a failure only with one of the codes ``final``."""
        return self._start(request, TxnResult, done, final)

    def lease(self, request: LeaseGrant | LeaseKeepAlive, done: Callable[[LeaseResult | Failure], None]) -> Call:
        """Grant or renew a lease; ``done`` gets a failure if the lease is gone."""
        return self._start(request, LeaseResult, done, {ErrorCode.LEASE_NOT_FOUND})

    def _start(
        self,
        request: EtcdRequest,
        kind: type[ResultT],
        done: Callable[[ResultT | Failure], None],
        final: Collection[ErrorCode],
    ) -> Call:
        def finish(result: Result) -> None:
            if not isinstance(result, (kind, Failure)):
                raise TypeError(f"expected {kind.__name__}, got {result}")
            done(result)

        return self._submit(Call(request, finish, final))

    def watch(self, request: Watch, done: Callable[[WatchEvents | WatchEnded], None]) -> Call:
        """Open a watch; it is not repeated."""

        def finish(result: Result) -> None:
            if not isinstance(result, (WatchEvents, WatchEnded)):
                raise TypeError(f"expected events, got {result}")
            done(result)

        return self._submit(Call(request, finish))

    def _submit(self, call: Call) -> Call:
        call.revision = self.revision
        call.ticket = self._client.submit(call.request)
        self._by_ticket[call.ticket] = call
        return call

    def cancel(self, call: Call) -> None:
        """Abandon a call; it may still take effect. One that has ended is ignored."""
        if call in self._waiting:
            self._waiting.remove(call)
        elif call.ticket is not None and call.ticket in self._by_ticket:
            del self._by_ticket[call.ticket]
            self._client.cancel(call.ticket)

    def poll(self, bytes_max: float = inf) -> None:
        """Deliver the results that have arrived, until those of watches hold ``bytes_max`` bytes or more.

        The descriptor of the client is readable again if there are more.
        """
        self._arrived += self._client.poll()
        while self._arrived and bytes_max > 0:
            ticket, result = self._arrived.popleft()
            call = self._by_ticket.get(ticket)
            if call is not None:  # it may have been cancelled by the result before this one
                self._deliver(ticket, call, result)
                if isinstance(result, WatchEvents):
                    bytes_max -= sum(len(kv.value) for kv in result.kvs)
        if self._arrived:
            self._client.wake()

    def _deliver(self, ticket: Ticket, call: Call, result: Result) -> None:
        if not isinstance(result, WatchEvents):
            del self._by_ticket[ticket]
            call.ticket = None
        if isinstance(result, (Failure, WatchEnded)):
            self.failures[result.code] += 1
            self.last_failure = result
            if isinstance(result, Failure) and result.code not in call.final:
                call.failure = result
                call.due = self._clock() + call.pause
                call.pause = min(2 * call.pause, pause_seconds_max(result.code))
                self._waiting.append(call)
                return
        else:
            self.last_answer = self._clock()
            if isinstance(result, (RangeResult, TxnResult)) and result.revision < call.revision:
                raise ReplicationError(
                    f"cannot continue: etcd is at revision {result.revision} and was at {call.revision} before:"
                    " it was restored from a backup; restart this node"
                )
        call.finish(result)

    def tick(self) -> None:
        """Repeat the calls whose pause is over."""
        now = self._clock()
        due = [call for call in self._waiting if call.due <= now]
        self._waiting = [call for call in self._waiting if call.due > now]
        for call in due:
            self._submit(call)


def too_large(action: str, failure: Failure) -> ReplicationError:
    """Return the error of a request that exceeds etcd's limit, and so would fail again."""
    return ReplicationError(f"cannot {action}: {failure.reason}; start etcd with --max-request-bytes 1572864 or more")
