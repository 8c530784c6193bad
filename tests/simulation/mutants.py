"""Is the simulation able to fail? Each mutant takes one rule of the durability contract away; each must be found.

``python -m tests.simulation.mutants`` runs every mutant until a seed fails, and prints which one did. The exit
status is 0 when all were found. A proof that cannot fail proves nothing.
"""

import argparse
import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakKeyDictionary

from scoop_core import (
    Changes,
    DependencyGraph,
    HistoryError,
    JournalReader,
    Moment,
    Seal,
    Trail,
    encode_batch,
    transcript,
)
from scoop_core.graph_order import TopologicalOrder

from scoop_server.config.settings import Fsync
from scoop_server.errors import ReadOnlyError
from scoop_server.index.local import LocalIndex
from scoop_server.loop.client import Client, Phase
from scoop_server.loop.clients import Clients
from scoop_server.loop.server import Server
from scoop_server.storage import compaction, journal
from scoop_server.storage.backlog import Backlog
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.history import NO_HISTORY, History, _Segment
from scoop_server.storage.journal import Journal
from scoop_server.storage.store import JournalStore
from scoop_server.storage.supervisor import CompactionSupervisor
from scoop_server.storage.trail import DirectoryFiles

from tests.simulation.disk import Folder, SimulatedProcess
from tests.simulation.simulation import Simulation

SEEDS_MAX: Final = 10_000
"""How many seeds a mutant may survive before it counts as not found; most fall within the first hundred."""

Mutation = Callable[[], contextlib.AbstractContextManager[object]]


def _no_fsync_before_the_answer() -> Any:
    """A commit returns when the batch is written, whatever the policy."""

    def append(self: Journal, lines: list[str]) -> None:
        fsync, self._fsync = self._fsync, Fsync.NEVER
        try:
            original(self, lines)
        finally:
            self._fsync = fsync

    original = Journal.append
    return patch.object(Journal, "append", append)


def _no_fsync_of_a_new_file() -> Any:
    """A snapshot or a journal header gets its name before its bytes are on disk."""

    def write(self: DataDirectory, kind: str, generation: int, chunks: Any) -> int:
        with patch.object(type(self.files), "fsync", _sync_directories_only(type(self.files).fsync)):
            return original(self, kind, generation, chunks)

    original = DataDirectory.write
    return patch.object(DataDirectory, "write", write)


