"""Reading a data directory: the newest snapshot and the journals that continue it. Nothing here writes.

A server that starts, an operator's command and a compaction read the same way: every request is applied by the rules
for live requests, and must change something. So files that do not belong together are detected.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scoop_core import (
    DependencyGraph,
    JournalReader,
    TranscriptError,
    UnsupportedFormat,
    decode_snapshot,
    encode_snapshot,
)

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import way_out

_WAY_OUT: Final = "restore the directory from a backup, or inspect it with: scoop-server check"

_EMPTY_SNAPSHOT: Final = b"".join(encode_snapshot(DependencyGraph()))


@dataclass(frozen=True, slots=True)
class RecoveredState:
    """The content of a data directory."""

    graph: DependencyGraph
    snapshot_generation: int
    snapshot_bytes: int
    journal: JournalReader
    """The last journal, read to its end: what is not sealed there is to be dropped."""
    batches: int
    """The number of batches after the snapshot."""
    journal_bytes: int
    """The size of all journals after the snapshot, up to the last seal."""


def recover(directory: DataDirectory) -> RecoveredState | None:
    """Return the content of ``directory``, None if nothing was ever kept in it.

    Raises :exc:`DataDirectoryError`, which names the file and the byte, if something cannot be read: a server never
    starts without acknowledged changes.
    """
    with _naming_errors(directory):
        snapshots, journals = directory.generations("snapshot"), directory.generations("journal")
        if not snapshots and not journals:
            return None
        if not snapshots:
            raise _missing(directory, "snapshot", journals[0])
        # A new directory gets its snapshot first: an empty one without a journal is an interrupted creation.
        if snapshots == [1] and not journals and directory.read("snapshot", 1) == _EMPTY_SNAPSHOT:
            return None
        # The journal of the newest snapshot is always there.
        return _recover(directory, snapshots[-1], max(snapshots[-1:] + journals), may_break_off=True)


def recover_before(directory: DataDirectory, generation: int) -> RecoveredState:
    """Return what the files of the generations before ``generation`` lead to, which the server no longer changes.

    Raises :exc:`DataDirectoryError` if one of them is missing, or is not sealed to its end.
    """
    with _naming_errors(directory):
        snapshots = [number for number in directory.generations("snapshot") if number < generation]
        if not snapshots:
            raise _missing(directory, "snapshot", min(directory.generations("journal"), default=generation - 1))
        return _recover(directory, snapshots[-1], generation - 1, may_break_off=False)


def _recover(directory: DataDirectory, first: int, last: int, *, may_break_off: bool) -> RecoveredState:
    """Return what snapshot ``first`` and the journals up to ``last``, which alone may end within a batch, lead to."""
    with _naming_errors(directory, "snapshot", first):
        snapshot = directory.read("snapshot", first)
        graph = decode_snapshot(snapshot, trust_checksum=True)  # in half of the time
    journal: JournalReader | None = None
    batches = size = 0
    for generation in range(first, last + 1):
        with _naming_errors(directory, "journal", generation):
            head = None if journal is None else journal.head  # a snapshot does not have the seal that follows it
            journal = JournalReader(directory.read("journal", generation), generation, head)
            batches += journal.apply_to(graph)
            # Only the last journal may end within a batch: the server syncs a journal before it creates the next one.
            if journal.unsealed_bytes and not (may_break_off and generation == last):
                raise TranscriptError(journal.sealed_bytes, "a batch is damaged, and another journal follows")
        size += journal.sealed_bytes
    assert journal is not None  # noqa: S101  # there is always one: ``last`` is not below ``first``
    return RecoveredState(graph, first, len(snapshot), journal, batches, size)


@contextlib.contextmanager
def _naming_errors(directory: DataDirectory, kind: str = "", generation: int = 0) -> Iterator[None]:
    """Raise an error in a file, or in the directory, as DataDirectoryError."""
    advice = f"{_WAY_OUT} {directory.path}"
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(directory, kind, generation) from error
    except TranscriptError as error:
        if isinstance(error, UnsupportedFormat):
            advice = "start the version that wrote it, or a later one"
        raise DataDirectoryError(f"cannot read {directory.file(kind, generation)}: {error}; {advice}") from error
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read {error.filename or directory.path}: {error.strerror}; "
            f"{way_out(error, directory.path, advice)}"
        ) from error


def _missing(directory: DataDirectory, kind: str, generation: int) -> DataDirectoryError:
    return DataDirectoryError(f"{directory.file(kind, generation)} is missing; {_WAY_OUT} {directory.path}")
