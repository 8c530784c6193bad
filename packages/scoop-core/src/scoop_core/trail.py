"""The trail: every change that the files of an index hold, oldest first, and the index at their end or at any moment.

The trail is complete, because the journals that make changes durable are the trail. Nothing here writes.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from scoop_core.errors import HistoryError, HistoryGone, TranscriptError, UnreadableFile
from scoop_core.graph import DependencyGraph
from scoop_core.logged import BEGINNING, LoggedBatch, Moment, format_time
from scoop_core.messages import Changes
from scoop_core.transcript import JOURNAL_HEADER_BYTES_MAX, JournalReader, Seal, decode_snapshot, encode_snapshot

_FILE: Final = re.compile(r"(snapshot|journal)-([1-9][0-9]{0,17})")

_EMPTY_SNAPSHOT: Final = b"".join(encode_snapshot(DependencyGraph()))


class TrailFiles(Protocol):
    """The port through which a :class:`Trail` reads: the files of a data directory, wherever they are kept.

    ``kind`` is ``"snapshot"`` or ``"journal"``. Other errors than FileNotFoundError reach the caller of the trail.

    >>> files: TrailFiles = ArchivedFiles({"journal-1": b"...", "journal-2": b"..."})
    """

    @property
    def name(self) -> str:
        """The place of the files, for messages.

        >>> ArchivedFiles({}, "backup.tar").name
        'backup.tar'
        """

    def generations(self, kind: str) -> list[int]:
        """Return the generations of which there is a file, in order.

        >>> ArchivedFiles({"journal-1": b"...", "journal-2": b"..."}).generations("journal")
        [1, 2]
        """

    def read(
        self, kind: str, generation: int, *, start: int = 0, length: int | None = None, sync: bool = False
    ) -> bytes:
        """Return the bytes of a file from ``start`` on, or its first ``length``. Raises FileNotFoundError.

        With ``sync``, a server may be writing the file: wait until what is returned is on disk.

        >>> ArchivedFiles({"journal-1": b"#scoop journal"}).read("journal", 1, length=6)
        b'#scoop'
        """


class ArchivedFiles:
    """The files in a mapping of names to bytes, such as those of a tar file or an object store.

    Names are those of a data directory and of its ``history/``, without the directory; others are left out.

    >>> ArchivedFiles({"snapshot-4": b"...", "lock": b""}).generations("snapshot")
    [4]
    """

    def __init__(self, files: Mapping[str, bytes], name: str = "archive") -> None:
        self.name = name
        self._files = files

    def generations(self, kind: str) -> list[int]:
        """Return the generations of which there is a file, in order.

        >>> ArchivedFiles({"journal-10": b"", "journal-9": b""}).generations("journal")
        [9, 10]
        """
        found = map(_FILE.fullmatch, self._files)
        return sorted(int(match[2]) for match in found if match and match[1] == kind)

    def read(
        self, kind: str, generation: int, *, start: int = 0, length: int | None = None, sync: bool = False
    ) -> bytes:
        """Return the bytes of a file from ``start`` on, or its first ``length``. Raises FileNotFoundError.

        >>> ArchivedFiles({"journal-1": b"#scoop journal"}).read("journal", 1, start=7)
        b'journal'
        """
        del sync  # they no longer change
        try:
            return self._files[f"{kind}-{generation}"][start:][:length]
        except KeyError:
            raise FileNotFoundError from None


class Position(NamedTuple):
    """The end of a batch in a journal, from which reading can go on.

    >>> Position(Seal(7, 0), generation=1, offset=560).seal.number
    7
    """

    seal: Seal
    generation: int
    offset: int


class RecoveredState(NamedTuple):
    """The state that files lead to, and what a server needs to continue from it.

    >>> RecoveredState._fields[:4]
    ('graph', 'snapshot_generation', 'snapshot_bytes', 'journal')
    """

    graph: DependencyGraph
    snapshot_generation: int
    snapshot_bytes: int
    journal: JournalReader
    """The last journal, read to its end. What is not sealed there is dropped."""
    batches: int
    """The number of batches after the snapshot."""
    journal_bytes: int
    """The size of all journals after the snapshot, up to the last seal."""


class Trail:
    r"""Reads the history in ``files``.

    >>> from scoop_core import NO_BATCH, encode_batch, encode_journal_header, encode_snapshot
    >>> header, start = encode_journal_header(1, after=NO_BATCH)
    >>> batch, _ = encode_batch(["INDEX|gmp|"], start, 0, start.checksum)
    >>> snapshot = b"".join(encode_snapshot(DependencyGraph()))
    >>> trail = Trail(ArchivedFiles({"snapshot-1": snapshot, "journal-1": header + batch}))
    >>> [batch.lines for batch in trail.batches()], sorted(trail.graph_at(Moment(batch=1)))
    (['INDEX|gmp|\n'], ['gmp'])
    """

    def __init__(self, files: TrailFiles) -> None:
        self._files = files
        self._reading: tuple[JournalReader, int] | None = None
        """The reader of :meth:`batches`, and where its bytes are in the journal."""

    def batches(self, since: Moment = BEGINNING, *, after: Position | None = None) -> Iterator[LoggedBatch]:
        """Yield the batches after the number, or from the time, of ``since``, in order; what is yielded is on disk.

        With ``after``, a former :attr:`position`, those behind it.
        Raises :exc:`HistoryGone` if some of them are missing, :exc:`HistoryError` if they cannot be read.

        >>> list(Trail(ArchivedFiles({})).batches())
        []
        """
        head, first, takes_all, self._reading = None, 0, since == BEGINNING, None
        if after is not None:
            head, since, first, takes_all = after.seal, Moment(batch=after.seal.number), after.generation, True
        journals = [number for number in self._files.generations("journal") if number >= first]
        for generation, following in zip(journals, [*journals[1:], None], strict=False):  # there may be none
            header = self._header(generation)
            start = after if after is not None and after.generation == generation else None
            if start is None:
                self._check_start(header.after, head, since)
                if following is not None and since.is_after(end := self._header(following).after):
                    head = end  # all of its batches are too early
                    continue
            with self._naming("journal", generation):
                reader = self._reader(header, start or _start_of(header), sync=following is None)
                for lines in reader:
                    if takes_all or not since.is_after(reader.head):
                        yield LoggedBatch(lines, reader.head, reader.authors)
            head = reader.head
        last = 0 if self.position is None else self.position.seal.number
        if since.batch is not None and last < since.batch:
            raise self._gone(f"ends before batch {since.batch}; name an earlier one")

    @property
    def position(self) -> Position | None:
        """The position after the last batch that :meth:`batches` has read, or passed over; None before the first.

        >>> Trail(ArchivedFiles({})).position
        """
        if self._reading is None:
            return None
        reader, offset = self._reading
        return Position(reader.head, reader.generation, offset + reader.sealed_bytes)

    def graph_at(self, moment: Moment) -> DependencyGraph:
        """Return the index as it was at ``moment``.

        Raises :exc:`HistoryError` if that is before the oldest state, in a gap, or not reached yet.

        >>> from scoop_core import END, NO_BATCH, encode_journal_header, encode_snapshot
        >>> graph = DependencyGraph.from_mapping({"gmp": ()})
        >>> header, _ = encode_journal_header(2, after=NO_BATCH)
        >>> files = {"snapshot-2": b"".join(encode_snapshot(graph)), "journal-2": header}
        >>> Trail(ArchivedFiles(files)).graph_at(END) == graph
        True
        """
        # A power failure can bring back a snapshot whose journals the history no longer has.
        starts = sorted({*self._files.generations("snapshot")}.intersection(self._files.generations("journal")))
        bases = [self._header(number) for number in starts]
        if not bases:
            raise HistoryError(
                f"cannot read {self._files.name}: it holds no snapshot with its journal; name a data directory, or an "
                "archive"
            )
        usable = [base for base in bases if moment.includes(base.after)]
        if not usable:
            oldest = bases[0].after
            raise self._unreachable(
                moment,
                f"that is before the oldest state in {self._files.name}, batch {oldest.number} at "
                f"{format_time(oldest.time)}; restore older files from an archive",
            )
        base, changes = usable[-1], Changes()
        last = base.after
        graph, _ = self._snapshot(base.generation)
        for batch in self.batches(after=_start_of(base)):
            if not moment.includes(batch.seal):
                if not last.number and moment.time is not None:  # an empty index would hide a mistyped time
                    raise self._unreachable(
                        moment,
                        f"that is before the first batch in {self._files.name}, of {format_time(batch.seal.time)}; "
                        "name a later time, or batch 0",
                    )
                return graph
            graph.apply_lines(batch.lines, changes)
            if len(changes) != batch.lines.count("\n"):
                reason = f"batch {batch.seal.number} holds a request that changes nothing; restore from an archive"
                raise self._unreachable(moment, reason)
            changes.clear()
            last = batch.seal
        if moment.batch is not None and last.number < moment.batch:
            raise self._unreachable(moment, f"the last one in {self._files.name} is {last.number}; name that")
        return graph

    # The state at the end

    def recover(self) -> RecoveredState | None:
        """Return the state that a server starts with; None if nothing was ever stored.

        The journals must continue the newest snapshot without a gap, and every request in them must change something;
        so files that do not belong together are detected. Only the last journal may end within a batch. Raises
        :exc:`UnreadableFile`. A right checksum of a snapshot is trusted: see :func:`decode_snapshot`.

        >>> from scoop_core import NO_BATCH, encode_journal_header, encode_snapshot
        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> files = {"snapshot-1": b"".join(encode_snapshot(DependencyGraph())), "journal-1": header + b"INDEX|gm"}
        >>> state = Trail(ArchivedFiles(files)).recover()
        >>> state.graph, state.batches, state.journal.unsealed_bytes
        (<DependencyGraph: 0 packages>, 0, 8)
        """
        snapshots, journals = self._files.generations("snapshot"), self._files.generations("journal")
        if not snapshots and not journals:
            return None
        if not snapshots:
            raise self._missing("snapshot", journals[0])
        # A new directory gets its snapshot first: an empty one without a journal is an interrupted creation.
        if snapshots == [1] and not journals and self._read("snapshot", 1) == _EMPTY_SNAPSHOT:
            return None
        # The journal of the newest snapshot is always there.
        return self._replay(snapshots[-1], max(snapshots[-1:] + journals), may_break_off=True)

    def recover_before(self, generation: int) -> RecoveredState:
        """Return what the files of the generations before ``generation`` lead to, which a server no longer changes.

        As :meth:`recover`, but there must be a snapshot, and no journal may end within a batch.

        >>> from scoop_core import NO_BATCH, encode_journal_header, encode_snapshot
        >>> header, _ = encode_journal_header(1, after=NO_BATCH)
        >>> files = {"snapshot-1": b"".join(encode_snapshot(DependencyGraph())), "journal-1": header, "journal-2": b""}
        >>> Trail(ArchivedFiles(files)).recover_before(2).journal.generation
        1
        """
        snapshots = [number for number in self._files.generations("snapshot") if number < generation]
        if not snapshots:
            raise self._missing("snapshot", min(self._files.generations("journal"), default=generation - 1))
        return self._replay(snapshots[-1], generation - 1, may_break_off=False)

    def _replay(self, first: int, last: int, *, may_break_off: bool) -> RecoveredState:
        """Return what snapshot ``first`` and the journals up to ``last`` lead to; only the last may break off."""
        graph, snapshot_bytes = self._snapshot(first)
        journal: JournalReader | None = None
        batches = size = 0
        for generation in range(first, last + 1):
            with self._naming("journal", generation):
                head = None if journal is None else journal.head  # a snapshot does not have the seal that follows it
                journal = JournalReader(self._read("journal", generation), generation, head)
                batches += journal.apply_to(graph)
                # A server syncs a journal before it creates the next one.
                if journal.unsealed_bytes and not (may_break_off and generation == last):
                    raise TranscriptError(journal.sealed_bytes, "a batch is damaged, and another journal follows")
            size += journal.sealed_bytes
        assert journal is not None  # noqa: S101  # there is always one: ``last`` is not below ``first``
        return RecoveredState(graph, first, snapshot_bytes, journal, batches, size)

    # The files

    def _read(
        self, kind: str, generation: int, *, start: int = 0, length: int | None = None, sync: bool = False
    ) -> bytes:
        try:
            return self._files.read(kind, generation, start=start, length=length, sync=sync)
        except FileNotFoundError as error:
            raise self._missing(kind, generation) from error

    def _snapshot(self, generation: int) -> tuple[DependencyGraph, int]:
        """Return the graph of a snapshot, and its size in bytes."""
        with self._naming("snapshot", generation):
            data = self._read("snapshot", generation)
            return decode_snapshot(data, trust_checksum=True), len(data)  # in half of the time

    def _header(self, generation: int) -> JournalReader:
        """Return a reader of the header of a journal."""
        with self._naming("journal", generation):
            return JournalReader(self._read("journal", generation, length=JOURNAL_HEADER_BYTES_MAX), generation)

    def _reader(self, header: JournalReader, start: Position, *, sync: bool) -> JournalReader:
        """Return the reader of what follows ``start`` in its journal; :attr:`position` is that of its head."""
        end = b"%08x\n" % start.seal.checksum
        data = self._read("journal", start.generation, start=start.offset - len(end), sync=sync)
        if not data.startswith(end):
            raise self._gone(f"has another batch {start.seal.number} now; begin again")
        reader = JournalReader(header.sealed + data[len(end) :])
        reader.head = start.seal
        self._reading = reader, start.offset - header.sealed_bytes
        return reader

    def _check_start(self, start: Seal, head: Seal | None, since: Moment) -> None:
        """Check that a journal continues the one before it, or begins early enough if it is the first."""
        begin = f"batch {start.number} ({format_time(start.time)})"
        if head is None and since.batch is not None and since.batch < start.number:
            raise self._gone(f"begins after {begin}; restore older files from an archive")
        if head is not None and start != head:
            raise self._gone(
                f"has a gap after batch {head.number} ({format_time(head.time)}) and up to {begin}; "
                "restore the missing files from an archive"
            )

    # The errors

    def _path(self, kind: str, generation: int) -> str:
        return f"{self._files.name.rstrip('/')}/{kind}-{generation}"

    def _missing(self, kind: str, generation: int) -> UnreadableFile:
        return UnreadableFile(kind, generation, f"{self._path(kind, generation)} is missing")

    @contextmanager
    def _naming(self, kind: str, generation: int) -> Iterator[None]:
        """Raise an error in the contents of a file as UnreadableFile."""
        try:
            yield
        except TranscriptError as error:
            problem = f"cannot read {self._path(kind, generation)}: {error}"
            raise UnreadableFile(kind, generation, problem) from error

    def _gone(self, reason: str) -> HistoryGone:
        return HistoryGone(f"the history in {self._files.name} {reason}")

    def _unreachable(self, moment: Moment, reason: str) -> HistoryError:
        return HistoryError(f"cannot rebuild the index at {moment}: {reason}")


def _start_of(header: JournalReader) -> Position:
    """Return the position before the first batch of a journal."""
    return Position(header.head, header.generation, header.sealed_bytes)
