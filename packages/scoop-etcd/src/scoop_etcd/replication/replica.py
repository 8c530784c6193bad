"""The state that is equal on all nodes at one revision: the graph, and the last entry of each node that is in it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from scoop_core import Changes, DependencyGraph, Tally, TranscriptError, decode_snapshot, encode_snapshot

from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.records import Config, Pointer, encode_chunks

_DIGEST_MASK: Final = (1 << 64) - 1


class Applied(NamedTuple):
    """The result of an entry."""

    answers: list[str]
    """The responses to each of its texts, up to the first with a line that was not applied."""
    rest: str
    """The lines of that text that were not applied; empty if all of the entry was."""
    visits: int
    """The packages and dependencies that the searches for cycles have visited."""
    changes: list[str]
    """The lines that have changed the graph."""


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
    def empty(cls, config: Config) -> "Replica":
        """Return the replica before the first entry."""
        graph = DependencyGraph.empty(reject_cycles=config.reject_cycles)
        graph.search_limit = config.search_limit
        return cls(graph)

    @classmethod
    def load(cls, pointer: Pointer, data: bytes, config: Config) -> "Replica":
        """Return the replica of a snapshot. Raises ReplicationError."""
        try:
            graph = decode_snapshot(data, reject_cycles=config.reject_cycles, trust_checksum=True)
        except TranscriptError as error:
            raise ReplicationError(
                f"cannot read the snapshot at revision {pointer.revision} in etcd: {error}; restore a backup of etcd"
            ) from None
        graph.search_limit = config.search_limit
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

    def apply(
        self, node: str, seq: int, revision: int, texts: Sequence[str], tally: Tally | None = None, visits: int = 0
    ) -> "Applied":
        """Apply the next entry of ``node``, which consists of ``texts``; or its rest, after ``visits`` of its searches.

        If the graph rejects cycles, it is applied up to the line whose search for a cycle would exceed the limit that
        all searches of the entry share; no node applies the lines from there on. The first search alone always gets the
        whole limit, so an entry that begins with such a line answers it.
        """
        changes = Changes()
        changes.reordered = reordered = list[tuple[str, str, str]]()
        rest = ""
        limit = self.graph.search_limit if self.graph.reject_cycles else None
        if limit is None:
            answers = self.graph.apply_batches(texts, changes, tally)
        else:
            answers = []
            for text in texts:
                part = self.graph.apply_lines_within(limit - visits, text, changes, tally)
                visits, rest = visits + part.cost, part.rest
                answers.append(part.responses)
                if rest:
                    break
        self.update_digest(changes, reordered)
        if changes.lines:
            self.on_changes(changes)
        self.note(node, seq, revision)
        return Applied(answers, rest, visits, changes.lines)

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
