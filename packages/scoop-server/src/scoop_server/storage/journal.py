"""The journal that is being written: one batch a commit, sealed, and on disk before anyone hears of it.

Under ``always``, room for the batches to come is set aside by writing zeros ahead of them, which no reader takes for a
batch. A sync then has nothing to record but the batch's own bytes: no new length of the file, and no new blocks.
That takes two thirds of the time, a share of the writing of the zeros included.
"""

import contextlib
import errno
import os
from typing import Final

from scoop_core import Seal, encode_batch, encode_journal_header

from scoop_server.config.fsync import Fsync
from scoop_server.errors import JournalError, ReadOnlyError
from scoop_server.storage.directory import DataDirectory, NameNotDurableError, write_all

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})
"""What a call fails with when the disk, the quota, the allowed size of a file or, for a new file, the descriptors
are used up: clients may hold them all, and will let go of some."""

ROOM_BYTES: Final = 1_048_576
"""What is set aside at a time: enough for ten thousand small batches, and a millisecond's work to a disk."""

ROOMY_BATCH_BYTES_MAX: Final = 65_536
"""A batch larger than this is written without: to write its bytes twice would take longer than it saves."""


class Journal:
    """The journal of one generation, open for appending after its last sealed batch.

    ``size`` is where that batch ends, in bytes; ``head`` is its seal.
    """

    def __init__(self, directory: DataDirectory, generation: int, size: int, head: Seal, fsync: Fsync) -> None:
        self.generation = generation
        self.path = directory.file("journal", generation)
        self.size = size
        self.head = head
        self.is_synced = True
        """Whether all that has been written is known to be on disk."""
        self._files = directory.files
        self._fsync = fsync
        self._synced = head.number
        self._file = self._files.open(self.path, os.O_WRONLY)
        self._room_end = size
        """How far the file reaches, set-aside room included."""
        self._sets_room_aside = fsync is Fsync.ALWAYS  # without a sync to each batch there is nothing to save
        try:
            self._files.lseek(self._file, size, os.SEEK_SET)
        except OSError:
            self.close()
            raise

    @classmethod
    def create(cls, directory: DataDirectory, generation: int, head: Seal, fsync: Fsync) -> "Journal":
        """Begin the journal of ``generation``, where the one before it ends with ``head``.

        Raises OSError, and then there is no such journal; :exc:`JournalError` where there may be one.
        """
        header, start = encode_journal_header(generation, head)
        try:
            size = directory.write("journal", generation, [header])
        except NameNotDurableError as error:
            raise _untrustworthy("begin", directory.file("journal", generation), error) from error
        try:
            return cls(directory, generation, size, start, fsync)
        except OSError as error:
            raise _untrustworthy("open", directory.file("journal", generation), error) from error

    @classmethod
    def resume(cls, directory: DataDirectory, generation: int, size: int, head: Seal, fsync: Fsync) -> "Journal":
        """Continue a journal behind its last sealed batch, and drop what stands there. Raises OSError.

        What was read may never have been synced, because of the policy that it was written under.
        """
        journal = cls(directory, generation, size, head, fsync)
        try:
            journal._files.ftruncate(journal._file, size)
            journal._files.fsync(journal._file)
            directory.sync()
        except OSError as error:
            journal.close()
            error.filename = error.filename or journal.path
            raise
        return journal

    def append(self, lines: list[str]) -> None:
        """Append one batch, and have it on disk if the policy says so.

        Raises :exc:`ReadOnlyError` where there is no room for it, and :exc:`JournalError` where the disk
        cannot be trusted any more.
        """
        data, head = encode_batch(lines, self.head, self._synced)
        if self._sets_room_aside and self.size + len(data) > self._room_end and len(data) <= ROOMY_BATCH_BYTES_MAX:
            self._set_room_aside(max(len(data), ROOM_BYTES))
        try:
            write_all(self._files, self._file, data)
        except OSError as error:
            self._cut_back(error)
            if is_out_of_space(error):
                raise ReadOnlyError(f"cannot write to {self.path}: {error.strerror}") from error
            raise _untrustworthy("write to", self.path, error) from error
        self.size += len(data)
        self.head = head
        self.is_synced = False
        if self._fsync is Fsync.ALWAYS:
            self.sync()

    def _set_room_aside(self, room: int) -> None:
        """Have ``room`` bytes of zeros behind the last batch; without them, all goes on, only more slowly."""
        try:
            taken = self._files.pwrite(self._file, bytes(room), self.size)
        except OSError:
            taken = 0
        if taken == room:
            self._room_end = self.size + room
            return
        self._sets_room_aside = False  # this journal does without: the disk may be full, or know no such thing
        if taken:
            self._give_room_back()  # a batch may need it

    def _give_room_back(self) -> None:
        """End the file with its last batch. Where that fails, the zeros that stay harm no one."""
        with contextlib.suppress(OSError):
            self._files.ftruncate(self._file, self.size)
        self._room_end = self.size

    def _cut_back(self, reason: OSError) -> None:
        """Remove what a failed write has left behind the last seal, and the room that was set aside with it."""
        try:
            self._files.ftruncate(self._file, self.size)
            self._files.lseek(self._file, self.size, os.SEEK_SET)
            self._room_end = self.size
        except OSError as error:
            raise _untrustworthy("cut back", self.path, error) from reason

    def sync(self) -> None:
        """Have all that was appended on disk, if it is not yet. Raises :exc:`JournalError`.

        A failure is final: the system may have thrown away what it could not write, so a second attempt
        would succeed and prove nothing.
        """
        if self.is_synced:
            return
        try:
            self._files.fdatasync(self._file)
        except OSError as error:
            raise _untrustworthy("sync", self.path, error) from error
        self.is_synced = True
        self._synced = self.head.number

    def close(self) -> None:
        """Close the file."""
        if self._room_end > self.size:
            self._give_room_back()
        self._files.close(self._file)


def is_out_of_space(error: OSError) -> bool:
    """Tell whether a call has failed for lack of space, so that it may succeed later."""
    return error.errno in _NO_SPACE


def _untrustworthy(what: str, path: str, error: OSError) -> JournalError:
    return JournalError(
        f"cannot {what} {path}: {error.strerror}; the changes of this moment were not acknowledged, "
        "so see to the disk, and start again"
    )
