"""Following a data directory beside the server that uses it: the newest snapshot, then the batches of the journals.

A follower reads. It takes no lock and writes nothing, so the server never waits for it; across rotations and
compactions it continues with the next journal, and starts again with a snapshot if it was left behind.

A batch is delivered once the server has acknowledged it, which the files prove in one of these ways:

- A later batch says that it was on disk (``synced``), or a later journal exists: the server syncs before it rotates.
- Its own seal shows that the server does not sync each commit: then the write was the acknowledgement.
- Nothing followed for a poll, and a sync by the follower has succeeded. That is at most one sync for each quiet moment,
  and a server under load never meets one.
"""

import os
import re
from collections.abc import Iterator
from typing import Final

from scoop_core import JournalReader, LoggedBatch, TranscriptError, decode_snapshot

from scoop_server.errors import DataDirectoryError
from scoop_server.history import batches
from scoop_server.ports import Loaded
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OPERATING_SYSTEM, FileSystem, close_quietly, named

READ_BYTES_MAX: Final = 16 * 1_048_576
"""Read at a time: far more than a server writes between two polls, and little beside the graph."""

_CHUNK_BYTES: Final = 262_144
"""Read in one call. Reserved room is zeros, so a chunk that ends with a zero ends the data."""

_SEAL_BYTES_MAX: Final = 200
"""The longest seal: five numbers of up to 18 digits, two checksums and the words between them."""

_LAST_CHECKSUM: Final = re.compile(rb"crc32 ([0-9a-f]{8})\n\Z")


