"""Read-only listeners, and HTTP requests."""

import pytest

from scoop_core import AccessRole, AccessRules, Command

from scoop_server.config.access import AccessPolicy
from scoop_server.config.limits import Limits
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, Loop, Peer


def test_a_read_only_listener_answers_queries_and_rejects_changes(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(policy=AccessPolicy(is_read_only=True)) as loop:
        loop.graph.index("a")
        peer = loop.connect()
        assert loop.exchange(peer, b"QUERY|a|\nREMOVE|a|\nQUERY|a|\n") == b"OK\nERROR\nOK\n"
        assert loop.exchange(peer, b"INDEX|b|\nQUERY|b|\n") == b"ERROR\nFAIL\n"
        assert loop.store.commits == []
        assert loop.statistics.changes_rejected == 2
        assert "this listener is read-only" in caplog.text


# Roles

READERS = AccessRole("readers", ("anonymous",), (Command.QUERY,))
TEAM = AccessRole("team", ("CN=a", "CN=b"), tuple(Command), ("a*",))
ADMINS = AccessRole("admins", ("CN=admin", "CN=b"), tuple(Command))


def enforce(loop: Loop, *roles: AccessRole, revoked: bytes = b"none") -> None:
    loop.server.enforce(AccessRules(roles), lambda certificate: certificate == revoked)
    loop.turn()


def connect(loop: Loop, *names: str) -> Peer:
    loop.listeners[0].next_peer = ("192.0.2.1", names)
    return loop.connect()


def test_each_client_has_what_its_role_permits(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    enforce(loop, READERS, TEAM, ADMINS)
    reader, member, admin = connect(loop), connect(loop, "CN=a"), connect(loop, "CN=admin")
    assert loop.exchange(reader, b"INDEX|a|\nQUERY|a|\n") == b"ERROR\nFAIL\n"
    assert loop.exchange(member, b"INDEX|b|\nINDEX|a|\nREMOVE|b|\n") == b"ERROR\nOK\nERROR\n"
    assert loop.exchange(admin, b"INDEX|b|a\nREMOVE|b|\n") == b"OK\nOK\n"
    assert loop.statistics.requests_forbidden == {("readers",): 1, ("team",): 2}
    records = [record.args for record in caplog.records if "does not permit" in record.getMessage()]
    assert isinstance(records[1], dict)
    assert records[1] | {"address": "192.0.2.1:2", "subject": "CN=a", "role": "team"} == records[1]


def test_a_client_without_a_role_is_disconnected(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    enforce(loop, TEAM)
    assert connect(loop).has_ended()
    assert "closed the connection of 192.0.2.1:1: no role names anonymous" in caplog.messages
    assert loop.statistics.connections_closed == {CloseReason.FORBIDDEN: 1}


def test_a_changed_role_applies_from_the_next_turn_also_to_lines_that_wait() -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_lines_max=1)) as loop:
        peer = connect(loop, "CN=b")
        assert loop.exchange(peer, b"INDEX|b|\nINDEX|b|\nREMOVE|b|\n") == b"OK\n"
        enforce(loop, TEAM)
        loop.turn(2)
        assert peer.received() == b"OK\nERROR\n", "the second line was executed in the turn of the reload"
        enforce(loop, ADMINS)
        assert loop.exchange(peer, b"REMOVE|b|\n") == b"OK\n"
        assert len(loop.graph) == 0


def test_those_who_lose_their_role_or_whose_certificate_is_revoked_are_disconnected(loop: Loop) -> None:
    enforce(loop, READERS, TEAM)
    anonymous, member, revoked = connect(loop), connect(loop, "CN=a"), connect(loop, "CN=a")
    [*_, client] = loop.server._clients
    client.peer.certificate = b"lost"
    enforce(loop, TEAM, revoked=b"lost")
    assert [peer.has_ended() for peer in (anonymous, member, revoked)] == [True, False, True]


def test_a_client_that_loses_its_role_still_gets_the_answers_of_the_turn(loop: Loop) -> None:
    peer = loop.connect()
    loop.server.enforce(AccessRules((TEAM,)), lambda _: False)
    peer.send(b"INDEX|a|\n")
    loop.turn()
    assert peer.received() == b"OK\n"
    assert peer.has_ended()


def test_a_role_that_permits_everything_costs_nothing_after_the_first_line(loop: Loop) -> None:
    enforce(loop, ADMINS)
    loop.exchange(connect(loop, "CN=admin"))
    [client] = loop.server._clients
    assert client.receive == client.connection.receive


# HTTP


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
