"""The state that is equal on all nodes at one revision: the graph, and the last entry of each node that is in it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from zlib import crc32

from scoop_core import Changes, CycleSearch, DependencyGraph, Tally, TranscriptError, decode_snapshot, encode_snapshot

from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.records import Pointer, encode_chunks

_DIGEST_MASK: Final = (1 << 64) - 1

UNLIMITED_VISITS: Final = 1 << 62
"""More than any search visits."""


class Replica:
    """A graph as it is after the entries up to ``revision``, applied in the order of their revisions."""

    def __init__(self, graph: DependencyGraph) -> None:
        self.graph = graph
        self.revision = 0
        """The revision of the last entry, a late duplicate included; 0 before the first."""
        self.sequences: dict[str, int] = {}
        """The last entry of each node. It belongs to the state: it distinguishes a late duplicate from a new entry."""
        self.digest = 0
        """The sum of a hash of each package with its dependencies in the order of their list, which snapshots keep."""
        self.on_changes: Callable[[Changes], None] = lambda _: None
        """Called with the changes of each entry."""

    @classmethod
    def load(cls, pointer: Pointer, data: bytes, *, reject_cycles: bool) -> "Replica":
        """Return the replica of a snapshot. Raises ReplicationError."""
        try:
            graph = decode_snapshot(data, reject_cycles=reject_cycles, trust_checksum=True)
        except TranscriptError as error:
            raise ReplicationError(
                f"cannot read the snapshot at revision {pointer.revision} in etcd: {error}; restore a backup of etcd"
            ) from None
        replica = cls(graph)
        replica.revision = pointer.revision
        replica.sequences = dict(pointer.sequences)
        replica.digest = pointer.digest
        return replica

    def snapshot(self, size_max: int) -> Iterator[bytes]:
        """Yield the chunks of a snapshot."""
        return encode_chunks(encode_snapshot(self.graph), size_max)

    def is_next(self, node: str, seq: int) -> bool:
        """Return whether the entry ``seq`` of ``node`` is to be applied; False for a late duplicate.

        An entry is put only after the one before it, so none can be missing. Raises ReplicationError if one is.
        """
        last = self.sequences.get(node, 0)
        if seq > last + 1:
            raise ReplicationError(
                f"cannot follow the entry log in etcd: entry {last + 1} of node {node} is missing before its entry"
                f" {seq}; restart this node"
            )
        return seq == last + 1

    def apply(self, node: str, seq: int, revision: int, lines: str) -> None:
        """Apply the next entry of ``node``, whose responses nobody needs."""
        EntryApplication(self, node, seq, revision, [lines]).advance()

    def note(self, node: str, seq: int, revision: int) -> None:
        """Note that the entry ``seq`` of ``node`` has been applied."""
        self.sequences[node] = seq
        self.revision = revision

    def update_digest(self, changes: Changes, reordered: Sequence[tuple[str, str, str]]) -> None:
        """Change the digest as ``changes`` and the ``reordered`` lists of the graph require."""
        digest = self.digest
        for line, previous in zip(changes.lines, changes.previous, strict=True):
            if line[0] == "R":
                digest -= _hash(f"INDEX{line[6:]}{previous}")
                continue
            digest += _hash(line)
            if previous is not None:
                digest -= _hash(f"{line[: line.rindex('|')]}|{previous}")
        for package, previous, listed in reordered:
            digest += _hash(f"INDEX|{package}|{listed}") - _hash(f"INDEX|{package}|{previous}")
        self.digest = digest & _DIGEST_MASK


class EntryApplication:
    """The application of the next entry of ``node``: at once, or in steps if a line needs a long search for a cycle.

    The digest and the revision of the replica change with the last step, so they always belong together.
    """

    def __init__(
        self, replica: Replica, node: str, seq: int, revision: int, texts: Sequence[str], tally: Tally | None = None
    ) -> None:
        self._replica = replica
        self._position = node, seq, revision
        self._texts = deque(texts)
        self._tally = tally
        self._changes = Changes()
        self._changes.reordered = self._reordered = list[tuple[str, str, str]]()
        self._search: CycleSearch | None = None
        """The search that the first line of the texts waits for."""
        self._answered = ""
        """The responses to the lines before it, of the same text."""
        self.answers: list[str] = []
        """The responses to each of the texts that have been applied."""
        self.is_complete = False

    def advance(self, visits: int = UNLIMITED_VISITS) -> int:
        """Apply until searches have visited about ``visits`` packages and dependencies; return how many they have."""
        graph, cost = self._replica.graph, 0
        if not graph.reject_cycles:
            self.answers = graph.apply_batches([*self._texts], self._changes, self._tally)
            self._texts.clear()
        while self._texts:
            if self._search is not None:
                before = self._search.cost
                result = self._search.step(visits - cost)
                cost += self._search.cost - before
                if result is None:
                    return cost
                self._search = None
            part = graph.apply_lines_within(visits - cost, self._texts[0], self._changes, self._tally)
            cost += part.cost
            self._answered += part.responses
            self._search = part.search
            if part.search is None:
                self.answers.append(self._answered)
                self._answered = ""
                self._texts.popleft()
            else:
                self._texts[0] = part.rest
                if cost >= visits:
                    return cost
        self._complete()
        return cost

    def _complete(self) -> None:
        self.is_complete = True
        self._replica.update_digest(self._changes, self._reordered)
        if self._changes.lines:
            self._replica.on_changes(self._changes)
        self._replica.note(*self._position)


def digest_of(graph: DependencyGraph) -> int:
    """Return the digest of a whole graph, which a replica updates with each change."""
    lists = graph.to_mapping().items()
    return sum(_hash(f"INDEX|{package}|{','.join(names)}") for package, names in lists) & _DIGEST_MASK


def _hash(line: str) -> int:
    """Return the hash of a package with its dependencies, which ``line`` indexes."""
    # Nodes of two versions compare it, so another hash needs other versions of the pointer and of the nodes' records.
    # A quarter of the time of a cryptographic hash. Squared, because CRC-32 is linear: plain sums would often be equal
    # if two packages had each other's dependencies.
    return crc32(line.encode()) ** 2
