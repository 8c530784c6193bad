"""The repetition of requests to etcd."""

from collections.abc import Sequence

import pytest

from scoop_etcd.client.api import ErrorCode, EtcdRequest, Failure, Range, Result, Ticket
from scoop_etcd.client.calls import Calls


class FailingClient:
    """A client all of whose requests fail; satisfies ``scoop_etcd.client.api.EtcdClient``."""

    def __init__(self, code: ErrorCode) -> None:
        self._failure = Failure(code, "")
        self._open: list[Ticket] = []
        self.submitted = 0

    def submit(self, _request: EtcdRequest, /) -> Ticket:
        self.submitted += 1
        self._open.append(self.submitted)
        return self.submitted

    def poll(self) -> Sequence[tuple[Ticket, Result]]:
        failed, self._open = self._open, []
        return [(ticket, self._failure) for ticket in failed]

    def cancel(self, ticket: Ticket, /) -> None:
        raise AssertionError(ticket)

    def wake(self) -> None: ...

    def fileno(self) -> int:
        raise AssertionError

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("code", "repetitions"), [(ErrorCode.UNAVAILABLE, range(35, 41)), (ErrorCode.UNAUTHENTICATED, range(8, 15))]
)
def test_an_outage_is_probed_with_each_tick_and_a_refusal_once_per_second(code: ErrorCode, repetitions: range) -> None:
    client, now = FailingClient(code), 0.0
    calls = Calls(client, lambda: now)
    calls.range(Range(b"head"), lambda _: None)
    for _ in range(40):
        calls.poll()
        now += 0.25
        calls.tick()
    assert client.submitted - 1 in repetitions
