"""The cases of the protocol, sent to a real server over TCP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.process import ServerProcess
from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase

Variant = tuple[bool, int]


def variant(case: ProtocolCase) -> Variant:
    """Return the settings of a case."""
    return case.reject_cycles, case.max_line_length


@pytest.fixture(scope="module")
def server_for() -> Iterator[Callable[[ProtocolCase], ServerProcess]]:
    """Give a function that returns a running server with the settings of a case."""
    with ExitStack() as running:
        servers: dict[Variant, ServerProcess] = {}

        def server_for_case(case: ProtocolCase) -> ServerProcess:
            if variant(case) not in servers:
                flags = ["--memory", "--max-line", str(case.max_line_length)]
                flags += ["--reject-cycles"] if case.reject_cycles else []
                servers[variant(case)] = running.enter_context(ServerProcess(*flags))
            return servers[variant(case)]

        yield server_for_case


def remove_all(server: ServerProcess, case: ProtocolCase) -> None:
    """Remove every package that a case may have indexed, also in cycles."""
    lines = (case.setup + case.sent).decode("latin-1").split("\n")
    names = {line.split("|")[1] for line in lines if line.startswith("INDEX|") and line.count("|") == 2}
    with server.connect() as client:
        indexed = [name for name in sorted(names) if name and client.ask(f"QUERY|{name}|") == ["OK"]]
        for command in ("INDEX", "REMOVE"):
            assert client.ask(*[f"{command}|{name}|" for name in indexed]) == ["OK"] * len(indexed)


@pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
def test_protocol_case(server_for: Callable[[ProtocolCase], ServerProcess], case: ProtocolCase) -> None:
    server = server_for(case)
    try:
        with server.connect() as client:
            client.send(case.setup + case.sent)
            client.finish_sending()
            assert client.read_to_end() == b"OK\n" * case.setup.count(b"\n") + case.answers
    finally:
        remove_all(server, case)
