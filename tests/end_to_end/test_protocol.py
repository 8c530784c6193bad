"""The table of the protocol again, this time asked of a real server over TCP."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.process import BlockingClient, ServerProcess
from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase


@pytest.fixture(scope="module")
def server_for() -> Iterator[Callable[[ProtocolCase], ServerProcess]]:
    """Give a function that returns a running server with the settings of a case."""
    with ExitStack() as running:
        servers: dict[tuple[bool, int], ServerProcess] = {}

        def server_for_case(case: ProtocolCase) -> ServerProcess:
            variant = (case.reject_cycles, case.max_line_length)
            if variant not in servers:
                flags = ["--memory", "--max-line", str(case.max_line_length)]
                flags += ["--reject-cycles"] if case.reject_cycles else []
                servers[variant] = running.enter_context(ServerProcess(*flags))
            return servers[variant]

        yield server_for_case


def empty_the_index(client: BlockingClient, case: ProtocolCase) -> None:
    """Remove whatever a case may have indexed, in cycles or not."""
    names = set(re.findall(r"INDEX\|([^|\n]+)\|", (case.setup + case.sent).decode("latin-1")))
    indexed = [name for name in sorted(names) if client.ask(f"QUERY|{name}|") == ["OK"]]
    for command in ("INDEX", "REMOVE"):
        assert client.ask(*[f"{command}|{name}|" for name in indexed]) == ["OK"] * len(indexed)


def exchange(server: ServerProcess, case: ProtocolCase, pieces: Iterator[bytes]) -> bytes:
    """Return all that comes back on a connection of its own for ``pieces``, after the setup of ``case``."""
    with server.connect() as client:
        client.send(case.setup)
        assert client.read_answers(case.setup.count(b"\n")) == ["OK"] * case.setup.count(b"\n")
        for piece in pieces:
            client.send(piece)
        client.finish_sending()
        return client.read_to_end()


@pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
def test_each_case_of_the_protocol(server_for: Callable[[ProtocolCase], ServerProcess], case: ProtocolCase) -> None:
    server = server_for(case)
    try:
        assert exchange(server, case, iter([case.sent])) == case.answers
    finally:
        with server.connect() as client:
            empty_the_index(client, case)


@pytest.mark.parametrize("case", [case for case in PROTOCOL_CASES if len(case.sent) < 1_000], ids=str)
def test_each_case_in_small_packets(server_for: Callable[[ProtocolCase], ServerProcess], case: ProtocolCase) -> None:
    server = server_for(case)
    try:
        pieces = (case.sent[start : start + 3] for start in range(0, len(case.sent), 3))
        assert exchange(server, case, pieces) == case.answers
    finally:
        with server.connect() as client:
            empty_the_index(client, case)
