"""The selector on epoll behaves as that of the standard library: each test runs with both."""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector

import pytest

from scoop_server.net.selector import EpollSelector, best_selector

BOTH = EVENT_READ | EVENT_WRITE

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[EpollSelector, DefaultSelector])
def selector(request: pytest.FixtureRequest) -> Iterator[BaseSelector]:
    make: Callable[[], BaseSelector] = request.param
    with make() as selector:
        yield selector


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def ready(selector: BaseSelector) -> list[tuple[object, int]]:
    """Return the data of each ready object and its events."""
    return [(key.data, events) for key, events in selector.select(0)]


def test_input_is_reported_until_it_is_read(selector: BaseSelector, pair: Pair) -> None:
    ours, theirs = pair
    key = selector.register(ours, EVENT_READ, "data")
    assert (key.fileobj, key.fd, key.events, key.data) == (ours, ours.fileno(), EVENT_READ, "data")
    assert selector.select(0.001) == []
    theirs.send(b"ab")
    for _ in range(2):
        assert selector.select() == [(key, EVENT_READ)]
        ours.recv(1)
    assert selector.select(-1.0) == []
    theirs.send(b"c")
    assert selector.unregister(ours) == key
    assert selector.select(0) == []


def test_only_the_registered_events_are_reported(selector: BaseSelector, pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"a")
    selector.register(ours, EVENT_WRITE, "write")
    assert ready(selector) == [("write", EVENT_WRITE)]
    for events, data in ((BOTH, "both"), (EVENT_READ, "read"), (EVENT_READ, "only the data changes")):
        selector.modify(ours, events, data)
        assert ready(selector) == [(data, events)]


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("registered", [EVENT_READ, EVENT_WRITE, BOTH])
def test_an_end_of_file_or_a_reset_is_reported_as_registered_events(
    selector: BaseSelector, registered: int, is_reset: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            selector.register(ours, registered, "data")
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", is_reset, 0))
            theirs.close()
            [(_, events)] = selector.select(10)
            assert events
            assert not events & ~registered
            selector.unregister(ours)


def test_a_descriptor_that_was_closed_can_be_unregistered(selector: BaseSelector, pair: Pair) -> None:
    ours, _ = pair
    descriptor = ours.fileno()
    selector.register(descriptor, EVENT_READ, "closed")
    ours.close()
    assert selector.unregister(descriptor).data == "closed"


def test_one_call_reports_all_ready_objects(selector: BaseSelector) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    for ours, theirs in pairs:
        selector.register(ours, EVENT_READ, ours)
        theirs.send(b"x")
    assert {data for data, _ in ready(selector)} == {ours for ours, _ in pairs}
    assert len(selector.get_map()) == 300
    for ours, theirs in pairs:
        selector.unregister(ours)
        ours.close()
        theirs.close()


def test_a_second_registration_and_an_unknown_object_are_errors(selector: BaseSelector, pair: Pair) -> None:
    ours, theirs = pair
    selector.register(ours, EVENT_READ)
    with pytest.raises(KeyError):
        selector.register(ours, EVENT_READ)
    with pytest.raises(KeyError):
        selector.unregister(theirs)
    with pytest.raises(KeyError):
        selector.modify(theirs, EVENT_READ)


def test_epoll_is_used_if_the_system_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with best_selector() as best:
        assert isinstance(best, EpollSelector)
    monkeypatch.delattr(select, "epoll")
    with best_selector() as best:
        assert isinstance(best, DefaultSelector)
