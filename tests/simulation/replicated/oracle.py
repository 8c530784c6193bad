"""The oracle: what must be true of several nodes, with the log as it was written as witness of the one order."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scoop_core import DependencyGraph

from scoop_etcd.client.api import KeyValue
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.formats.records import Pointer

from tests.support.naive_index import NaiveIndex

State = dict[str, frozenset[str]]


@dataclass(eq=False)
class Batch:
    """Lines that a client has sent together. With a change among them, the first line is malformed and names the batch.

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

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def logged(self) -> list[str]:
        return [
            line
            for line in self.lines
            if not (line.startswith("QUERY|") and line.endswith("|") and line.count("|") == 2)
        ]


class Oracle:
    """Evaluates the log with an index of its own, and compares everything that nodes answer and hold with it."""

    def __init__(self, keys: Keys, *, reject_cycles: bool) -> None:
        self._keys = keys
        self._index = NaiveIndex(reject_cycles=reject_cycles)
        self._values: dict[bytes, bytes] = {}
        self.sequences: Counter[str] = Counter()
        self.head = 0
        """The revision of the last entry."""
        self.states: dict[int, State] = {0: {}}
        """The state after each entry."""
        self._parts: dict[int, list[State]] = {}
        """The states within the entry after a revision, which a node has while it searches for a cycle."""
        self._digests: dict[int, int] = {}
        self.batches: dict[int, Batch] = {}
        self._expected: dict[int, tuple[int, str]] = {}
        """The revision of each batch in the log, and its responses."""
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
        parts = self._parts[self.head] = [dict(self._index.state)]
        self.head = kv.mod_revision
        if kv.key in self._values:
            assert self._values[kv.key] == kv.value, "an entry was replaced by another"
            assert kv.create_revision == kv.mod_revision, "an entry was put again while it was in the log"
            self.late_duplicates += 1
        else:
            assert seq == self.sequences[node] + 1, f"entry {seq} of node {node} follows {self.sequences[node]}"
            self.sequences[node] = seq
            self._values[kv.key] = kv.value
            self._evaluate(kv.mod_revision, decode_entry(node, seq, kv.value).split("\n")[:-1], parts)
        self.states[self.head] = dict(self._index.state)

    def _evaluate(self, revision: int, lines: Sequence[str], parts: list[State]) -> None:
        rest = list(lines)
        while rest:
            assert rest[0].startswith("#"), f"an entry contains a line that is no part of a batch: {rest[0]}"
            batch = self.batches[int(rest[0][1:])]
            assert rest[: len(batch.logged)] == batch.logged, f"batch {batch.number} was not logged as it was received"
            del rest[: len(batch.logged)]
            assert batch.number not in self._expected, f"batch {batch.number} was logged twice"
            answers = []
            for line in batch.lines:
                answers.append(f"{self._index.answer(line)}\n")
                parts.append(dict(self._index.state))
            self._expected[batch.number] = (revision, "".join(answers))

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

    def _states(self, revision: int, *, is_partial: bool) -> list[State]:
        return self._parts[revision] if is_partial else [self.states[revision]]

    def queries_answered(self, batch: Batch, answers: str, revision: int, *, at_least: int, is_partial: bool) -> None:
        """Check the responses of a node that has applied the log up to ``revision``, or a part of the next entry."""
        assert revision >= at_least, (
            f"batch {batch.number} was answered at revision {revision}, after {at_least} was acknowledged"
        )
        indexes = [NaiveIndex(state) for state in self._states(revision, is_partial=is_partial)]
        expected = ["".join(f"{index.answer(line)}\n" for line in batch.lines) for index in indexes]
        assert answers in expected, f"batch {batch.number} at {revision}: expected {expected!r}, got {answers!r}"
        self.answered += 1

    # States

    def check_digest(self, digest: int, revision: int) -> None:
        """Check that all nodes at one revision have the same digest."""
        expected = self._digests.setdefault(revision, digest)
        assert digest == expected, f"at {revision}: digest {digest:x}, of another node {expected:x}"

    def check_state(self, graph: DependencyGraph, revision: int, *, is_partial: bool) -> None:
        """Check that a graph is what the log up to ``revision`` makes."""
        assert revision in self.states, f"a node is at revision {revision}, which no entry has"
        found = {name: frozenset(names) for name, names in graph.to_mapping().items()}
        expected = self._states(revision, is_partial=is_partial)
        assert found in expected, f"at {revision}: expected {expected}, got {found}"
