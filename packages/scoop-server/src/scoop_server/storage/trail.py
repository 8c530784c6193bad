"""The trail: every change that the files of a data directory hold, oldest first, and the index at any moment.

It reads a data directory with its ``history/``, beside its server too, or a directory of archived files. Nothing here
writes. The trail is complete, because the journals that make changes durable are the trail.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple, Self

from scoop_core import (
    NO_BATCH,
    Changes,
    DependencyGraph,
    JournalReader,
    LoggedBatch,
    Moment,
    Seal,
    TranscriptError,
    decode_snapshot,
    format_time,
)

from scoop_server.errors import DataDirectoryError, HistoryGoneError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OPERATING_SYSTEM, FileSystem, way_out
from scoop_server.storage.history import HEADER_BYTES_MAX, NAME

BEGINNING: Final = Moment()
END: Final = Moment(time=1 << 62)
"""After all batches that there are."""


class Position(NamedTuple):
    """The end of a batch in a journal, from which reading can go on."""

    seal: Seal
    generation: int
    offset: int


_NOWHERE: Final = Position(NO_BATCH, 0, 0)


class Trail:
    """The trail in the directory ``path``, until :meth:`close`. Raises :exc:`DataDirectoryError` if it has none."""

    def __init__(self, path: str, files: FileSystem = OPERATING_SYSTEM) -> None:
        self.path = path
        self._reading: tuple[JournalReader, int, int] | None = None
        """The reader of :meth:`batches`, its generation, and where its bytes are in the journal."""
        self._resources = ExitStack()
        self._files = files
        self._directories = [self._open(path)]

    def _open(self, path: str, parent: int | None = None) -> DataDirectory:
        try:
            name = path if parent is None else NAME
            descriptor = self._files.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
            return self._resources.enter_context(DataDirectory(path, self._files, descriptor=descriptor))
        except OSError as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Close the directories."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The files

    def _generations(self, kind: str) -> list[int]:
        parent = self._directories[0].descriptor
        if len(self._directories) == 1 and self._files.exists(NAME, dir_fd=parent):  # the server may have just made it
            self._directories.append(self._open(os.path.join(self.path, NAME), parent))
        try:
            return sorted({number for each in self._directories for number in each.generations(kind)})
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self, kind: str, generation: int, length: int | None = None, start: int = 0, sync: bool = False) -> bytes:
        """Return the bytes of a file. A server may move it from one directory to the other meanwhile."""
        for directory in (*self._directories, *self._directories):
            try:
                return directory.read(kind, generation, length, start, sync)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._unreadable(error) from error
        raise DataDirectoryError(f"{os.path.join(self.path, kind)}-{generation} is missing; restore it from an archive")

    def _unreadable(self, error: OSError) -> DataDirectoryError:
        advice = way_out(error, self.path, "name a data directory, or one of archived files")
        return DataDirectoryError(f"cannot read {error.filename or self.path}: {error.strerror}; {advice}")

    def _damaged(self, kind: str, generation: int, error: TranscriptError) -> DataDirectoryError:
        file = f"{os.path.join(self.path, kind)}-{generation}"
        return DataDirectoryError(f"cannot read {file}: {error}; restore it from an archive")

    def _header(self, generation: int) -> tuple[bytes, Seal]:
        """Return the header of a journal, and the seal before its first batch."""
        header = self._read("journal", generation, HEADER_BYTES_MAX)
        header = header[: header.find(b"\n") + 1]
        try:
            return header, JournalReader(header).after
        except TranscriptError as error:
            raise self._damaged("journal", generation, error) from error

    # Batches

    def batches(
        self, since: Moment = BEGINNING, *, first: int = 0, after: Position | None = None
    ) -> Iterator[LoggedBatch]:
        """Yield the batches after the batch or from the time of ``since``, in order, of the journals from ``first`` on.

        With ``after``, a former :attr:`position`, those behind it. What is yielded is on disk.
        Raises :exc:`HistoryGoneError` if some of them are missing, :exc:`DataDirectoryError` if they cannot be read.
        """
        head, self._reading = None, None
        if after is not None:
            head, since, first = after.seal, Moment(batch=after.seal.number), after.generation
        journals = [number for number in self._generations("journal") if number >= first]
        for generation, following in zip(journals, [*journals[1:], None], strict=False):  # there may be none
            header, start = self._header(generation)
            own = after if after is not None and after.generation == generation else None
            if own is None:
                self._check_start(start, head, since)
                if following is not None and since.is_after(end := self._header(following)[1]):
                    head = end  # all of its batches are too early
                    continue
            try:
                own = own or Position(JournalReader(header).head, generation, len(header))
                reader = self._rest(header, own, sync=following is None)
                self._reading = reader, generation, own.offset - len(header)
                for lines in reader:
                    if since is BEGINNING or not since.is_after(reader.head):
                        yield LoggedBatch(lines, reader.head, reader.authors)
            except TranscriptError as error:
                raise self._damaged("journal", generation, error) from error
            head = reader.head
        if since.batch is not None and (self.position or _NOWHERE).seal.number < since.batch:
            raise self._gone(f"ends before batch {since.batch}; name an earlier one")

    @property
    def position(self) -> Position | None:
        """The position after the last batch that :meth:`batches` has read, or passed over; None before the first."""
        if self._reading is None:
            return None
        reader, generation, offset = self._reading
        return Position(reader.head, generation, offset + reader.sealed_bytes)

    def _rest(self, header: bytes, position: Position, *, sync: bool) -> JournalReader:
        """Return the reader of what follows ``position`` in its journal."""
        end = b"%08x\n" % position.seal.checksum
        data = self._read("journal", position.generation, start=position.offset - len(end), sync=sync)
        if not data.startswith(end):
            raise self._gone(f"has another batch {position.seal.number} now; begin again")
        reader = JournalReader(header + data[len(end) :], position.generation)
        reader.head = position.seal
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

    def _gone(self, reason: str) -> HistoryGoneError:
        return HistoryGoneError(f"the history in {self.path} {reason}")

    # The index

    def graph_at(self, moment: Moment) -> DependencyGraph:
        """Return the index as it was at ``moment``.

        Raises :exc:`DataDirectoryError` if the moment is before the oldest state, in a gap, or not reached yet.
        """
        # A power failure can bring back a snapshot whose journals the history no longer has.
        starts = sorted({*self._generations("snapshot")}.intersection(self._generations("journal")))
        bases = [(number, self._header(number)[1]) for number in starts]
        if not bases:
            raise DataDirectoryError(
                f"cannot read {self.path}: it holds no snapshot with its journal; name a data directory, or an archive"
            )
        usable = [(number, start) for number, start in bases if moment.includes(start)]
        if not usable:
            oldest = f"batch {bases[0][1].number} at {format_time(bases[0][1].time)}"
            raise DataDirectoryError(
                f"cannot rebuild the index at {moment}: that is before the oldest state in {self.path}, {oldest}; "
                "restore older files from an archive"
            )
        base, last = usable[-1]
        try:
            graph = decode_snapshot(self._read("snapshot", base), trust_checksum=True)
        except TranscriptError as error:
            raise self._damaged("snapshot", base, error) from error
        changes = Changes()
        for batch in self.batches(first=base):
            if not moment.includes(batch.seal):
                if not last.number and moment.time is not None:  # an empty index would hide a mistyped time
                    raise DataDirectoryError(
                        f"cannot rebuild the index at {moment}: that is before the first batch in {self.path}, of "
                        f"{format_time(batch.seal.time)}; name a later time, or batch 0"
                    )
                return graph
            graph.apply_lines(batch.lines, changes)
            if len(changes) != batch.lines.count("\n"):
                reason = f"batch {batch.seal.number} holds a request that changes nothing"
                raise DataDirectoryError(f"cannot rebuild the index at {moment}: {reason}; restore from an archive")
            changes.clear()
            last = batch.seal
        if moment.batch is not None and last.number < moment.batch:
            raise DataDirectoryError(
                f"cannot rebuild the index at {moment}: the last one in {self.path} is {last.number}; name that"
            )
        return graph


def graph_at(path: str, moment: Moment) -> DependencyGraph:
    """Return the index of a data directory, or of a directory of archived files, as it was at ``moment``.

    Raises :exc:`DataDirectoryError` if the moment is before the oldest state, in a gap, or not reached yet.
    """
    with Trail(path) as trail:
        return trail.graph_at(moment)
