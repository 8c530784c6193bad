"""Print what scoop-core answers to random calls: ``python -m tests.forms.trace --first 0 --seeds 100``.

The first line is the form of scoop-core. A line for each seed follows, with the digest of all outcomes; ``--outcomes``
prints these too. The same seed makes the same calls, in every form and every process with the same PYTHONHASHSEED.
"""

import argparse
import copy
import hashlib
import pickle
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Final

import scoop_core.graph_state
from scoop_core import (
    NO_BATCH,
    Changes,
    ClientConnection,
    Command,
    Connection,
    DependencyGraph,
    IndexedGraph,
    JournalReader,
    Request,
    ScoopError,
    Tally,
    decode_snapshot,
    encode_batch,
    encode_journal_header,
    encode_snapshot,
)

from tests.fuzz.streams import NAMES, cut, damaged, damaged_requests, requests

CALLS_PER_SEED: Final = 80

FORM: Final = "pure" if str(scoop_core.graph_state.__file__).endswith(".py") else "compiled"

_SOME_NAMES: Final = (*NAMES, *NAMES, "", "a b", "a|b", "a,b", "n" * 256, "ä", "\n")


class NamedGraph(DependencyGraph):
    """A subclass with an attribute, whose constructor needs an argument."""

    def __init__(self, label: str) -> None:
        super().__init__(reject_cycles=False)
        self.label = label

    @classmethod
    def empty(cls, *, reject_cycles: bool = False) -> "NamedGraph":
        """See :meth:`DependencyGraph.empty`."""
        graph = cls("made")
        graph.reject_cycles = reject_cycles
        return graph


