"""The speed of scoop-core by kind of message.

``nox -s bench_core -- --benchmark-autosave`` before a change and ``-- --benchmark-compare`` after it show what it
has changed. A batch has 100 messages, and the graph 10,000 packages that each depend on 5
random others.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import pytest

from bench.workloads import index_line, index_lines, mix_lines, random_packages
from scoop_core import (
    NO_BATCH,
    Changes,
    Connection,
    DependencyGraph,
    JournalReader,
    Response,
    decode_snapshot,
    encode_batch,
    encode_journal_header,
    encode_response,
    encode_snapshot,
    parse_request,
)

BATCH: Final = 100
ROUNDS: Final = 500
"""The rounds of a benchmark that must undo its changes before the next round."""
PIECE_BYTES: Final = 50
"""Shorter than two messages, so that nearly every piece ends in the middle of one."""

PACKAGES: Final = random_packages(10_000)
NAMES: Final = list(PACKAGES)
NEEDED: Final = {name for names in PACKAGES.values() for name in names}
SOME: Final = NAMES[5_000 : 5_000 + BATCH]
LEAVES: Final = [name for name in NAMES if name not in NEEDED][:BATCH]
"""Packages on which no other depends."""
BROKEN: Final = (
    "",
    "QUERY",
    "QUERY|a",
    "BLINDEX|a|b",
    "query|a|",
    "INDEX|emacs elisp|",
    "INDEX|a|b,,c",
    "QUERY||",
    "a|b|c|d",
)

T = TypeVar("T")


class Benchmark(Protocol):
    """The used part of the fixture of pytest-benchmark, which has no types."""

    def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        """Time calls of the function with the arguments; return the result of the last one."""

    def pedantic(self, function: Callable[..., T], *, setup: Callable[[], Any], rounds: int) -> T:
        """Time one call after each call of ``setup``, which returns its arguments; return the last result."""


@pytest.fixture
def graph() -> DependencyGraph:
    graph = DependencyGraph()
    graph.apply_lines(batch_of(index_lines(PACKAGES)), Changes())
    return graph


def batch_of(lines: list[str]) -> str:
    """Return the lines in one text."""
    return "".join(f"{line}\n" for line in lines)


# Messages that change nothing

UNCHANGING: Final = {
    "query hit": ([f"QUERY|{name}|" for name in SOME], Response.OK),
    "query miss": ([f"QUERY|no-{name}|" for name in SOME], Response.FAIL),
    "index repeated": ([index_line(name, PACKAGES[name]) for name in SOME], Response.OK),
    "index failing": ([index_line(f"new-{name}", ["gmp", *PACKAGES[name]]) for name in SOME], Response.FAIL),
    "remove refused": ([f"REMOVE|{name}|" for name in NAMES[:BATCH]], Response.FAIL),
    "remove unknown": ([f"REMOVE|no-{name}|" for name in SOME], Response.OK),
    "malformed": ([BROKEN[number % len(BROKEN)] for number in range(BATCH)], Response.ERROR),
}


@pytest.mark.parametrize("kind", UNCHANGING)
@pytest.mark.parametrize("count", [1, BATCH])
def test_unchanging(benchmark: Benchmark, graph: DependencyGraph, kind: str, count: int) -> None:
    lines, answer = UNCHANGING[kind]
    answers = benchmark(graph.apply_lines, batch_of(lines[-count:]), changes := Changes())
    assert answers == encode_response(answer) * count
    assert not changes


@pytest.mark.parametrize("lines", [UNCHANGING["query hit"][0], mix_lines(PACKAGES)[:BATCH]], ids=["query hit", "mix"])
def test_one_line_of_each_client(benchmark: Benchmark, graph: DependencyGraph, lines: list[str]) -> None:
    texts = [f"{line}\n" for line in lines if not line.startswith(("INDEX", "REMOVE"))]
    assert len(benchmark(graph.apply_batches, texts, changes := Changes())) == len(texts)
    assert not changes


# Messages that change something, which is undone before the next round


def measure_changes(benchmark: Benchmark, graph: DependencyGraph, lines: list[str]) -> tuple[list[str], int]:
    """Time the application of the lines; return their responses, and how many of them changed something."""
    text, changes = batch_of(lines), Changes()

    def set_up() -> tuple[tuple[str, Changes], dict[str, object]]:
        graph.undo(changes)
        changes.clear()
        return (text, changes), {}

    answers = benchmark.pedantic(graph.apply_lines, setup=set_up, rounds=ROUNDS)
    return answers.split(), len(changes)


CHANGING: Final = {
    "index new": [index_line(f"new-{name}", PACKAGES[name]) for name in SOME],
    "index changed": [index_line(name, NAMES[number : number + 5]) for number, name in enumerate(SOME)],
    "remove": [f"REMOVE|{name}|" for name in LEAVES],
}


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.parametrize("count", [1, BATCH])
def test_changing(benchmark: Benchmark, graph: DependencyGraph, kind: str, count: int) -> None:
    assert measure_changes(benchmark, graph, CHANGING[kind][-count:]) == ([Response.OK] * count, count)


def test_mix(benchmark: Benchmark, graph: DependencyGraph) -> None:
    answers, change_count = measure_changes(benchmark, graph, mix_lines(PACKAGES)[:BATCH])
    assert set(answers) == set(Response)
    assert change_count > 0


def test_undo(benchmark: Benchmark, graph: DependencyGraph) -> None:
    text = batch_of(CHANGING["index new"])

    def set_up() -> tuple[tuple[Changes], dict[str, object]]:
        graph.apply_lines(text, changes := Changes())
        return (changes,), {}

    benchmark.pedantic(graph.undo, setup=set_up, rounds=ROUNDS)
    assert len(graph) == len(PACKAGES)


# One message at a time, as a library


def test_parse_request(benchmark: Benchmark) -> None:
    request = benchmark(parse_request, index_line(SOME[0], PACKAGES[SOME[0]]))
    assert request.dependencies == PACKAGES[SOME[0]]


@pytest.mark.parametrize("command", ["INDEX", "QUERY", "REMOVE"])
def test_apply(benchmark: Benchmark, graph: DependencyGraph, command: str) -> None:
    request = parse_request(f"{command}|{SOME[0]}|{','.join(PACKAGES[SOME[0]])}")
    assert benchmark(graph.apply, request) is (Response.FAIL if command == "REMOVE" else Response.OK)


# Bytes in


def test_receive_whole_lines(benchmark: Benchmark) -> None:
    data = batch_of(index_lines(PACKAGES)[-BATCH:]).encode()
    assert benchmark(Connection().receive, data) == data.decode()


def test_receive_pieces(benchmark: Benchmark) -> None:
    data = batch_of(index_lines(PACKAGES)[-BATCH:]).encode()
    pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
    connection = Connection()
    assert benchmark(lambda: "".join(map(connection.receive, pieces))) == data.decode()


# Written down


def test_encode_snapshot(benchmark: Benchmark, graph: DependencyGraph) -> None:
    snapshot = benchmark(lambda: b"".join(encode_snapshot(graph)))
    assert snapshot.count(b"\nINDEX|") == len(PACKAGES)


def test_decode_snapshot(benchmark: Benchmark, graph: DependencyGraph) -> None:
    assert benchmark(decode_snapshot, b"".join(encode_snapshot(graph))) == graph


def test_encode_batch(benchmark: Benchmark) -> None:
    data, seal = benchmark(encode_batch, CHANGING["index new"], NO_BATCH, 0, 0)
    assert data.startswith(b"INDEX|")
    assert seal.number == 1


def test_read_journal(benchmark: Benchmark) -> None:
    journal, seal = encode_journal_header(1, NO_BATCH)
    checksum = seal.checksum
    for _ in range(BATCH):
        batch, seal = encode_batch(CHANGING["index new"], seal, seal.number, checksum)
        journal += batch
    assert len(benchmark(lambda: list(JournalReader(journal)))) == BATCH
