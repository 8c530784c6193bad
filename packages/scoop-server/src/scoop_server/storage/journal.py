"""The journal that is being written: one sealed batch for each commit.

Under ``always``, room for the next batches is reserved by writing zeros ahead of them, which no reader takes for a
batch. A sync then records the bytes of the batch only: no new file length and no new blocks. That takes two thirds of
the time, including the share of writing the zeros.
"""

import contextlib
import errno
import os
from typing import Final

from scoop_core import Authors, Seal, encode_batch, encode_journal_header, format_time

from scoop_server.config.settings import Fsync
from scoop_server.errors import JournalError, ReadOnlyError
from scoop_server.storage.directory import DataDirectory, NameNotDurableError
from scoop_server.storage.files import close_quietly, is_temporary, write_all
from scoop_server.telemetry.logs import log

ROOM_BYTES: Final = 1_048_576
"""Reserved at a time: enough for ten thousand small batches, and a millisecond of work for a disk."""

ROOMY_BATCH_BYTES_MAX: Final = 65_536
"""A larger batch is written without reserved room: writing its bytes twice would take longer than it saves."""

CLOCK_LATE_MS: Final = 1_000
"""The milliseconds for which a clock may be behind the last batch without a warning: adjustments are shorter."""

_CLOSED: Final = -1