class Follower:
    """Follows the data directory at ``path``, one :meth:`poll` after the other. Not safe for several threads."""

    def __init__(self, path: str, files: FileSystem = OPERATING_SYSTEM) -> None:
        self.path = path
        self.is_current = False
        """True if the last poll has delivered everything that the files held."""
        self._files = files
        self._directory: DataDirectory | None = None
        self._tail: _Tail | None = None
        self._has_loaded = False
        self._doubt = ""
        """The damage that the last poll saw: a write in progress can look like damage once, but not twice."""

    def poll(self) -> list[Loaded | LoggedBatch]:
        """Return what was acknowledged since the last poll, in order; call again immediately if :attr:`has_more`.

        Raises :exc:`DataDirectoryError` if the directory cannot be followed now. A later poll tries again, and
        continues or starts again with a :class:`Loaded`.
        """
        self.is_current = False
        delivered: list[Loaded | LoggedBatch] = []
        for is_last_attempt in (False, True):
            try:
                self._deliver(delivered)
                break
            except (OSError, TranscriptError) as error:
                if delivered:
                    break  # the next poll meets the same problem
                # A compaction deletes files between their listing and their opening.
                if is_last_attempt or not isinstance(error, FileNotFoundError):
                    raise self._problem(error) from error
        return delivered

    def close(self) -> None:
        """Close all files."""
        self._start_again()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    @property
    def has_more(self) -> bool:
        """Return whether the last poll has not read to the end of the files."""
        return self._tail is not None and not self._tail.is_whole

    def history(self) -> Iterator[LoggedBatch]:
        """Return the changes in all journals that are kept."""
        return batches(self.path)

    # Steps of a poll

    def _deliver(self, delivered: list[Loaded | LoggedBatch]) -> None:
        directory = self._opened()
        if self._tail is None:
            delivered.append(self._load(directory))
        while self._tail is not None and self._advance(directory, self._tail, delivered):
            pass

    def _opened(self) -> DataDirectory:
        """Return the directory that is at the path now."""
        with named(self.path):
            found = self._files.stat(self.path)
        if self._directory is not None:
            own = self._files.fstat(self._directory.descriptor)
            if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
                return self._directory
            self.close()
        self._directory = DataDirectory(self.path, self._files)
        return self._directory

    def _load(self, directory: DataDirectory) -> Loaded:
        self._start_again()
        snapshots = directory.generations("snapshot")
        if not snapshots:
            raise TranscriptError(0, "it holds no index")
        graph = decode_snapshot(directory.read("snapshot", snapshots[-1]), trust_checksum=True)
        self._tail = _Tail(directory, snapshots[-1])
        self._has_loaded = True
        return Loaded(graph, self._tail.batch)

    def _advance(self, directory: DataDirectory, tail: "_Tail", delivered: list[Loaded | LoggedBatch]) -> bool:
        """Deliver batches of the journal, or continue with the next; return whether more may be ready."""
        is_left_behind = max(directory.generations("snapshot"), default=0) > tail.generation
        journals = directory.generations("journal")  # before reading: a journal with a successor is complete
        has_ended = bool(journals) and journals[-1] > tail.generation
        if tail.generation in journals and not tail.is_in_place():
            delivered.append(self._load(directory))
            return True
        try:
            delivered += tail.read(has_ended=has_ended)
            if not tail.is_at_end:
                return False
            if not has_ended:
                self.is_current, self._doubt = True, ""
                return False
            if tail.generation + 1 in journals or not is_left_behind:
                self._tail = tail.next()
                return True
        except TranscriptError as error:
            if not is_left_behind:
                if str(error) == self._doubt:
                    raise
                self._doubt = str(error)
                return False
        delivered.append(self._load(directory))
        return True

    def _start_again(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def _problem(self, error: OSError | TranscriptError) -> DataDirectoryError:
        way_out = f"inspect it with: scoop-server check {self.path}"
        if self._has_loaded:
            way_out = f"the last good state is kept; {way_out}"
        elif isinstance(error, FileNotFoundError) and error.filename == self.path:
            way_out = "waiting for it; start its server, or name another directory"
        if isinstance(error, TranscriptError):
            file = self.path if self._tail is None else self._tail.path
            return DataDirectoryError(f"cannot follow {file}: {error}; {way_out}")
        return DataDirectoryError(f"cannot follow {error.filename or self.path}: {error.strerror}; {way_out}")


class _Tail:
    """One journal, read up to its last acknowledged batch, which has the seal ``head``."""

    def __init__(self, directory: DataDirectory, generation: int) -> None:
        self.generation = generation
        self.path = directory.file("journal", generation)
        self.is_at_end = False
        """True if the last read has left nothing behind but a write in progress."""
        self.is_whole = False
        """True if the last read has reached the end of the file."""
        self._name = f"journal-{generation}"
        self._directory = directory
        self._files = directory.files
        self._unproven = 0
        """The last batch of the last read that nothing proved to be acknowledged; 0 if there was none."""
        self._file = self._open()
        try:
            data = self._read_from(0, _CHUNK_BYTES)
            reader = JournalReader(data, generation)
        except BaseException:
            self.close()
            raise
        self._header, self._position = reader.sealed, reader.sealed_bytes
        self.after, self.head = reader.after, reader.head
        self._read_bytes = READ_BYTES_MAX

    @property
    def batch(self) -> int:
        """The number of the last batch that was delivered."""
        return self.head.number

    def next(self) -> "_Tail":
        """Close this journal and return the one that continues it. Raises :exc:`TranscriptError` if it does not."""
        following = _Tail(self._directory, self.generation + 1)
        if following.after != self.head:
            following.close()
            number = self.head.number + 1
            raise TranscriptError(self._position, f"batch {number} is damaged, and another journal follows")
        self.close()
        return following

    def _open(self) -> int:
        with named(self.path):
            return self._files.open(self._name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=self._directory.descriptor)

    def close(self) -> None:
        """Close the file."""
        close_quietly(self._files, self._file, self.path)

    def is_in_place(self) -> bool:
        """Return whether the file at the path holds what was delivered; follow it if it has replaced the open one.

        A server that starts writes the last journal again, without what is behind its last seal.
        """
        with named(self.path):
            found = self._files.stat(self._name, dir_fd=self._directory.descriptor)
            own = self._files.fstat(self._file)
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return True
        before, self._file = self._file, self._open()
        close_quietly(self._files, before, self.path)
        start = max(0, self._position - _SEAL_BYTES_MAX)
        checksum = _LAST_CHECKSUM.search(self._read_from(start, self._position - start))
        return checksum is not None and int(checksum[1], 16) == self.head.checksum

    def read(self, *, has_ended: bool) -> list[LoggedBatch]:
        """Return the batches that were acknowledged since the last read.

        Raises :exc:`TranscriptError` if it has none, and the journal is damaged or was cut short.
        """
        size = self._files.fstat(self._file).st_size
        if size < self._position:
            raise TranscriptError(size, "it was cut short")
        data = self._read_from(self._position, self._read_bytes)
        reader = JournalReader(self._header + data)
        reader.head = self.head  # the header represents everything up to the position
        sealed: list[tuple[LoggedBatch, int]] = []
        damage: TranscriptError | None = None
        acknowledged = 0
        try:
            for lines in reader:
                number = reader.head.number
                is_synced_by_each_commit = reader.synced == number - 1
                acknowledged = max(acknowledged, reader.synced if is_synced_by_each_commit else number)
                sealed.append((LoggedBatch(lines, reader.head, reader.authors), reader.sealed_bytes))
        except TranscriptError as error:
            damage = TranscriptError(error.offset - len(self._header) + self._position, error.reason)
        last = reader.head.number
        self.is_whole = is_whole = len(data) < self._read_bytes
        if last > acknowledged and (has_ended or (last == self._unproven and self._sync())):
            acknowledged = last
        proven = [batch for batch, _ in sealed if batch.seal.number <= acknowledged]
        if proven:
            self.head, end = proven[-1].seal, sealed[len(proven) - 1][1]
            self._position += end - len(self._header)
        elif damage is not None:
            raise damage
        self._unproven = last if len(proven) < len(sealed) else 0
        self.is_at_end = is_whole and not self._unproven and damage is None
        self._read_bytes = READ_BYTES_MAX if sealed or is_whole else 2 * self._read_bytes
        return proven

    def _sync(self) -> bool:
        """Return whether everything that was read is known to be on disk."""
        try:
            self._files.fdatasync(self._file)
        except OSError:
            return False
        return True

    def _read_from(self, position: int, length: int) -> bytes:
        with named(self.path):
            self._files.lseek(self._file, position, os.SEEK_SET)
            parts: list[bytes] = []
            while length and (part := self._files.read(self._file, min(length, _CHUNK_BYTES))):
                parts.append(part)
                length -= len(part)
                if part.endswith(b"\0"):
                    break
        return b"".join(parts)
