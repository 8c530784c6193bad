"""Read-only listeners, and HTTP requests."""

import pytest

from scoop_server.config.access import AccessPolicy
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, Loop


def test_a_read_only_listener_answers_queries_and_rejects_changes(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(policy=AccessPolicy(is_read_only=True)) as loop:
        loop.graph.index("a")
        peer = loop.connect()
        assert loop.exchange(peer, b"QUERY|a|\nREMOVE|a|\nQUERY|a|\n") == b"OK\nERROR\nOK\n"
        assert loop.exchange(peer, b"INDEX|b|\nQUERY|b|\n") == b"ERROR\nFAIL\n"
        assert loop.store.commits == []
        assert loop.statistics.changes_rejected == 2
        assert "this listener is read-only" in caplog.text


@pytest.mark.parametrize("head", [b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /INDEX|evil| HTTP/1.0\n"])
def test_a_client_whose_first_line_is_an_http_request_is_disconnected(
    loop: Loop, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer = loop.connect()
    peer.send(head + b"INDEX|a|\n")
    loop.turn()
    assert peer.has_ended()
    assert len(loop.graph) == 0
    assert loop.statistics.connections_closed[CloseReason.HTTP] == 1
    assert "its first line is an HTTP request" in caplog.text


def test_only_the_first_line_can_be_an_http_request(loop: Loop) -> None:
    peer = loop.connect()
    assert loop.exchange(peer) == ANSWER
    assert loop.exchange(peer, b"GET / HTTP/1.1\n") == b"ERROR\n"


def test_a_first_line_with_a_bar_in_place_of_a_method_is_a_malformed_request(loop: Loop) -> None:
    assert loop.exchange(loop.connect(), b"QUERY|GET / HTTP/1.1\n") == b"ERROR\n"