class Journal:
    """The journal of one generation, which ends with its last sealed batch.

    ``size`` is the end of that batch in bytes; ``head`` is its seal. A journal of an earlier process is never
    written: the first commit of a process creates a journal of its own.
    """

    def __init__(self, directory: DataDirectory, generation: int, size: int, head: Seal) -> None:
        self.generation = generation
        self.path = directory.file("journal", generation)
        self.size = size
        self.head = head
        self._header_checksum = head.checksum
        self.is_synced = True
        """True if everything that was written is known to be on disk."""
        self.lost_reason = ""
        """The reason for which nothing can be appended any more; empty while batches can be appended."""
        self.reserves_room = False
        """True if room is reserved ahead of the batches."""
        self._has_failed_sync = False
        self._is_clock_late = False
        self._must_cut_back = False
        """True if the rest of a failed write may be behind the last seal."""
        self._directory = directory
        self._files = directory.files
        self._fsync = Fsync.NEVER
        self._synced = head.number
        self._file = _CLOSED
        self.is_writable = False
        """True if this process may append to the journal."""
        self._room_end = size
        """The size of the file, including reserved room."""

    @classmethod
    def create(cls, directory: DataDirectory, generation: int, head: Seal, fsync: Fsync) -> "Journal":
        """Create the journal of ``generation``, which continues the chain at ``head``.

        Raises OSError or :exc:`ReadOnlyError` if there is no such journal, :exc:`JournalError` if there may be one.
        """
        header, start = encode_journal_header(generation, head)
        try:
            size = directory.write("journal", generation, [header])
        except NameNotDurableError as error:
            raise _untrustworthy("create", directory.file("journal", generation), error) from error
        journal = cls(directory, generation, size, start)
        journal._fsync = fsync
        journal.reserves_room = fsync is Fsync.ALWAYS  # other policies have no sync to speed up
        try:
            journal._file = directory.open_for_writing("journal", generation)
            journal._files.lseek(journal._file, size, os.SEEK_SET)
        except OSError as error:
            journal.close()
            raise _untrustworthy("open", journal.path, error) from error
        journal.is_writable = True
        return journal

    @property
    def is_damaged(self) -> bool:
        """Return whether the file was removed or cut short, so that batches in it are lost."""
        return bool(self.lost_reason) and not self._has_failed_sync

    def compare_clock(self, time: int) -> None:
        """Warn, once, if the clock is behind the last batch: the times of batches never decrease."""
        is_late = self.head.time - time > CLOCK_LATE_MS
        if is_late and not self._is_clock_late:
            log.warning(
                "the clock was set back: changes have the time %(time)s until it is later; check the clock",
                {"time": format_time(self.head.time)},
            )
        self._is_clock_late = is_late

    def append(self, lines: list[str], time: int = 0, authors: Authors = ()) -> None:
        """Append one batch, and wait until it is on disk if the policy says so.

        Raises :exc:`ReadOnlyError` if nothing of it was kept, :exc:`JournalError` if the disk can no longer be
        trusted.
        """
        if not self._is_in_place() or self.lost_reason or self._must_cut_back:
            self.verify()
        data, head = encode_batch(lines, self.head, self._synced, self._header_checksum, time=time, authors=authors)
        if self.reserves_room and self.size + len(data) > self._room_end and len(data) <= ROOMY_BATCH_BYTES_MAX:
            self._reserve_room(max(len(data), ROOM_BYTES))
        try:
            write_all(self._files, self._file, data)
        except OSError as error:
            self._cut_back(error)
            if is_temporary(error):
                raise ReadOnlyError(f"cannot write to {self.path}: {error.strerror}") from error
            raise _untrustworthy("write to", self.path, error) from error
        self.size += len(data)
        self.head = head
        self.is_synced = False
        if self._fsync is Fsync.ALWAYS:
            self.sync()

    def _is_in_place(self) -> bool:
        """Return whether the file has its name and all its bytes, and move to its end. Raises :exc:`ReadOnlyError`.

        Linux records the exact time of each write that follows a stat of the file, which makes a commit
        1.5 times as expensive. These calls have no such effect, and do not notice another file of the same name.
        """
        try:
            size = self._files.lseek(self._file, 0, os.SEEK_END)
            self._files.lseek(self._file, self.size, os.SEEK_SET)
        except OSError as error:
            raise self._cannot_examine(error) from error
        return size >= self.size and self._directory.holds("journal", self.generation)

    def _cannot_examine(self, error: OSError) -> ReadOnlyError:
        return ReadOnlyError(f"cannot examine {self.path}: {error.strerror}")

    def verify(self) -> None:
        """Raise :exc:`ReadOnlyError` if the file was removed, replaced or cut short, or cannot be appended to."""
        if not self.lost_reason:
            try:
                status = self._files.fstat(self._file)
                if not status.st_nlink:
                    self.lost_reason = f"{self.path} was removed while the server ran"
                elif status.st_size < self.size:
                    self.lost_reason = f"{self.path} was cut short while the server ran"
                elif not self._directory.is_at("journal", self.generation, status):  # or renamed
                    raise ReadOnlyError(f"{self.path} was replaced by another file while the server ran")
            except OSError as error:
                raise self._cannot_examine(error) from error
        if self.lost_reason:
            raise ReadOnlyError(self.lost_reason)
        if self._must_cut_back:
            self._cut_back(None)
            if self._must_cut_back:
                raise ReadOnlyError(f"cannot cut back {self.path} to its last batch")

    def _reserve_room(self, room: int) -> None:
        """Write ``room`` bytes of zeros behind the last batch. If that fails, syncs are slower, and nothing else."""
        try:
            count = self._files.pwrite(self._file, bytes(room), self.size)
        except OSError:
            count = 0
        if count == room:
            self._room_end = self.size + room
            return
        self.reserves_room = False  # the disk may be full, or not support it
        if count:
            self._release_room()  # a batch may need it

    def _release_room(self) -> None:
        """Cut the file to the end of its last batch. If that fails, the zeros do no harm."""
        with contextlib.suppress(OSError):
            self._files.ftruncate(self._file, self.size)
        self._room_end = self.size

    def _cut_back(self, reason: OSError | None) -> None:
        """Remove what a failed write has left behind the last seal, and the reserved room.

        A read-only file system prevents that too; then it is done before the next batch.
        """
        self.is_synced = False  # the rest of the write may reach the disk without the cut
        try:
            self._files.ftruncate(self._file, self.size)
            self._files.lseek(self._file, self.size, os.SEEK_SET)
        except OSError as error:
            if not is_temporary(error):
                raise _untrustworthy("cut back", self.path, error) from reason
            self._must_cut_back = True
            return
        self._must_cut_back = False
        self._room_end = self.size

    def sync(self) -> None:
        """Wait until everything that was appended is on disk.

        A failure is final: the system may have discarded what it could not write, so a second attempt would succeed
        and prove nothing. Raises :exc:`JournalError`, or :exc:`ReadOnlyError` if the file system has become
        read-only: then the server continues with queries, and never writes to this journal again.
        """
        if self._has_failed_sync:
            raise ReadOnlyError(self.lost_reason)
        if self.is_synced:
            return
        try:
            self._files.fdatasync(self._file)
        except OSError as error:
            self._has_failed_sync = True
            self.lost_reason = f"cannot sync {self.path}: {error.strerror}"
            if error.errno == errno.EROFS:
                raise ReadOnlyError(self.lost_reason) from error
            raise _untrustworthy("sync", self.path, error) from error
        self.is_synced = True
        self._synced = self.head.number

    def close(self) -> None:
        """Close the file and release reserved room. Errors are logged: everything acknowledged was synced before."""
        if self._file == _CLOSED:
            return
        if self._room_end > self.size:
            self._release_room()
        file, self._file = self._file, _CLOSED
        self.is_writable = False
        close_quietly(self._files, file, self.path)


def _untrustworthy(action: str, path: str, error: OSError) -> JournalError:
    return JournalError(
        f"cannot {action} {path}: {error.strerror}; the changes of this turn were not acknowledged, "
        "so check the disk and start again"
    )
