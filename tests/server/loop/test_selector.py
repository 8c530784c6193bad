"""The selector of the event loop does what the standard library's does: every test asks both."""

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector

import pytest

from scoop_server.loop.selector import EpollSelector, best_selector

BOTH = EVENT_READ | EVENT_WRITE


@pytest.fixture(params=[EpollSelector, DefaultSelector])
def selector(request: pytest.FixtureRequest) -> Iterator[BaseSelector]:
    make: Callable[[], BaseSelector] = request.param
    with make() as selector:
        yield selector


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_what_can_be_read_is_told_until_it_is_read(
    selector: BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    key = selector.register(ours, EVENT_READ, "data")
    assert (key.fileobj, key.fd, key.events, key.data) == (ours, ours.fileno(), EVENT_READ, "data")
    assert selector.select(0) == []
    theirs.send(b"ab")
    for _ in range(2):
        assert selector.select(0) == [(key, EVENT_READ)]
        ours.recv(1)
    assert selector.select(0) == []


def test_what_can_be_written_is_told_where_it_is_wanted(
    selector: BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"a")
    selector.register(ours, EVENT_WRITE)
    assert [events for _, events in selector.select(0)] == [EVENT_WRITE]
    selector.modify(ours, BOTH, "both")
    assert [(key.data, events) for key, events in selector.select(0)] == [("both", BOTH)]
    selector.modify(ours, EVENT_READ, "read")
    assert [(key.data, events) for key, events in selector.select(0)] == [("read", EVENT_READ)]


def test_the_data_alone_can_change(selector: BaseSelector, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"a")
    selector.register(ours, EVENT_READ, "one")
    selector.modify(ours, EVENT_READ, "other")
    assert [(key.data, events) for key, events in selector.select(0)] == [("other", EVENT_READ)]


@pytest.mark.parametrize("wanted", [EVENT_READ, EVENT_WRITE, BOTH])
def test_an_end_and_a_reset_wake_whoever_waits(selector: BaseSelector, wanted: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for is_reset in (False, True):
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            with ours:
                ours.setblocking(False)
                selector.register(ours, wanted)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", is_reset, 0))
                theirs.close()
                ((key, events),) = selector.select(10)
                assert key.fileobj is ours
                assert events
                assert not events & ~wanted
                selector.unregister(ours)


def test_a_descriptor_will_do(selector: BaseSelector) -> None:
    reader, writer = os.pipe()
    try:
        selector.register(reader, EVENT_READ, "pipe")
        os.write(writer, b"x")
        assert [(key.fileobj, key.data, events) for key, events in selector.select(0)] == [(reader, "pipe", EVENT_READ)]
        assert selector.unregister(reader).data == "pipe"
        assert selector.select(0) == []
    finally:
        os.close(reader)
        os.close(writer)


def test_all_that_is_ready_is_told_at_once(selector: BaseSelector) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    for ours, theirs in pairs:
        selector.register(ours, EVENT_READ, ours)
        theirs.send(b"x")
    assert {key.data for key, _ in selector.select(0)} == {ours for ours, _ in pairs}
    assert len(selector.get_map()) == 300
    for ours, theirs in pairs:
        selector.unregister(ours)
        ours.close()
        theirs.close()


def test_a_second_registration_and_an_unknown_object_are_errors(
    selector: BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    selector.register(ours, EVENT_READ)
    with pytest.raises(KeyError):
        selector.register(ours, EVENT_READ)
    with pytest.raises(KeyError):
        selector.unregister(theirs)
    with pytest.raises(KeyError):
        selector.modify(theirs, EVENT_READ)


def test_a_time_out_ends_the_wait(selector: BaseSelector, pair: tuple[socket.socket, socket.socket]) -> None:
    selector.register(pair[0], EVENT_READ)
    assert selector.select(0.001) == []


def test_the_best_one_is_epoll_where_there_is_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    with best_selector() as best:
        assert isinstance(best, EpollSelector)
    monkeypatch.delattr(select, "epoll")
    with best_selector() as best:
        assert isinstance(best, DefaultSelector)
