"""Compactions as the store starts, watches and adopts them, and the backlog that slows writers."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_server.config.settings import Fsync
from scoop_server.errors import JournalError
from scoop_server.storage.backlog import DELAY_SECONDS_MAX, FULL_AT, Backlog
from scoop_server.storage.compaction import HANG_SECONDS, NICENESS_MAX
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import VERIFY_SECONDS

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.storage import Bench, Opened, graph_of, snapshot_of

POSTPONED = "the journals continue, and the next attempt follows when they have grown"


def grow(opened: Opened, size: int) -> None:
    """Commit until the journals have at least this size."""
    number = 0
    while opened.store.journal_bytes < size:
        opened.commit(f"INDEX|{number}|", f"REMOVE|{number}|")
        number += 1


# Start and end


def test_a_compaction_is_requested_run_and_adopted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.commit("INDEX|b|a")
        opened.store.request_compaction()
        bench.files.taken_calls()
        opened.tick()
        [compaction] = bench.compactions
        assert compaction.generation == 2
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
        opened.commit("REMOVE|b|", "INDEX|c|")  # not part of it
        opened.tick()
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
        compaction.complete()
        opened.tick()
        assert names_in(bench.path) == {"snapshot-2", "journal-2"}
    assert caplog.messages == [
        f"compaction into {bench.path}/snapshot-2 has begun",
        f"compaction into {bench.path}/snapshot-2 is complete",
    ]
    assert (bench.path / "snapshot-2").read_bytes() == snapshot_of(DependencyGraph.from_mapping({"a": (), "b": ["a"]}))
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "c")


@pytest.mark.parametrize("fsync", [Fsync.EVERYSEC, Fsync.NEVER])
def test_a_journal_is_synced_before_the_next_one_is_created(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as opened:
        opened.commit("INDEX|a|")
        bench.files.taken_calls()
        bench.compact_on_request(opened)
        assert bench.files.calls[:2] == ["fdatasync journal-1", "create journal-2.unfinished"]


def test_a_compaction_starts_when_the_journals_have_outgrown_snapshot_and_minimum(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit(*(f"INDEX|package-{number}|" for number in range(200)))
        opened.save()
    size = (bench.path / "snapshot-2").stat().st_size
    for minimum in (size + 1_000, size - 1_000):
        with bench.open(journal_bytes_min=minimum) as opened:
            limit = max(size, minimum)
            grow(opened, limit - 200)
            opened.tick()
            grow(opened, limit + 1)
            opened.tick()
            bench.compactions[-1].complete()
            opened.tick()


def test_journals_of_earlier_processes_count(bench: Bench) -> None:
    size = 0
    for number in range(5):
        with bench.open() as opened:
            opened.commit(f"INDEX|{number}|")
            size = opened.store.journal_bytes
    with bench.open(journal_bytes_min=size) as opened:
        opened.commit("INDEX|a|")
        opened.tick()
        bench.compactions[-1].complete()
        opened.tick()
        assert names_in(bench.path) == {"snapshot-7", "journal-7"}
    with bench.open() as opened:
        assert sorted(opened.graph) == ["0", "1", "2", "3", "4", "a"]


def test_a_disk_without_space_starts_no_compaction_of_nothing(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).complete()
        opened.tick()
        bench.files.free = 66_000  # the header of a journal takes its share of what is left beside a snapshot
        for _ in range(2):  # measure the disk, then compare
            bench.now += 2.0
            opened.tick()
    assert [each.generation for each in bench.compactions] == [2]


def test_without_changes_there_is_nothing_to_compact(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as opened:
        opened.store.request_compaction()
        opened.tick()
    assert bench.compactions == []
    assert caplog.messages == [f"nothing to compact: {bench.path}/snapshot-1 holds everything"]


def test_a_request_during_a_compaction_is_for_the_next_one(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        first = bench.compact_on_request(opened)
        opened.commit("INDEX|b|")
        assert bench.compact_on_request(opened) is first
        first.complete()
        opened.tick()
        opened.tick()
        assert [each.generation for each in bench.compactions] == [2, 3]


def test_a_compaction_that_outlived_its_server_does_no_harm(bench: Bench) -> None:
    """It may end at any moment of the next server: its snapshot is that of an earlier moment, with its journals."""
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        orphan = bench.compact_on_request(opened)
        opened.commit("INDEX|b|")
    with bench.open() as opened:
        with DataDirectory(str(bench.path)) as orphan._directory:
            orphan.complete()
        opened.commit("INDEX|c|")
        bench.compact_on_request(opened).complete()
        opened.tick()
        assert names_in(bench.path) == {"snapshot-4", "journal-4"}
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b", "c")


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_save_ends_a_compaction_and_cleans_up_after_it(bench: Bench, is_complete: bool) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        compaction = bench.compact_on_request(opened)
        (bench.path / "snapshot-2.unfinished-77").write_bytes(b"half")
        if is_complete:
            compaction.complete()
        opened.save()
        assert compaction.is_killed
        assert names_in(bench.path) == {"snapshot-3", "journal-3"}
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


def test_closing_ends_a_compaction_and_leaves_the_files(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        compaction = bench.compact_on_request(opened)
        before = contents_of(bench.path)
    assert compaction.is_killed
    assert contents_of(bench.path) == before


# Failures


@pytest.mark.parametrize("status", [1, -9])
def test_a_failed_compaction_changes_nothing_and_is_repeated_when_the_journals_have_grown(
    bench: Bench, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with bench.open(journal_bytes_min=500) as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).status = status
        (bench.path / "snapshot-2.unfinished-77").write_bytes(b"half")
        before = contents_of(bench.path)
        opened.tick()
        assert contents_of(bench.path) == before
        assert caplog.messages[-1] == f"compaction ended with status {status}; {POSTPONED}"
        grow(opened, opened.store.journal_bytes + 501)
        opened.tick()
        assert [each.generation for each in bench.compactions] == [2, 3]
        bench.compactions[-1].complete()
        opened.tick()
        assert names_in(bench.path) == {"snapshot-3", "journal-3"}
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


def test_a_compaction_that_reports_success_without_a_snapshot_has_failed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).status = 0
        opened.tick()
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
    assert caplog.messages[-1] == (
        f"compaction left no readable {bench.path}/snapshot-2: No such file or directory; {POSTPONED}"
    )


def test_a_compaction_that_takes_too_long_is_ended(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        compaction = bench.compact_on_request(opened)
        bench.now += HANG_SECONDS
        opened.tick()
        was_killed = compaction.is_killed
        bench.now += 1  # a second is enough for 250,000 bytes
        opened.tick()
        assert (was_killed, compaction.is_killed) == (False, True)
        assert caplog.messages[-1] == f"compaction took too long and was ended; {POSTPONED}"
        bench.compact_on_request(opened).complete()


def test_a_compaction_that_cannot_be_started_is_postponed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.start_error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.store.request_compaction()
        opened.tick()
        assert caplog.messages[-1] == (
            f"compaction cannot begin: {bench.path}: Resource temporarily unavailable; {POSTPONED}"
        )
        opened.commit("INDEX|b|")
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


def test_retries_on_a_nearly_full_disk_add_no_journals(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.start_error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with bench.open() as opened:
        opened.commit("INDEX|a|", "INDEX|b|")
        bench.files.free = 66_000
        caplog.clear()
        for _ in range(5):
            bench.now += 100.0
            opened.tick()  # measures the disk
            opened.tick()
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
        assert set(caplog.messages) == {
            (
                f"compaction cannot begin: {bench.path}: No space left on device; the journals continue, and the next "
                "attempt follows in 60 s"
            )
        }
        assert len(caplog.messages) == 5
        bench.start_error = None
        bench.compact_on_request(opened).complete()
        opened.tick()
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


def test_a_compaction_without_space_for_the_next_journal_is_postponed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.files.fail("write journal-2.unfinished", errno.ENOSPC)
        opened.store.request_compaction()
        opened.tick()
        assert caplog.messages[-1].startswith(f"compaction cannot begin: {bench.path}/journal-2.unfinished-")
        assert bench.compactions == []
        opened.commit("INDEX|b|")
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}


@pytest.mark.parametrize("failing", ["fdatasync journal-1", r"fsync \."])
def test_a_disk_that_breaks_as_a_compaction_begins_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open(Fsync.EVERYSEC) as opened:
        opened.commit("INDEX|a|")
        bench.files.fail(failing)
        opened.store.request_compaction()
        with pytest.raises(JournalError):
            opened.tick()


def test_old_generations_that_cannot_be_deleted_are_a_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).complete()
        bench.files.fail("unlink snapshot-1", errno.EACCES)
        opened.tick()
        assert (
            caplog.messages[-2]
            == f"cannot delete or archive {bench.path}/snapshot-1, which a snapshot has superseded: Permission denied"
        )
        opened.commit("INDEX|b|")
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")
    assert names_in(bench.path) == {"snapshot-2", "journal-2"}


def test_nothing_is_deleted_from_another_directory_in_its_place(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).complete()
        bench.path.rename(bench.path.with_name("moved"))
        bench.path.mkdir()
        (bench.path / "journal-1").write_bytes(b"theirs")
        opened.tick()
        assert names_in(bench.path) == {"journal-1"}
        assert "another one is at its path" in opened.reason()


# The backlog


class TestBacklog:
    @pytest.fixture
    def backlog(self) -> Backlog:
        backlog = Backlog(1_000)
        backlog.snapshot_written(500)
        return backlog

    def measured(self, tmp_path: Path, free: int, snapshot: int = 0, journals: int = 0) -> Backlog:
        files = FaultyFiles()
        files.free = free
        backlog = Backlog(1_000_000_000)
        with DataDirectory(str(tmp_path), files) as directory:
            backlog.measure(directory, snapshot, journals)
        return backlog

    def test_writers_are_slowed_smoothly_and_never_stopped(self, backlog: Backlog) -> None:
        delays = [backlog.delay(size) for size in range(0, 6_000, 100)]
        assert delays == sorted(delays)
        assert max(backlog.delay(size) for size in range(2_001)) == 0.0
        assert backlog.delay(4_000) == backlog.delay(10**12) == DELAY_SECONDS_MAX
        steps = [after - before for before, after in pairwise(delays)]
        assert max(steps) < DELAY_SECONDS_MAX / 5

    def test_the_priority_of_a_compaction_rises_with_the_backlog(self, backlog: Backlog) -> None:
        assert backlog.niceness(1_001) == NICENESS_MAX
        assert 0 < backlog.niceness(1_500) < NICENESS_MAX
        assert backlog.niceness(2_000) == backlog.niceness(10**12) == 0

    def test_a_compaction_that_failed_is_due_when_the_journals_have_grown(self, backlog: Backlog) -> None:
        backlog.compaction_failed(1_500, now=0.0)
        assert not backlog.is_compaction_due(2_500, now=10**9)
        assert backlog.is_compaction_due(2_501, now=0.0)

    def test_the_rest_of_a_small_disk_is_kept_for_the_next_snapshot(self, tmp_path: Path) -> None:
        backlog = self.measured(tmp_path, free=16_000_000, snapshot=1_000_000)
        journals = next(size for size in range(0, 16_000_000, 1_000) if backlog.is_disk_full(size))
        assert 16_000_000 - journals > 1_000_000 + journals
        assert backlog.ratio(journals) == pytest.approx(FULL_AT, abs=0.01)
        assert backlog.is_on_small_disk

    def test_a_disk_without_space_for_a_snapshot_is_filled_by_the_journal(self, tmp_path: Path) -> None:
        assert not self.measured(tmp_path, free=1_000_000, snapshot=2_000_000).is_disk_full(10**9)

    def test_on_a_nearly_full_disk_a_failed_compaction_is_repeated_later(self, tmp_path: Path) -> None:
        backlog = self.measured(tmp_path, free=1_000_000)
        assert backlog.is_compaction_due(500_000, now=0.0)
        backlog.compaction_failed(500_000, now=0.0)
        assert not backlog.is_compaction_due(500_000, now=59.0)
        assert backlog.is_compaction_due(500_000, now=60.0)


def test_a_disk_that_its_own_journal_fills_recovers_by_a_compaction(bench: Bench) -> None:
    bench.files.free = 500_000
    with bench.open() as opened:
        opened.commit("INDEX|kept|")
        for number in range(10_000):
            bench.now += VERIFY_SECONDS
            bench.files.free = 500_000 - opened.store.journal_bytes
            changes = [f"INDEX|{number}|", f"REMOVE|{number}|"] * 100
            try:
                opened.commit(*changes)
            except Exception:
                break
        assert opened.reason() == f"the disk of {bench.path} is full except for the space of a snapshot"
        assert opened.store.commit_delay > 0.0
        opened.tick()
        bench.compactions[-1].complete()
        opened.tick()
        bench.files.free = 500_000
        opened.tick()
        assert (opened.reason(), opened.store.commit_delay) == ("", 0.0)
        opened.commit("INDEX|b|")
    with bench.open() as opened:
        assert opened.graph == graph_of("b", "kept")


def test_writers_are_slowed_while_a_compaction_falls_behind(bench: Bench) -> None:
    with bench.open(journal_bytes_min=10_000) as opened:
        grow(opened, 10_001)
        opened.tick()
        assert (bench.compactions[-1].niceness, opened.store.commit_delay) == (NICENESS_MAX, 0.0)
        grow(opened, 30_000)
        assert 0.0 < opened.store.commit_delay < DELAY_SECONDS_MAX
        assert opened.store.backlog_ratio == pytest.approx(3.0, abs=0.1)
        bench.compactions[-1].complete()
        opened.tick()
        grow(opened, 0)
        opened.tick()
        assert opened.store.backlog_ratio < 2.1
