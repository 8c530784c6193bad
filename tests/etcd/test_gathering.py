"""The wait before a request to etcd: when it begins and ends, and when there is none."""

from collections.abc import Callable

import pytest

from scoop_etcd.replication.gathering import GATHER_SECONDS, SKIPPED_MAX, Gathering


class Timer:
    """Notes what is to be called, and calls it when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.calls.append((seconds, callback))

    def pass_by(self) -> list[float]:
        """Call everything that is due, and what that sets in turn; return the delays."""
        delays = []
        while self.calls:
            seconds, callback = self.calls.pop(0)
            delays.append(seconds)
            callback()
        return delays


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def proceeded() -> list[str]:
    return []


@pytest.fixture
def gathering(timer: Timer, proceeded: list[str]) -> Gathering:
    gathering = Gathering(lambda: proceeded.append("proceed"))
    gathering.call_later = timer.call_later
    return gathering


def test_a_request_waits_for_all_clients_and_then_no_longer(
    gathering: Gathering, timer: Timer, proceeded: list[str]
) -> None:
    gathering.begin(3)
    assert [gathering.is_complete(count) for count in (1, 2, 3, 1)] == [False, False, True, True]
    timer.pass_by()
    assert proceeded == []


def test_it_is_sent_without_them_when_the_time_is_over(
    gathering: Gathering, timer: Timer, proceeded: list[str]
) -> None:
    gathering.begin(3)
    assert timer.pass_by() == [0.0, GATHER_SECONDS]  # the time begins when the responses have been sent
    assert proceeded == ["proceed"]
    assert gathering.is_complete(1)


def test_the_time_of_an_earlier_wait_does_not_end_the_next(
    gathering: Gathering, timer: Timer, proceeded: list[str]
) -> None:
    gathering.begin(2)
    assert gathering.is_complete(2)
    [earlier] = timer.calls
    gathering.begin(2)
    timer.calls = [earlier]
    timer.pass_by()
    assert proceeded == []
    assert not gathering.is_complete(1)


@pytest.mark.parametrize("wanted", [0, 1])
def test_nothing_waits_for_one_client(gathering: Gathering, timer: Timer, wanted: int) -> None:
    gathering.begin(wanted)
    assert (gathering.is_complete(1), timer.calls) == (True, [])


def test_nothing_waits_before_there_is_a_timer() -> None:
    gathering = Gathering(lambda: None)
    gathering.begin(2)
    assert gathering.is_complete(1)


def test_after_waits_in_vain_more_and_more_requests_do_not_wait(gathering: Gathering, timer: Timer) -> None:
    def requests_until_the_next_wait() -> int:
        count = 0
        while not timer.calls:
            gathering.begin(2)
            count += 1
        timer.pass_by()
        return count

    counts = [requests_until_the_next_wait() for _ in range(9)]
    assert counts == [1, 2, 4, 8, 16, 32, 64, SKIPPED_MAX + 1, SKIPPED_MAX + 1]


def test_a_wait_that_pays_off_halves_their_number(gathering: Gathering, timer: Timer) -> None:
    for _ in range(1 + 2):  # two waits in vain: three requests will not wait
        gathering.begin(2)
        timer.pass_by()
    for _ in range(3 + 1):
        gathering.begin(2)
    assert gathering.is_complete(2)
    timer.calls.clear()
    gathering.begin(2)
    timer.pass_by()
    waits = []
    for _ in range(4):
        gathering.begin(2)
        waits.append(not gathering.is_complete(1))
    assert waits == [False, False, False, True]
