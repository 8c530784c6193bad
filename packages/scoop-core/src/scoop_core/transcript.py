"""The codec of snapshots and journals: values to bytes and back.

Both are text that a person can read and search, and whose requests any package indexer accepts. A line that
begins with ``#`` is a note, not a request.

A **snapshot** is a whole graph::

    #scoop snapshot 1
    INDEX|gmp|
    INDEX|isl|gmp
    #dependents 1 0
    #end packages 2 lines 2 crc32 e260d6f2

- The header holds the version of the format.
- The lines are INDEX requests, each answered OK: a package comes after its dependencies. Of a cycle, some packages have
  two lines, as in :meth:`DependencyGraph.to_lines`.
- Each note holds, for up to 4,096 of these lines in order, the number of other packages that depend on the line's
  package: counting them would take most of a reader's time.
- The trailer holds the numbers of packages and of lines (more if there are cycles), and the checksum of all bytes
  before its own digits.

A **journal** holds the changes after a snapshot in batches::

    #scoop journal 2 generation 4 batch 16 time 1764668400000 after 5d1f00aa crc32 0af0f441
    #by CN=builder-a
    INDEX|cloog|isl
    REMOVE|make|
    #seal 17 lines 3 bytes 46 synced 16 time 1764668400123 after 0af0f441 crc32 faed04e6

- The header holds the generation, the number, the time and the checksum of the batch before the first one, and its own
  checksum.
- A batch is a list of requests, each of which changed the graph, and a seal. The seal holds the number of the batch,
  its lines and bytes, the number of the last batch known to be on disk when it was written (``synced``), its time, and
  the checksum of the previous seal, or of the header (``after``). Its last field is the checksum of the batch and of
  the seal itself, which starts at the checksum of the header.
- A time is in milliseconds since 1970, and never smaller than that of the batch before.
- A line ``#by`` holds the identity of the client that made the changes up to the next such line, or the end of the
  batch, in percent encoding: ASCII letters, digits and ``- . _ ~ @ : / * = + , %``. Changes before the first one are
  those of clients without a known identity.

So each batch can be verified alone, a batch of another journal is never mistaken for one of this, and the chain of all
batches reveals a missing, repeated or stale one. The ``synced`` of a later batch proves that a damaged one was on disk,
so it was not an interrupted write. A chain may start at any checksum, which distinguishes it from other chains.

Checksums are CRC-32 as ``zlib.crc32`` computes it, in eight hexadecimal digits.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, compress, islice
from operator import contains, mul
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import TranscriptError, UnsupportedFormat
from scoop_core.graph import DependencyGraph, trusted_graph
from scoop_core.graph_classes import Made
from scoop_core.graph_requests import dependent_counts_of, lists_in_order
from scoop_core.messages import ENCODING, Changes
from scoop_core.names import MAX_NAME_LENGTH, NAME_CHARACTERS

SNAPSHOT_VERSION: Final = 1
JOURNAL_VERSION: Final = 2

JOURNAL_HEADER_BYTES_MAX: Final = 200
"""Longer than the header of any journal, so these bytes are enough for :class:`JournalReader` to read it."""

_HEADER: Final = re.compile(rb"#scoop (snapshot|journal) ([0-9]{1,9})(?: .*)?\n")
_TRAILER: Final = re.compile(rb"#end packages ([0-9]{1,18}) lines ([0-9]{1,18}) crc32 ([0-9a-f]{8})\n")
_is_number: Final = re.compile(rb"[0-9]{1,18}").fullmatch

_LINES_PER_CHUNK: Final = 4_096
"""The lines of one chunk of a snapshot: about 200 kB, so that writing needs little memory beside the graph."""

_BYTES_PER_PIECE: Final = 1 << 18
"""The bytes of a snapshot that are decoded per step: few enough to stay in a cache of the processor."""

_LISTS_AT_ONCE: Final = 1_000
"""Lists whose names are checked together: few enough to stay in a cache of the processor."""

_NAME_CHARACTERS: Final = NAME_CHARACTERS.encode(ENCODING) + b","


def encode_snapshot(graph: DependencyGraph) -> Iterator[bytes]:
    r"""Yield the snapshot of ``graph`` in chunks of about 200 kB. The graph must not change meanwhile.

    >>> next(encode_snapshot(DependencyGraph()))
    b'#scoop snapshot 1\n'
    """
    checksum = lines = 0
    for count, chunk in _snapshot_chunks(graph):
        checksum = crc32(chunk, checksum)
        lines = count
        yield chunk
    trailer = b"#end packages %d lines %d crc32 " % (len(graph), lines)
    yield trailer + b"%08x\n" % crc32(trailer, checksum)


def _snapshot_chunks(graph: DependencyGraph) -> Iterator[tuple[int, bytes]]:
    """Yield the chunks before the trailer, each with the number of lines up to its end."""
    yield 0, b"#scoop snapshot %d\n" % SNAPSHOT_VERSION
    count = 0
    notes: list[bytes] = []
    lists = iter(lists_in_order(graph))
    while chunk := list(islice(lists, _LINES_PER_CHUNK)):
        count += len(chunk)
        dependents = " ".join(map(str, dependent_counts_of(graph, [package for package, _ in chunk])))
        notes.append(f"#dependents {dependents}\n".encode(ENCODING))
        lines = "\nINDEX|".join(map("|".join, chunk))
        yield count, f"INDEX|{lines}\n".encode(ENCODING)
    for note in notes:
        yield count, note


def decode_snapshot(
    data: bytes,
    *,
    reject_cycles: bool = False,
    trust_checksum: bool = False,
    graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
) -> Made:
    """Return the graph of the snapshot ``data``.

    Raises :exc:`UnsupportedFormat` for another version of the format, and :exc:`TranscriptError` if ``data`` is not
    exactly one snapshot. With ``trust_checksum``, for files that only this library writes, a right checksum is taken as
    proof that all names are packages, each once in a list and after its dependencies, and that the numbers of
    dependents are right: that takes some half of the time.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> decode_snapshot(b"".join(encode_snapshot(graph))) == graph
    True
    """
    start = _check_header(data, b"snapshot", SNAPSHOT_VERSION)
    end = data.rfind(b"#end packages ", start)
    trailer = _TRAILER.fullmatch(data, end) if end > 0 else None
    if trailer is None:
        raise TranscriptError(len(data), "the snapshot is truncated: its last line is not a trailer")
    computed = b"%08x" % crc32(memoryview(data)[: trailer.start(3)])
    if computed != trailer[3]:
        reason = f"checksum mismatch: expected {trailer[3].decode()}, got {computed.decode()}"
        raise TranscriptError(trailer.start(3), reason)
    packages, lines = int(trailer[1]), int(trailer[2])
    notes = data.find(b"#", start)
    numbers = _read_notes(data[notes:end], notes, lines)
    lists, counts = _read_lines(data, start, notes, numbers)
    if not trust_checksum and not _are_consistent(lists, counts):
        raise TranscriptError(start, "a list has a name that is no package or is repeated, or a note is wrong")
    # A package with a second line is on a cycle.
    late = set[str]() if trust_checksum and packages == lines else None
    graph = trusted_graph(graph_class, lists, counts, late, reject_cycles=reject_cycles)
    if len(graph) != packages:
        raise TranscriptError(end, f"expected {packages} packages, got {len(graph)}")
    return graph


def _check_header(data: bytes, kind: bytes, version: int) -> int:
    """Check that the first line is the header of a ``kind`` of this version; return its end."""
    header = _HEADER.match(data)
    if header is None or header[1] != kind:
        name = kind.decode()
        raise TranscriptError(0, f"not a {name}: the first line is not a header" if data else f"the {name} is empty")
    if int(header[2]) != version:
        raise UnsupportedFormat(
            0, f"the {kind.decode()} has format {int(header[2])}; this version reads format {version}"
        )
    return header.end()


def _read_lines(data: bytes, start: int, end: int, numbers: list[int]) -> tuple[dict[str, str], dict[str, int]]:
    """Return the list of each package of the INDEX lines between ``start`` and ``end``, and its number of dependents.

    A few passes in C over many lines; a piece at a time stays in a cache of the processor, in half of the time.
    """
    lists: dict[str, str] = {}
    counts: dict[str, int] = {}
    remaining = iter(numbers)
    position = start
    line_count = 0
    while position < end:
        cut = data.rfind(b"\n", position, position + _BYTES_PER_PIECE) + 1
        if not position < cut <= end:
            cut = end
        packages, listed = _read_piece(data[position:cut], start)
        for package, names, number in zip(packages, listed, remaining, strict=False):
            lists[package] = names
            counts[package] = number
        position = cut
        line_count += len(packages)
    if line_count != len(numbers):
        raise TranscriptError(start, f"expected {len(numbers)} lines, got {line_count}")
    return lists, counts


def _read_piece(data: bytes, offset: int) -> tuple[list[str], list[str]]:
    """Return the packages of complete lines, and their lists; ``offset`` is for the error."""
    separators = data.translate(None, _NAME_CHARACTERS)
    count = len(separators) // 3
    fields = data.decode(ENCODING).replace("\n", "|").split("|")
    packages = fields[1::3]
    lengths = set(map(len, packages))
    is_valid = (
        separators == b"||\n" * count
        and fields[::3].count("INDEX") == count
        and len(fields) == 3 * count + 1
        and not fields[-1]
        and min(lengths) > 0
        and max(lengths) <= MAX_NAME_LENGTH
        and "," not in "".join(packages)
    )
    if not is_valid:
        raise TranscriptError(offset, "a line is not INDEX|package|dependencies")
    return packages, fields[2::3]


def _are_consistent(lists: dict[str, str], counts: dict[str, int]) -> bool:
    """Return whether all names in ``lists`` are packages, each once per list, and listed as often as ``counts`` says.

    The number of names and the sum of their hashes must be what the counts give: to look up or count each name would
    take three times as long, and equal sums by chance are as unlikely as two texts with one hash of 64 bits.
    """
    own = [name for name in compress(lists, map(contains, lists.values(), lists)) if name in lists[name].split(",")]
    length = sum(counts.values()) + len(own)
    total: int = sum(map(mul, map(hash, counts), counts.values())) + sum(map(hash, own))
    texts = list(filter(None, lists.values()))
    for start in range(0, len(texts), _LISTS_AT_ONCE):
        some = [text.split(",") for text in texts[start : start + _LISTS_AT_ONCE]]
        names = list(chain.from_iterable(some))
        if sum(map(len, map(set, some))) < len(names):
            return False
        length -= len(names)  # an empty name would have the hash 0
        total -= sum(map(hash, names))
    return length == total == 0


def _read_notes(data: bytes, offset: int, count: int) -> list[int]:
    """Return the ``count`` numbers of the notes, which begin at ``offset`` of the file."""
    words = data.replace(b"#dependents", b"").split()
    if len(words) != count:
        raise TranscriptError(offset, f"expected {count} numbers of dependents, got {len(words)}")
    values = set(words)  # most numbers are repeated
    # Other white space is no part of a note.
    if data.translate(None, b"#dependents 0123456789\n") or not all(map(_is_number, values)):
        raise TranscriptError(offset, "a note is not a list of numbers")
    number_of = {word: int(word) for word in values}
    return list(map(number_of.__getitem__, words))


Authors: TypeAlias = Sequence[tuple[int, str]]
"""The identities of those who made the changes of a batch, each with the index of its first change, in order."""


class Seal(NamedTuple):
    """A position in a chain of batches: number and time of the last batch, and the checksum of the last seal or header.

    >>> NO_BATCH
    Seal(number=0, checksum=0, time=0)
    """

    number: int
    checksum: int
    time: int = 0
    """In milliseconds since 1970; 0 if there is no batch."""


NO_BATCH: Final = Seal(0, 0)
"""The start of a chain."""

_JOURNAL_HEADER: Final = re.compile(
    rb"#scoop journal [0-9]+ generation ([0-9]{1,18}) batch ([0-9]{1,18}) time ([0-9]{1,18})"
    rb" after ([0-9a-f]{8}) crc32 ([0-9a-f]{8})\n"
)
_SEAL: Final = re.compile(
    rb"#seal ([0-9]{1,18}) lines ([0-9]{1,18}) bytes ([0-9]{1,18}) synced ([0-9]{1,18})"
    rb" time ([0-9]{1,18}) after ([0-9a-f]{8}) crc32 ([0-9a-f]{8})\n"
)

_is_identity: Final = lru_cache(maxsize=1_024)(re.compile(r"[A-Za-z0-9._~@:/*=+,%-]+").fullmatch)
"""A few clients make most changes: to remember the last ones takes a third of the time of a match."""


def encode_journal_header(generation: int, after: Seal) -> tuple[bytes, Seal]:
    """Return the first line of a journal that continues the chain at ``after``, and the position after it.

    >>> header, seal = encode_journal_header(1, after=NO_BATCH)
    >>> print(header.decode(), end="")
    #scoop journal 2 generation 1 batch 0 time 0 after 00000000 crc32 2aea1716
    """
    header = b"#scoop journal %d generation %d batch %d time %d after %08x crc32 " % (
        JOURNAL_VERSION,
        generation,
        after.number,
        after.time,
        after.checksum,
    )
    checksum = crc32(header)
    return header + b"%08x\n" % checksum, Seal(after.number, checksum, after.time)


def encode_batch(
    lines: list[str], after: Seal, synced: int, journal: int, *, time: int = 0, authors: Authors = ()
) -> tuple[bytes, Seal]:
    """Return ``lines``, requests without newline, as the batch that follows ``after``, and its seal.

    ``synced`` is the number of the last batch known to be on disk, ``journal`` the checksum of the journal's header.
    ``time`` is in milliseconds since 1970; a clock that was set back does not set back the time of a batch.

    >>> encode_batch(["INDEX|gmp|"], after=NO_BATCH, synced=0, journal=0)[1].number
    1
    """
    if authors:
        lines = lines.copy()
        for start, identity in reversed(authors):
            lines.insert(start, f"#by {identity}")
    body = ("\n".join(lines) + "\n").encode(ENCODING)
    time = max(time, after.time)
    seal = b"#seal %d lines %d bytes %d synced %d time %d after %08x crc32 " % (
        after.number + 1,
        len(lines),
        len(body),
        synced,
        time,
        after.checksum,
    )
    checksum = crc32(seal, crc32(body, journal))
    return b"%s%s%08x\n" % (body, seal, checksum), Seal(after.number + 1, checksum, time)


@mypyc_attr(allow_interpreted_subclasses=True)
class JournalReader:
    r"""Reads a journal batch by batch.

    Iterating yields the text of each sealed batch. ``generation`` and ``after`` are those of the header; ``head`` is
    the position in the chain after the last batch that was yielded, ``sealed_bytes`` its end in the data, and
    ``synced`` the number of the last batch known to be on disk when it was written; ``authors`` are those of its
    changes. Bytes after it are an interrupted write, to be dropped. Zeros at the end are preallocated space, not data.

    Raises :exc:`UnsupportedFormat` for another version of the format, and :exc:`TranscriptError` for a damaged header,
    or one of another ``generation`` or that does not continue the chain at ``after``, where these are given; while
    iterating, also for a damaged batch that a later seal proves to have been on disk, and for an invalid identity.

    >>> header, start = encode_journal_header(1, after=NO_BATCH)
    >>> batch, _ = encode_batch(["INDEX|gmp|"], start, 0, start.checksum)
    >>> reader = JournalReader(header + batch + b"INDEX|isl|gm")
    >>> list(reader), reader.head.number, reader.unsealed_bytes
    (['INDEX|gmp|\n'], 1, 12)
    """

    def __init__(self, data: bytes, generation: int | None = None, after: Seal | None = None) -> None:
        end = _check_header(data, b"journal", JOURNAL_VERSION)
        header = _JOURNAL_HEADER.fullmatch(data, 0, end)
        if header is None or b"%08x" % crc32(data[: header.start(5)]) != header[5]:
            raise TranscriptError(0, "invalid journal header")
        self.generation: int = int(header[1])
        self.after: Seal = Seal(int(header[2]), int(header[4], 16), int(header[3]))
        if generation not in {None, self.generation}:
            raise TranscriptError(0, f"the header is that of generation {self.generation}")
        if after not in {None, self.after}:
            reason = f"it continues batch {self.after.number}, but the files before it end with {after.number}"
            raise TranscriptError(0, reason)
        self._checksum = int(header[5], 16)
        self.head: Seal = Seal(self.after.number, self._checksum, self.after.time)
        self.authors: Authors = ()
        self.sealed_bytes: int = end
        self.synced: int = self.after.number
        self._data = data
        self._end = len(data.rstrip(b"\0"))

    def __iter__(self) -> Iterator[str]:
        while (end := self._find_seal()) is not None:
            text = self._data[self.sealed_bytes : end.start()].decode(ENCODING)
            self.authors = ()
            if "#" in text:
                text = self._without_notes(text)
            self.head = Seal(self.head.number + 1, int(end[7], 16), int(end[5]))
            self.sealed_bytes = end.end()
            self.synced = int(end[4])
            yield text
        self._check_tail()

    def _without_notes(self, body: str) -> str:
        """Return the requests of a batch, and take its notes as their authors."""
        requests, *noted = body.split("#by ")
        count = requests.count("\n")
        authors: list[tuple[int, str]] = []
        for part in noted:
            identity, newline, text = part.partition("\n")
            if not (newline and _is_identity(identity)) or (requests and requests[-1] != "\n"):
                reason = f"batch {self.head.number + 1} has an invalid note: expected #by and an identity, as a line"
                raise TranscriptError(self.sealed_bytes, reason)
            authors.append((count, identity))
            requests += text
            count += text.count("\n")
        self.authors = tuple(authors)
        return requests

    def apply_to(self, graph: DependencyGraph) -> int:
        r"""Apply the remaining batches to ``graph``, and return how many there were.

        Raises TranscriptError if a request changes nothing: then the journal is that of another graph.

        >>> header, start = encode_journal_header(1, after=NO_BATCH)
        >>> batch, _ = encode_batch(["INDEX|gmp|"], start, 0, start.checksum)
        >>> JournalReader(header + batch).apply_to(DependencyGraph())
        1
        """
        first, start, changes = self.head.number, self.sealed_bytes, Changes()
        for text in self:
            graph.apply_lines(text, changes)
            if len(changes) != text.count("\n"):
                raise TranscriptError(start, f"batch {self.head.number} holds a request that changes nothing")
            changes.clear()
            start = self.sealed_bytes
        return self.head.number - first

    @property
    def sealed(self) -> bytes:
        """The journal up to the end of the last batch that was yielded.

        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> JournalReader(header + b"INDEX|is").sealed == header
        True
        """
        return self._data[: self.sealed_bytes]

    @property
    def unsealed_bytes(self) -> int:
        r"""The number of bytes after the last batch that was yielded, without zeros at the end.

        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> JournalReader(header + b"INDEX|is\0\0\0").unsealed_bytes
        8
        """
        return self._end - self.sealed_bytes

    def _find_seal(self) -> re.Match[bytes] | None:
        """Return the seal of the next batch; None if that is incomplete, damaged or not the next of the chain."""
        data, start = self._data, self.sealed_bytes
        # Neither a request nor an identity contains "#". Where there is none, the search ends at the header.
        seal = _SEAL.match(data, data.find(b"#seal ", start))
        if (
            seal is None
            or int(seal[1]) != self.head.number + 1
            or int(seal[6], 16) != self.head.checksum
            or int(seal[2]) != data.count(b"\n", start, seal.start())
            or int(seal[3]) != seal.start() - start
            or not _is_intact(data, seal, self._checksum)
        ):
            return None
        return seal

    @property
    def later_batch(self) -> int | None:
        """The number of an intact batch behind the one that ended the iteration, or None.

        It proves that the damaged batch was not known to be on disk when the later one was written. Without it, nothing
        distinguishes an interrupted write from a file that was cut short.

        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> JournalReader(header + b"INDEX|is").later_batch
        """
        return next((int(seal[1]) for seal in self._seals_in_tail()), None)

    @property
    def unsealed_reason(self) -> str:
        """The evidence of the seals: whether the batch at the start of the tail is known not to have been on disk.

        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> JournalReader(header + b"INDEX|is").unsealed_reason[:44]
        'batch 1 was interrupted while it was written'
        """
        batch = f"batch {self.head.number + 1}"
        if self.later_batch is not None:
            return f"{batch} is damaged, and the seal of batch {self.later_batch} proves that it was not synced"
        return f"{batch} was interrupted while it was written, or the file was cut short since; no seal tells which"

    def _seals_in_tail(self) -> Iterator[re.Match[bytes]]:
        start = self.sealed_bytes
        for seal in _SEAL.finditer(self._data, start):
            if seal.start() - int(seal[3]) >= start and _is_intact(self._data, seal, self._checksum):
                yield seal

    def _check_tail(self) -> None:
        """Raise TranscriptError if a later seal proves that the batch after the last one was on disk."""
        number, start = self.head.number + 1, self.sealed_bytes
        for seal in self._seals_in_tail():
            if int(seal[4]) >= number:
                reason = f"batch {number} is damaged: the seal of batch {int(seal[1])} proves that it was on disk"
                raise TranscriptError(start, reason)


def _is_intact(data: bytes, seal: re.Match[bytes], journal: int) -> bool:
    """Return whether the checksum of ``seal`` matches it, the bytes of its batch, and the journal."""
    start = seal.start() - int(seal[3])
    return crc32(data[start : seal.start(7)], journal) == int(seal[7], 16)