def _sync_directories_only(fsync: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    def sync(self: Any, fd: int) -> None:
        if isinstance(self._open[fd].node, Folder):
            fsync(self, fd)

    return sync


def _no_fsync_of_the_directory() -> Any:
    """A new name counts as durable before the directory is synced."""
    return patch.object(DataDirectory, "sync", lambda _: None)


def _no_checksum() -> Any:
    """A batch counts as whole when its seal has the right form."""
    return patch.object(transcript, "_is_intact", lambda *_: True)


def _no_chain() -> Any:
    """A batch counts wherever it stands: neither its number nor the seal before it is looked at."""

    def find_seal(self: JournalReader) -> re.Match[bytes] | None:
        data, start = self._data, self.sealed_bytes
        seal = transcript._SEAL.match(data, max(data.find(b"#", start), start))
        if (
            seal is None
            or int(seal[3]) != seal.start() - start
            or not transcript._is_intact(data, seal, self._checksum)
        ):
            return None
        return seal

    return patch.object(JournalReader, "_find_seal", find_seal)


def _checksums_begin_at_zero() -> Any:
    """The checksums of a journal do not begin with that of its header, so a batch may belong to any journal."""

    def encode(lines: list[str], after: Seal, synced: int, _journal: int, **named: Any) -> tuple[bytes, Seal]:
        return encode_batch(lines, after, synced, 0, **named)

    def is_intact(data: bytes, seal: re.Match[bytes], journal: int) -> bool:  # noqa: ARG001  # ignored
        return original(data, seal, 0)

    @contextlib.contextmanager
    def mutation() -> Iterator[None]:
        with (
            patch("scoop_server.storage.journal.encode_batch", encode),
            patch.object(transcript, "_is_intact", is_intact),
        ):
            yield

    original = transcript._is_intact
    return mutation()


def _directories_have_one_identity() -> Any:
    """The chains of all directories begin with the same number."""
    return patch.object(DataDirectory, "identity", 0)


def _no_cut_back() -> Any:
    """The rest of a write without space stays in the journal."""
    return patch.object(Journal, "_cut_back", lambda _self, _error: None)


def _cut_is_not_synced() -> Any:
    """A truncated journal counts as synced, although the truncation may be lost."""

    def cut_back(self: Journal, reason: OSError | None) -> None:
        was_synced = self.is_synced
        original(self, reason)
        self.is_synced = was_synced

    original = Journal._cut_back
    return patch.object(Journal, "_cut_back", cut_back)


def _no_undo() -> Any:
    """Changes that could not be written are refused, and stay in the graph."""
    return patch.object(DependencyGraph, "undo", lambda _self, _changes: None)


def _no_second_answer() -> Any:
    """After a roll-back, the clients that changed nothing get answers that reflect what was undone."""

    def execute(self: LocalIndex[Any], requests: Sequence[Any]) -> Any:
        responses = original(self, requests)
        if not any(answers is None for _, _, answers in responses):
            return responses
        changes = Changes()
        seen = [self._graph.apply_lines(lines, changes) for _, lines in requests]
        self._graph.undo(changes)
        return [
            (client, lines, answers and given) for (client, lines, answers), given in zip(responses, seen, strict=True)
        ]

    original = LocalIndex.execute
    return patch.object(LocalIndex, "execute", execute)


def _response_before_commit() -> Any:
    """A commit returns before anything is written; its batch is written with the next one."""

    def commit(self: JournalStore, changes: Changes, authors: Any = ()) -> None:  # noqa: ARG001  # there are none
        held = _held.pop(self, None)
        _held[self] = (list(changes.lines), list(changes.previous))
        if held is not None:
            earlier = Changes()
            earlier.lines, earlier.previous = held
            original(self, earlier)

    original = JournalStore.commit
    return patch.object(JournalStore, "commit", commit)


_held: Final[WeakKeyDictionary[JournalStore, tuple[list[str], list[str | None]]]] = WeakKeyDictionary()


def _no_seal() -> Any:
    """A batch is written line by line, and recovered in part."""

    def append(self: Journal, lines: list[str]) -> None:
        for line in lines:
            original(self, [line])

    original = Journal.append
    return patch.object(Journal, "append", append)


def _page_cache_is_trusted() -> Any:
    """Recovery serves what it reads, although it may never have reached the disk."""

    def take_over(self: Generations) -> None:
        self._unsynced = None

    return patch.object(Generations, "take_over", take_over)


def _journal_of_an_earlier_process() -> Any:
    """A process continues the journal of the process before it."""

    def begin(self: JournalStore) -> None:
        self._files.take_over()
        journal = self._files.journal
        journal._fsync = self._files.fsync
        try:
            journal._file = self._directory.open_for_writing("journal", journal.generation)
        except OSError as error:
            raise ReadOnlyError(str(error)) from error
        journal.is_writable = True
        journal._files.lseek(journal._file, journal.size, os.SEEK_SET)

    return patch.object(JournalStore, "_begin_own_journal", begin)


def _old_files_go_first() -> Any:
    """Old generations are deleted when a compaction begins."""

    def begin(self: CompactionSupervisor) -> None:
        original(self)
        if self.is_running:
            self._files.directory.delete_before(self._files.journal.generation)

    original = CompactionSupervisor.begin
    return patch.object(CompactionSupervisor, "begin", begin)


def _retry_of_a_failed_sync() -> Any:
    """A sync that has failed is tried once more, and believed."""

    def sync(self: Journal) -> None:
        if self.is_synced:
            return
        with contextlib.suppress(OSError):
            self._files.fdatasync(self._file)
        self.is_synced = True
        self._synced = self.head.number

    return patch.object(Journal, "sync", sync)


def _closed_descriptor_is_used_again() -> Any:
    """A rotation closes the old journal first, and continues that one if close reports an error."""

    def rotate(self: Generations) -> None:
        self.take_over()
        before = self.journal
        before.sync()
        journal = Journal.create(self.directory, before.generation + 1, before.head, self.fsync)
        if before.is_writable:
            self.directory.files.close(before._file)
        self.journal = journal
        self._rotation_batch = before.head.number
        self._earlier_bytes += before.size

    return patch.object(Generations, "rotate", rotate)


def _journals_are_not_replayed() -> Any:
    """Recovery takes the newest snapshot and ignores the journals."""
    return patch.object(JournalReader, "apply_to", lambda reader, _graph: len(list(reader)))


def _short_writes_are_ignored() -> Any:
    """A write that took only a part of the bytes counts as whole."""
    return patch(
        "scoop_server.storage.journal.write_all", lambda files, descriptor, data: files.write(descriptor, data)
    )


def _no_lock_on_the_directory() -> Any:
    """Only the lock file is locked, which can be deleted."""

    def flock(self: SimulatedProcess, fd: int, operation: int, /) -> None:
        if not isinstance(self._open[fd].node, Folder):
            original(self, fd, operation)

    original = SimulatedProcess.flock
    return patch.object(SimulatedProcess, "flock", flock)


def _directory_is_not_verified() -> Any:
    """Nobody looks whether the directory is still in its place."""
    return patch.object(DataDirectory, "verify", lambda _: None)


def _journal_is_not_verified() -> Any:
    """Nobody looks whether the journal is still there."""

    @contextlib.contextmanager
    def mutation() -> Iterator[None]:
        with (
            patch.object(Journal, "_is_in_place", lambda _: True),
            patch.object(Journal, "verify", lambda _: None),
            patch.object(JournalStore, "_verify", lambda _: None),
        ):
            yield

    return mutation()


def _paths_instead_of_descriptors() -> Any:
    """Files are opened, renamed and deleted by the path of the directory."""

    @contextlib.contextmanager
    def mutation() -> Iterator[None]:
        def opened(self: SimulatedProcess, fd: int) -> Folder:
            node = original(self, fd)
            path = self._open[fd].path
            return self._disk.folders.get(path, node)

        original = SimulatedProcess._opened
        with patch.object(SimulatedProcess, "_opened", opened), patch.object(DataDirectory, "verify", lambda _: None):
            yield

    return mutation()


def _removed_directory_is_created_again() -> Any:
    """The index is saved at the path of a directory that was removed."""

    def save(self: JournalStore, graph: DependencyGraph) -> None:
        if not self._directory.is_removed:
            return original(self, graph)
        with DataDirectory.lock(self._directory.path, self._directory.files) as directory:
            Generations.create(directory, graph).journal.close()
        return None

    original = JournalStore.save
    return patch.object(JournalStore, "save", save)


def _hanging_compaction_is_awaited() -> Any:
    """A compaction may take any time."""
    return patch.object(compaction, "seconds_max", lambda _size: 1e9)


def _writers_are_not_slowed() -> Any:
    """The backlog of a compaction has no effect on writers."""
    return patch.object(Backlog, "delay", lambda _self, _bytes: 0.0)


def _search_ignores_changes() -> Any:
    """A search for a cycle continues although a package that it has visited has changed."""
    return patch.object(TopologicalOrder, "_interrupt", lambda _self, _name: None)


def _waiting_client_is_watched() -> Any:
    """A client whose long line waits for room may be read in the turn that executes this line."""

    def flush(self: Server, others: Sequence[Client]) -> None:
        original(self, [client for client in others if client.phase is not Phase.QUEUED])

    original = Server._flush
    return patch.object(Server, "_flush", flush)


def _waiting_lines_keep_their_role() -> Any:
    """A reload of the roles does not screen lines that wait."""

    def screen_again(self: Client) -> None:
        waiting, self.queued_lines = self.queued_lines, ""
        original(self)
        self.queued_lines = waiting

    original = Client.screen_again
    return patch.object(Client, "screen_again", screen_again)


def _revoked_clients_stay() -> Any:
    """A reload admits by the new rules, and closes nobody."""
    return patch.object(Clients, "judge_again", lambda _: None)


# Of the history


def _superseded_files_are_deleted() -> Any:
    """A compaction deletes what it has superseded, as without a history."""
    return patch.object(History, "supersede", lambda self, generation: self._directory.delete_before(generation))


def _only_snapshots_are_kept() -> Any:
    """The journals that a snapshot has superseded are deleted."""

    def move(self: History, name: str, archive: DataDirectory) -> None:
        if name.startswith("snapshot-"):
            original(self, name, archive)

    original = History._move
    return patch.object(History, "_move", move)


def _only_journals_are_kept() -> Any:
    """No snapshot is kept, so that the journals lead nowhere."""
    return patch.object(History, "_is_worth_keeping", lambda *_: False)


def _needed_files_are_moved() -> Any:
    """The files of the newest snapshot go into the history too."""

    def supersede(self: History, generation: int) -> None:
        original(self, generation + 1)

    original = History.supersede
    return patch.object(History, "supersede", supersede)


def _history_is_not_synced() -> Any:
    """Files that were moved into the history may still be lost when others are deleted."""
    return _without_syncs_of_the_history("supersede")


def _deletions_are_not_synced() -> Any:
    """The files of a segment may reappear or not in any combination."""
    return _without_syncs_of_the_history("_delete")


def _without_syncs_of_the_history(during: str) -> Any:
    def call(self: History, *arguments: Any) -> None:
        archive = self._opened()
        with patch.object(DataDirectory, "sync", lambda each: None if each is archive else sync(each)):
            original(self, *arguments)

    original, sync = getattr(History, during), DataDirectory.sync
    return patch.object(History, during, call)


def _newest_segment_goes_first() -> Any:
    """The newest part of the history is deleted first."""

    def segments(self: History, archive: DataDirectory) -> list[Any]:
        return [*reversed(original(self, archive))]

    original = History._segments
    return patch.object(History, "_segments", segments)


def _segments_reach_into_the_next_one() -> Any:
    """A segment ends with the first journal of the next one."""

    def segments(self: History, archive: DataDirectory) -> list[_Segment]:
        found, kept = original(self, archive), [("journal", each) for each in archive.generations("journal")]
        return [replace(each, files=kept[: kept.index(each.files[-1]) + 2]) for each in found if each.files[-1] in kept]

    original = History._segments
    return patch.object(History, "_segments", segments)


def _size_is_not_limited() -> Any:
    """The history grows over its limit."""
    return patch.object(History, "_prune", lambda *_: None)


def _whole_history_is_pruned() -> Any:
    """A history over its limit is deleted as a whole."""

    def prune(self: History, archive: DataDirectory) -> None:
        for segment in self._segments(archive):
            self._delete(archive, segment)

    return patch.object(History, "_prune", prune)


def _one_segment_too_many_goes() -> Any:
    """The part of the history that still fits is shortened too."""

    def prune(self: History, archive: DataDirectory) -> None:
        retention, self._retention = self._retention, replace(self._retention, bytes_max=self._retention.bytes_max // 2)
        try:
            original(self, archive)
        finally:
            self._retention = retention

    original = History._prune
    return patch.object(History, "_prune", prune)


def _times_go_back_with_the_clock() -> Any:
    """The time of a batch is that of a clock which may have been set back."""

    def encode(lines: list[str], after: Seal, *arguments: int, time: int = 0, authors: Any = ()) -> tuple[bytes, Seal]:
        return encode_batch(lines, after._replace(time=0), *arguments, time=time, authors=authors)

    return patch.object(journal, "encode_batch", encode)


def _batches_have_no_time() -> Any:
    """A batch has the time of the one before."""

    def append(self: Journal, lines: list[str], _time: int = 0, authors: Any = ()) -> None:
        original(self, lines, 0, authors)

    original = Journal.append
    return patch.object(Journal, "append", append)


def _changes_have_no_author() -> Any:
    """The identities of clients are not stored."""

    def append(self: Journal, lines: list[str], time: int = 0, authors: Any = ()) -> None:  # noqa: ARG001  # dropped
        original(self, lines, time)

    original = Journal.append
    return patch.object(Journal, "append", append)


def _author_begins_late() -> Any:
    """The first change of a client is stored as one of the client before."""

    def note_author(self: LocalIndex[Any], client: Any, before: int) -> None:
        original(self, client, before and before + 1)

    original = LocalIndex._note_author
    return patch.object(LocalIndex, "_note_author", note_author)


def _first_author_has_all_changes() -> Any:
    """All changes of a turn are those of its first client."""

    def note_author(self: LocalIndex[Any], client: Any, before: int) -> None:
        if not before:
            original(self, client, before)

    original = LocalIndex._note_author
    return patch.object(LocalIndex, "_note_author", note_author)


def _start_keeps_no_history() -> Any:
    """A start deletes what a compaction before it has superseded and not moved."""

    def take_over(self: Generations) -> None:
        history, self.history = self.history, History(self.directory, NO_HISTORY, lambda: 0)
        try:
            original(self)
        finally:
            self.history = history

    original = Generations.take_over
    return patch.object(Generations, "take_over", take_over)


def _authors_of_the_batch_before() -> Any:
    """A batch has the authors of the one before."""

    def append(self: Journal, lines: list[str], time: int = 0, authors: Any = ()) -> None:
        before = last.get(self, authors)
        last[self] = [*authors]
        original(self, lines, time, before)

    original, last = Journal.append, WeakKeyDictionary[Journal, Any]()
    return patch.object(Journal, "append", append)


def _trail_trusts_the_newest_snapshot() -> Any:
    """The index at a moment is rebuilt from a snapshot that is newer."""

    def graph_at(self: Trail, moment: Moment) -> DependencyGraph:
        later = moment._replace(batch=(moment.batch or 0) + 1)
        with contextlib.suppress(HistoryError):
            return original(self, later)
        return original(self, moment)

    original = Trail.graph_at
    return patch.object(Trail, "graph_at", graph_at)


def _trail_ends_with_the_history() -> Any:
    """The trail leaves out the journals that a server still uses."""

    def generations(self: DirectoryFiles, kind: str) -> list[int]:
        return original(self, kind)[: -1 if kind == "journal" else None]

    original = DirectoryFiles.generations
    return patch.object(DirectoryFiles, "generations", generations)


MUTANTS: Final[tuple[Mutation, ...]] = (
    _no_fsync_before_the_answer,
    _no_fsync_of_a_new_file,
    _no_fsync_of_the_directory,
    _no_checksum,
    _no_chain,
    _checksums_begin_at_zero,
    _directories_have_one_identity,
    _no_seal,
    _no_cut_back,
    _cut_is_not_synced,
    _no_undo,
    _no_second_answer,
    _response_before_commit,
    _page_cache_is_trusted,
    _journal_of_an_earlier_process,
    _old_files_go_first,
    _retry_of_a_failed_sync,
    _journals_are_not_replayed,
    _short_writes_are_ignored,
    _closed_descriptor_is_used_again,
    _no_lock_on_the_directory,
    _directory_is_not_verified,
    _journal_is_not_verified,
    _paths_instead_of_descriptors,
    _removed_directory_is_created_again,
    _hanging_compaction_is_awaited,
    _writers_are_not_slowed,
    _search_ignores_changes,
    _waiting_client_is_watched,
    _waiting_lines_keep_their_role,
    _revoked_clients_stay,
    _superseded_files_are_deleted,
    _only_snapshots_are_kept,
    _only_journals_are_kept,
    _needed_files_are_moved,
    _history_is_not_synced,
    _deletions_are_not_synced,
    _newest_segment_goes_first,
    _segments_reach_into_the_next_one,
    _size_is_not_limited,
    _whole_history_is_pruned,
    _one_segment_too_many_goes,
    _times_go_back_with_the_clock,
    _batches_have_no_time,
    _changes_have_no_author,
    _author_begins_late,
    _first_author_has_all_changes,
    _start_keeps_no_history,
    _authors_of_the_batch_before,
    _trail_trusts_the_newest_snapshot,
    _trail_ends_with_the_history,
)


def first_failure(mutant: Mutation, seeds: range) -> tuple[int, Exception] | None:
    """Return the first of ``seeds`` that finds ``mutant``, and how; None where none does."""
    for seed in seeds:
        with mutant():  # an error of the mutant itself ends the program
            try:
                Simulation(seed).run()
            except Exception as error:
                return seed, error
    return None


def main() -> int:
    """Hunt all mutants."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"how many for each (default: {SEEDS_MAX})")
    seeds = range(parser.parse_args().seeds)
    logging.disable()
    survivors = 0
    for mutant in MUTANTS:
        name = mutant.__name__.strip("_").replace("_", " ")
        found = first_failure(mutant, seeds)
        if found is None:
            survivors += 1
            print(f"{name}: SURVIVED {len(seeds)} seeds")
        else:
            seed, error = found
            print(f"{name}: found by seed {seed}: {type(error).__name__}: {str(error)[:100]}")
    print(f"{len(MUTANTS) - survivors} passed, {survivors} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