class Caller:
    """Makes random calls, and notes the outcome of each."""

    def __init__(self, seed: int, note: Callable[[str], None]) -> None:
        self._random = random = Random(seed)
        self._note = note
        graphs = (DependencyGraph, IndexedGraph, NamedGraph)
        self._graph: DependencyGraph = random.choice(graphs).empty(reject_cycles=random.random() < 0.5)
        self._other = DependencyGraph.from_mapping({NAMES[0]: [NAMES[1], NAMES[0]], NAMES[1]: []})
        self._connection = Connection(max_line_length=random.choice((10, 100, 1_000)))
        self._client = ClientConnection(max_unanswered=20)
        self._tally = Tally()

    def run(self) -> None:
        """Make all calls of the seed."""
        calls = (
            *(self._send_lines, self._send_batches, self._receive, self._search) * 2,
            *(self._change, self._undo, self._ask, self._ask) * 2,
            *(self._copy, self._encode, self._read_journal, self._be_a_client),
        )
        for _ in range(CALLS_PER_SEED):
            call = self._random.choice(calls)
            try:
                outcome = repr(call())
            except Exception as error:
                cause = error.__cause__
                outcome = f"{type(error).__name__}({error}) caused by {type(cause).__name__}({cause})"
                if isinstance(error, ScoopError):
                    outcome += f" {pickle.loads(pickle.dumps(error))!r}"
            self._note(f"{call.__name__}: {outcome} {self._graph!r}")
        self._note(repr([list(self._graph.to_lines()), list(self._tally)]))

    def _name(self) -> str:
        return self._random.choice(_SOME_NAMES)

    def _names(self) -> list[str]:
        return self._random.choices(_SOME_NAMES if self._random.random() < 0.2 else NAMES, k=self._random.randrange(4))

    def _known(self) -> str:
        return self._random.choice([*self._graph] or ["none"]) if self._random.random() < 0.9 else self._name()

    def _text(self) -> str:
        data = self._random.choice((requests, requests, damaged_requests))(self._random)
        return Connection().receive(data)

    def _send_lines(self) -> object:
        return self._graph.apply_lines(self._text(), Changes(), self._tally)

    def _send_batches(self) -> object:
        lines = [line + "\n" for line in self._text().split("\n")[:-1]]
        return self._graph.apply_batches(lines, Changes(), self._tally)

    def _search(self) -> object:
        part = self._graph.apply_lines_within(self._random.randrange(20), self._text())
        if part.search is None:
            return part
        results = [part.search.step(self._random.randrange(1, 9)) for _ in range(3)]
        return part.responses, part.rest, part.cost, part.search.package, sorted(part.search.names), results

    def _receive(self) -> object:
        data = damaged_requests(self._random)
        pieces = [self._connection.receive(piece) for piece in cut(data, self._random)]
        return (
            pieces,
            self._connection.state,
            self._connection.incomplete_bytes,
            self._connection.incomplete_line_number,
        )

    def _change(self) -> object:
        graph, changes = self._graph, self._random.choice((None, Changes()))
        request = Request.of(self._random.choice([*Command]), self._random.choice(NAMES), self._names())
        answers = self._random.choice(
            (
                lambda: graph.index(self._name(), self._names(), changes),
                lambda: graph.remove(self._known(), changes),
                lambda: graph.add_dependency(self._known(), self._known(), changes),
                lambda: graph.remove_dependency(self._known(), self._known(), changes),
                lambda: graph.query(self._known()),
                lambda: (graph.explain(request), graph.apply(request, changes)),
            )
        )()
        return answers, changes and changes.entries

    def _undo(self) -> object:
        changes, foreign = Changes(), Changes()
        answers = self._graph.apply_lines(self._text(), changes)
        if self._random.random() < 0.2:
            self._graph.apply_lines(self._text(), foreign)  # which may forbid the undo
        with suppress(ValueError):
            self._graph.undo(foreign)
        self._graph.undo(changes)
        return answers, changes.lines, changes.previous

    def _ask(self) -> object:
        graph, a, b = self._graph, self._known(), self._known()
        questions: tuple[Callable[[], object], ...] = (
            lambda: (graph.dependencies(a), graph.dependents(a), graph.dependency_count(a), graph.dependent_count(a)),
            lambda: (graph.transitive_dependencies([a, b]), graph.transitive_dependents([a, b])),
            lambda: (graph.find_path(a, b), graph.cut_packages(a, b), list(graph.shortest_paths(a, b))),
            lambda: (graph.paths_to(a), graph.dependents_by_package()),
            lambda: (graph.layers(), graph.layers([a, b]), graph.component_layers(), graph.topological_order()),
            lambda: (graph.cyclic_components(), graph.strongly_connected_components(), graph.edge_count()),
            lambda: (graph.explain_removal([a, b]), graph.removal_requests([a, b])),
            lambda: (graph.missing_dependencies(a, [b, "no"]), graph.find_closed_cycle(a, [b])),
            lambda: (graph.diff(self._other), self._other.diff(graph), graph == self._other),
            lambda: (graph.subgraph([a, b]).to_mapping(), list(graph.edges()), len(graph), a in graph, list(graph)),
        )
        return self._random.choice(questions)()

    def _copy(self) -> object:
        ways: tuple[Callable[[DependencyGraph], DependencyGraph], ...] = (
            copy.copy, copy.deepcopy, DependencyGraph.copy, lambda graph: pickle.loads(pickle.dumps(graph)),
        )  # fmt: skip
        twin = self._random.choice(ways)(self._graph)
        is_equal = twin == self._graph
        twin.index("fuzz-twin", [])
        return (
            type(twin),
            vars(twin).get("label") if isinstance(twin, NamedGraph) else None,
            is_equal,
            "fuzz-twin" in twin,
        )

    def _encode(self) -> object:
        data = b"".join(encode_snapshot(self._graph))
        trust = self._random.random() < 0.5
        self._graph = decode_snapshot(data, reject_cycles=self._graph.reject_cycles, graph_class=type(self._graph))
        return data, decode_snapshot(_perhaps_damaged(data, self._random), trust_checksum=trust).to_mapping()

    def _read_journal(self) -> object:
        header, seal = encode_journal_header(1, NO_BATCH)
        journal, data = seal.checksum, header
        for number in range(self._random.randrange(4)):
            lines = [line for line in self._text().split("\n")[:-1] if line.isascii() and "#" not in line]
            batch, seal = encode_batch(lines, seal, 0, journal, time=number, authors=[(0, "CN=a")] * (number % 2))
            data += batch
        reader = JournalReader(_perhaps_damaged(data, self._random))
        return [(text, reader.head, reader.authors) for text in reader], reader.unsealed_bytes, reader.later_batch

    def _be_a_client(self) -> object:
        wanted = [Request.of(Command.QUERY, name) for name in self._random.choices(NAMES, k=3)]
        sent = self._client.send_all(wanted) + self._client.send(wanted[0])
        answers = self._random.choice((b"OK\nFAIL\n", b"ERROR\n", b"O", b"K\n", b"NO\n", b"OK\n" * 4))
        return sent, self._client.receive(answers), self._client.state, self._client.unanswered_count


def _perhaps_damaged(data: bytes, random: Random) -> bytes:
    return damaged(data, random) if random.random() < 0.5 else data


def outcomes_of(seed: int) -> Iterable[str]:
    """Return the outcomes of all calls of a seed."""
    outcomes: list[str] = []
    Caller(seed, outcomes.append).run()
    return outcomes


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.forms.trace", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--outcomes", action="store_true", help="print every outcome")
    options = parser.parse_args()
    print(FORM)
    for seed in range(options.first, options.first + options.seeds):
        outcomes = outcomes_of(seed)
        if options.outcomes:
            print(*map(ascii, outcomes), sep="\n")
        print(seed, hashlib.sha256("\n".join(outcomes).encode("utf-8", "surrogatepass")).hexdigest())


if __name__ == "__main__":
    main()
