"""The history of a data directory: files that a snapshot has superseded, kept in ``history/`` instead of deleted.

A file gets there by a rename and never changes again, so any tool can archive it. All journals are kept, and a snapshot
once the journals since the one before are as large as it is, so that the index of any moment can be rebuilt at the cost
of a start. A snapshot and the journals up to the next one are a segment. Segments are deleted as a whole, oldest first.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scoop_core import JOURNAL_HEADER_BYTES_MAX, JournalReader, TranscriptError, format_time

from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import named
from scoop_server.telemetry.logs import log

NAME: Final = "history"


@dataclass(frozen=True, slots=True)
class Retention:
    """The age in seconds and the size in bytes that the history may have; without an age, nothing is kept."""

    seconds: float = 0.0
    bytes_max: int = 0
    """0: as much as the disk has room for."""


NO_HISTORY: Final = Retention()


class History:
    """Keeps the files that ``directory`` no longer needs. ``wall_clock`` returns milliseconds since 1970.

    Its methods raise OSError, or :exc:`~scoop_server.errors.ReadOnlyError` if the directory is no longer the one that
    was locked.
    """

    def __init__(self, directory: DataDirectory, retention: Retention, wall_clock: Callable[[], int]) -> None:
        self._directory = directory
        self._retention = retention
        self._wall_clock = wall_clock
        self._archive: DataDirectory | None = None

    def supersede(self, generation: int) -> None:
        """Keep or delete the files that the durable snapshot ``generation`` makes superfluous."""
        if not self._retention.seconds:
            self._directory.delete_before(generation)
            return
        archive = self._opened()
        for number in sorted({*self._directory.generations("snapshot"), *self._directory.generations("journal")}):
            if number >= generation:
                break
            if self._directory.holds("snapshot", number) and self._is_worth_keeping(archive, number):
                self._move(f"snapshot-{number}", archive)
            if self._directory.holds("journal", number):
                self._move(f"journal-{number}", archive)
        archive.sync()  # before anything is deleted
        self._directory.delete_before(generation)
        self._prune(archive)

    def _is_worth_keeping(self, archive: DataDirectory, number: int) -> bool:
        kept = archive.generations("snapshot")
        if not kept:
            return True
        journals = [each for each in archive.generations("journal") if each >= kept[-1]]
        return sum(archive.size("journal", each) for each in journals) >= self._directory.size("snapshot", number)

    def give_up(self) -> bool:
        """Delete the oldest segment, because the disk is full; return whether there was one."""
        with contextlib.suppress(OSError):
            if self._retention.seconds and (segments := self._segments(self._opened())):
                log.warning(
                    "the disk of %(directory)s is full: gave up its history up to %(time)s",
                    {"directory": self._directory.path, "time": format_time(segments[0].ends_at)},
                )
                self._delete(self._opened(), segments[0])
                return True
        return False

    def close(self) -> None:
        """Close the directory."""
        if self._archive is not None:
            self._archive.close()

    def _opened(self) -> DataDirectory:
        if self._archive is None:
            files, parent = self._directory.files, self._directory.descriptor
            with contextlib.suppress(FileExistsError):
                files.mkdir(NAME, 0o700, dir_fd=parent)
                self._directory.sync()
            descriptor = files.open(NAME, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            self._archive = DataDirectory(os.path.join(self._directory.path, NAME), files, descriptor=descriptor)
        return self._archive

    def _move(self, name: str, archive: DataDirectory) -> None:
        self._directory.verify()
        with named(os.path.join(self._directory.path, name)):
            self._directory.files.rename(
                name, name, src_dir_fd=self._directory.descriptor, dst_dir_fd=archive.descriptor
            )

    # Segments

    def _prune(self, archive: DataDirectory) -> None:
        """Delete the segments that are too old, or too many."""
        segments = self._segments(archive)
        size = sum(each.size for each in segments)
        oldest = self._wall_clock() - round(1_000 * self._retention.seconds)
        for segment in segments:
            if segment.ends_at >= oldest and (not self._retention.bytes_max or size <= self._retention.bytes_max):
                break
            self._delete(archive, segment)
            size -= segment.size

    def _segments(self, archive: DataDirectory) -> list["_Segment"]:
        snapshots, journals = archive.generations("snapshot"), archive.generations("journal")
        starts = sorted({*snapshots, *journals[:1]})
        ends = [*starts[1:], min(self._directory.generations("journal"), default=0)]
        found = []
        for start, end in zip(starts, ends, strict=False):  # without a start there is only an end
            own = [("snapshot", start)] if start in snapshots else []
            own += [("journal", each) for each in journals if start <= each < end]
            size = sum(archive.size(kind, generation) for kind, generation in own)
            found.append(_Segment(own, size, self._time_before(archive, end)))
        return found

    def _time_before(self, archive: DataDirectory, generation: int) -> int:
        """Return the time of the last batch before a journal; now, if that cannot be read."""
        for directory in (archive, self._directory):
            with contextlib.suppress(FileNotFoundError, TranscriptError):
                return JournalReader(directory.read("journal", generation, JOURNAL_HEADER_BYTES_MAX)).after.time
        return self._wall_clock()

    def _delete(self, archive: DataDirectory, segment: "_Segment") -> None:
        self._directory.verify()
        for kind, generation in segment.files:
            archive.delete(f"{kind}-{generation}")
            archive.sync()  # so that a power failure leaves no gap


@dataclass(frozen=True, slots=True)
class _Segment:
    files: list[tuple[str, int]]
    """The kind and generation of each, in the order of deletion. The snapshot, if there is one, comes first: a journal
    can be read without it, but a snapshot without its journals would lead nowhere."""
    size: int
    ends_at: int
    """The time of its last batch."""
