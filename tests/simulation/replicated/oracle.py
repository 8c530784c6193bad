"""The oracle: what must be true of several nodes, with the log as it was written as witness of the one order."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scoop_core import DependencyGraph

from scoop_etcd.client.api import KeyValue
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.formats.records import Config, Pointer

from tests.support.naive_index import NaiveIndex

State = dict[str, frozenset[str]]


@dataclass(eq=False)
class Batch:
    """Lines that a client has sent together. With a change among them, a malformed line around each names the batch.

    So each entry of the log shows which batches it holds: malformed lines are logged too, as they were received.
    """

    number: int
    lines: tuple[str, ...]
    is_change: bool
    executed_at: float = math.inf
    """The time at which the node has read it."""
    head: int = 0
    """The revision of the last entry in the log when the batch was sent."""
    is_after_faults: bool = False
    applied: int = 0
    """The lines that have been applied by entries."""

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def is_plain_query(line: str) -> bool:
    return line.startswith("QUERY|") and line.endswith("|") and line.count("|") == 2


class Oracle:
    """Evaluates the log with an index of its own, and compares everything that nodes answer and hold with it."""

    def __init__(self, keys: Keys, config: Config) -> None:
        self._keys = keys
        self._search_limit = config.search_limit
        self._index = NaiveIndex(reject_cycles=config.reject_cycles, search_limit=config.search_limit)
        self._values: dict[bytes, bytes] = {}
        self.sequences: Counter[str] = Counter()
        self.head = 0
        """The revision of the last entry."""
        self.states: dict[int, State] = {0: {}}
        """The state after each entry."""
        self._digests: dict[int, int] = {}
        self.batches: dict[int, Batch] = {}
        self._expected: dict[int, tuple[int, str]] = {}
        """The revision of the last entry that has applied lines of a batch, and the responses so far."""
        self.partly_applied = 0
        """Entries whose last lines were not applied."""
        self.late_duplicates = 0
        self.answered = 0
        self.compactions = 0

    def sent(self, batch: Batch) -> None:
        batch.head = self.head
        self.batches[batch.number] = batch

    # The log

    def put(self, kv: KeyValue) -> None:
        """Take a key that was put into etcd, at the moment at which that takes effect."""
        assert kv.key.startswith(self._keys.everything.key), f"a key of another program was written: {kv.key!r}"
        if kv.key.startswith(self._keys.entries.key):
            self._append(kv)
        elif kv.key == self._keys.pointer:
            self._check_pointer(Pointer.decode(kv.value))

    def _append(self, kv: KeyValue) -> None:
        node, seq = self._keys.parse_entry(kv.key)
        self.head = kv.mod_revision
        if kv.key in self._values:
            assert self._values[kv.key] == kv.value, "an entry was replaced by another"
            assert kv.create_revision == kv.mod_revision, "an entry was put again while it was in the log"
            self.late_duplicates += 1
        else:
            assert seq == self.sequences[node] + 1, f"entry {seq} of node {node} follows {self.sequences[node]}"
            self.sequences[node] = seq
            self._values[kv.key] = kv.value
            entry = decode_entry(node, seq, kv.value)
            self._evaluate(kv.mod_revision, entry.lines.split("\n")[:-1], dict(entry.authors))
        self.states[self.head] = dict(self._index.state)

    def _evaluate(self, revision: int, lines: Sequence[str], authors: Mapping[int, str]) -> None:
        """Apply an entry: the lines of batches, each from the first one that no entry has applied."""
        cost = place = 0
        while place < len(lines):
            batch = self._batch_at(lines, place)
            assert authors[place] == f"batch-{batch.number}", f"the author of {batch.number} is {authors[place]}"
            rest, answers = batch.lines[batch.applied :], ""
            for line in rest:
                if not is_plain_query(line):
                    if place == len(lines) or self._batch_at(lines, place) is not batch:
                        break  # the others are in a later entry
                    assert line == lines[place], f"batch {batch.number} was not logged as it was received"
                    search = self._search_cost(line)
                    if search and cost and cost + search > self._search_limit:
                        self._note(batch, revision, answers)
                        self.partly_applied += 1
                        return
                    cost += search
                    place += 1
                answers += f"{self._index.answer(line)}\n"
            assert answers, f"batch {batch.number} was logged after all of it had been applied"
            self._note(batch, revision, answers)

    def _batch_at(self, lines: Sequence[str], place: int) -> Batch:
        name = lines[place] if lines[place].startswith("#") else lines[place + 1]
        return self.batches[int(name[1:])]

    def _note(self, batch: Batch, revision: int, answers: str) -> None:
        """Note the responses to the next lines of a batch."""
        if answers:
            batch.applied += answers.count("\n")
            _, before = self._expected.get(batch.number, (0, ""))
            self._expected[batch.number] = revision, before + answers

    def _search_cost(self, line: str) -> int:
        command, _, rest = line.partition("|")
        package, _, listed = rest.partition("|")
        dependencies = frozenset(listed.split(",")) if listed else frozenset[str]()
        is_index = command == "INDEX" and rest.count("|") == 1 and dependencies <= self._index.state.keys()
        return self._index.search_cost(package, dependencies) if is_index else 0

    def _check_pointer(self, pointer: Pointer) -> None:
        self.compactions += 1
        assert pointer.revision in self.states, f"a snapshot is at revision {pointer.revision}, which no entry has"
        assert pointer.truncated <= pointer.revision

    # Answers

    def change_answered(self, batch: Batch, answers: str) -> int:
        """Check the responses to a batch with changes; return the revision of its entry."""
        assert batch.number in self._expected, f"batch {batch.number} was answered and is not in the log"
        revision, expected = self._expected[batch.number]
        assert answers == expected, f"batch {batch.number} at {revision}: expected {expected!r}, got {answers!r}"
        self.answered += 1
        return revision

    def queries_answered(self, batch: Batch, answers: str, revision: int, *, at_least: int) -> None:
        """Check the responses of a node that has applied the log up to ``revision``."""
        assert revision >= at_least, (
            f"batch {batch.number} was answered at revision {revision}, after {at_least} was acknowledged"
        )
        index = NaiveIndex(self.states[revision])
        expected = "".join(f"{index.answer(line)}\n" for line in batch.lines)
        assert answers == expected, f"batch {batch.number} at {revision}: expected {expected!r}, got {answers!r}"
        self.answered += 1

    # States

    def check_digest(self, digest: int, revision: int) -> None:
        """Check that all nodes at one revision have the same digest."""
        expected = self._digests.setdefault(revision, digest)
        assert digest == expected, f"at {revision}: digest {digest:x}, of another node {expected:x}"

    def check_state(self, graph: DependencyGraph, revision: int) -> None:
        """Check that a graph is what the log up to ``revision`` makes."""
        assert revision in self.states, f"a node is at revision {revision}, which no entry has"
        found = {name: frozenset(names) for name, names in graph.to_mapping().items()}
        expected = self.states[revision]
        assert found == expected, f"at {revision}: expected {expected}, got {found}"
