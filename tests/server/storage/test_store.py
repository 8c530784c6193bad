"""The store: commits, conditions under which changes are refused, and the snapshot at the end."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, JournalReader

from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError, JournalError, ReadOnlyError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.store import PROBE_BYTES, VERIFY_SECONDS
from scoop_server.telemetry.stalls import CommitWatch

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.storage import Bench, Opened, graph_of, snapshot_of


def new_file(name: str) -> list[str]:
    """Return the calls that make a file durable under its name."""
    return [*(f"{call} {name}.unfinished" for call in ("create", "write", "fsync")), f"rename {name}", "fsync ."]


def bytes_in(path: Path) -> dict[str, bytes]:
    return {name: data for name, (data, _) in contents_of(path).items() if name != "lock"}


def refused(opened: Opened, *lines: str) -> str:
    """Return the reason for which a commit is refused."""
    with pytest.raises(ReadOnlyError) as refusal:
        opened.commit(*lines)
    assert opened.reason() == str(refusal.value)
    return str(refusal.value)


# The start


def test_the_journal_of_a_new_directory_comes_last(bench: Bench) -> None:
    with bench.open() as opened:
        assert opened.graph == DependencyGraph()
        assert [call for call, _ in groupby(bench.files.calls)] == [*new_file("snapshot-1"), *new_file("journal-1")]
    assert names_in(bench.path) == {"journal-1", "snapshot-1"}


@pytest.mark.parametrize("calls", range(1, 11))
def test_an_interrupted_start_is_completed_by_the_next(bench: Bench, calls: int) -> None:
    class KilledError(Exception):
        pass

    def kill(_: str) -> None:
        if len(bench.files.calls) == calls:
            raise KilledError

    bench.files.on_call = kill
    with pytest.raises(KilledError), bench.open():
        pass
    bench.files.end_process()
    bench.files = FaultyFiles()
    with bench.open() as opened:
        assert opened.graph == DependencyGraph()
        opened.commit("INDEX|a|")
    with bench.open() as opened:
        assert opened.graph == graph_of("a")
    assert not any("unfinished" in name for name in names_in(bench.path))


def test_a_directory_can_be_created_with_a_graph(bench: Bench) -> None:
    with DataDirectory.lock(str(bench.path)) as directory:
        Generations.create(directory, graph_of("a", "b")).journal.close()
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


def test_each_directory_has_a_chain_of_its_own(tmp_path: Path) -> None:
    """Old blocks of a deleted directory never look like a batch of another one."""
    starts = set()
    for name in ("a", "b"):
        with DataDirectory.lock(str(tmp_path / name)) as directory:
            Generations.create(directory, graph_of()).journal.close()
        starts.add(JournalReader((tmp_path / name / "journal-1").read_bytes()).after)
    assert len(starts) == 2


@pytest.mark.parametrize("fsync", Fsync)
def test_committed_changes_are_there_again_without_a_save(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as opened:
        opened.commit("INDEX|a|", "INDEX|b|a")
        opened.commit("REMOVE|b|", "INDEX|a|a")
        expected = opened.graph
    with bench.open(fsync) as opened:
        assert opened.graph == expected
        assert opened.graph.dependencies("a") == ("a",)


def test_the_journal_that_was_read_is_written_again_before_it_is_served(bench: Bench) -> None:
    """After a sync that failed, the page cache shows bytes that are not on disk and never will be."""
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    before = (bench.path / "journal-1").stat()
    data = (bench.path / "journal-1").read_bytes()
    with bench.open():
        assert bench.files.calls == ["fsync .", *new_file("journal-1")]
    assert (bench.path / "journal-1").read_bytes() == data
    assert (bench.path / "journal-1").stat().st_ino != before.st_ino


@pytest.mark.parametrize("tail", [b"", b"INDEX|b|\n#seal"])
def test_a_journal_without_batches_is_written_again_too(bench: Bench, tail: bytes) -> None:
    """A failed write may have been truncated; after a power loss, either may be lost or on disk."""
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.save()
    journal = bench.path / "journal-2"
    header, before = journal.read_bytes(), journal.stat().st_ino
    journal.write_bytes(header + tail)
    with bench.open():
        assert bench.files.calls == ["fsync .", *new_file("journal-2")]
    assert journal.read_bytes() == header
    assert journal.stat().st_ino != before


def test_a_tail_is_dropped_and_the_log_has_the_evidence_of_the_seals(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    journal = bench.path / "journal-1"
    sealed = journal.read_bytes()
    for tail in (b"INDEX|b|a\n", b"\0" * 4_096 + b"?", sealed[-60:], bytes(100)):
        journal.write_bytes(sealed + tail)
        caplog.clear()
        with bench.open() as opened:
            assert opened.graph == graph_of("a")
        assert journal.read_bytes() == sealed
        reason = "batch 2 was interrupted while it was written, or the file was cut short since; no seal tells which"
        dropped = f"dropped the last {len(tail)} bytes of {journal}: {reason}"
        assert caplog.messages == ([dropped] if any(tail) else [])  # zeros are room that was never filled


def test_superfluous_files_are_deleted_once_the_newer_ones_are_durable(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.save()
    for name in ("snapshot-1", "journal-1", "snapshot-3.unfinished-77", "journal-3.unfinished-77"):
        (bench.path / name).write_bytes(b"whatever")
    with bench.open() as opened:
        assert opened.graph == graph_of("a")
        assert bench.files.calls[0] == "fsync ."
    assert names_in(bench.path) == {"snapshot-2", "journal-2"}


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        ("snapshot-2", lambda data: data.replace(b"INDEX|a|", b"INDEX|b|"), r"snapshot-2: byte \d+: checksum mismatch"),
        ("journal-2", lambda data: data[:40], r"journal-2: byte 0: not a journal"),
        ("journal-2", lambda data: data.replace(b"INDEX|c|", b"INDEX|x|"), r"journal-2: byte \d+: batch 2 is damaged"),
    ],
)
def test_damage_is_refused_and_changes_nothing(
    bench: Bench, name: str, change: Callable[[bytes], bytes], place: str
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.save()
        opened.commit("INDEX|c|")
        opened.commit("INDEX|d|")
    (bench.path / "journal-3.unfinished-77").write_bytes(b"half")
    path = bench.path / name
    path.write_bytes(change(path.read_bytes()))
    before = bytes_in(bench.path)
    with pytest.raises(DataDirectoryError, match=rf"^cannot read {bench.path}/{place}.*scoop-server check"):
        bench.open().__enter__()
    assert bytes_in(bench.path) == before


@pytest.mark.parametrize(
    "failing", ["create snapshot-1.unfinished", "write snapshot-1.unfinished", "rename snapshot-1", "write journal-1.*"]
)
def test_a_new_directory_that_cannot_be_written_is_one_line(bench: Bench, failing: str) -> None:
    bench.files.fail(failing, errno.ENOSPC)
    with pytest.raises(DataDirectoryError) as failed, bench.open():
        pass
    assert re.fullmatch(
        rf"cannot write {bench.path}/(snapshot|journal)-1(\.unfinished-\d+)?: No space left on device; check the disk, "
        "or name another directory with --data-dir",
        str(failed.value),
    )


@pytest.mark.parametrize("failing", ["fsync journal-1.unfinished", "create journal-1.unfinished", r"fsync \."])
def test_a_journal_that_cannot_be_made_durable_is_one_line(bench: Bench, failing: str) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    bench.files.fail(failing)
    with pytest.raises(DataDirectoryError, match=r"^cannot write .*: Input/output error; check the disk"):
        bench.open().__enter__()


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_start_on_a_full_or_read_only_disk_serves_queries(
    bench: Bench, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    before = bytes_in(bench.path)
    bench.files.fail("create .*", number, times=5)  # the lock file, a trial, the journal twice, a probe
    with bench.open() as opened:
        assert opened.graph == graph_of("a")
        assert os.strerror(number) in opened.reason()
        assert os.strerror(number) in refused(opened, "INDEX|b|")
        assert bytes_in(bench.path) == before
        opened.tick()
        assert opened.reason()
        opened.tick()
        assert opened.reason() == ""
        opened.commit("INDEX|b|")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


# Commits


def test_commits_and_ticks_are_watched_also_if_they_fail(bench: Bench) -> None:
    class SlowWatch(CommitWatch):
        def __enter__(self) -> None:
            super().__enter__()
            bench.now += 2

    with bench.open() as opened:
        opened.store.watch = SlowWatch(bench.clock)
        bench.files.fail("write journal-1", errno.ENOSPC)
        refused(opened, "INDEX|a|")
        opened.tick()
        assert opened.store.watch.slow_seconds == pytest.approx(4)


def test_a_commit_is_one_write_and_one_sync(bench: Bench) -> None:
    with bench.open() as opened:
        for line in ("INDEX|a|", "INDEX|b|a", "REMOVE|b|"):
            bench.files.taken_calls()
            opened.commit(line)
            assert bench.files.calls == ["write journal-1", "fdatasync journal-1"]


def test_a_later_process_creates_a_journal_of_its_own_with_its_first_commit(bench: Bench) -> None:
    """Bytes that were dropped at the start and are still on the disk can then never be mistaken for a batch."""
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    with bench.open() as opened:
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}
        bench.files.taken_calls()
        opened.commit("INDEX|b|a")
        opened.commit("INDEX|c|b")
        assert bench.files.calls == [*new_file("journal-2"), *["write journal-2", "fdatasync journal-2"] * 2]
    reader = JournalReader((bench.path / "journal-2").read_bytes())
    assert list(reader) == ["INDEX|b|a\n", "INDEX|c|b\n"]
    assert reader.head.number == 3
    with bench.open() as opened:
        assert sorted(opened.graph) == ["a", "b", "c"]


# Changes are refused


def test_without_space_nothing_is_kept_and_with_space_changes_are_accepted_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.path / "journal-1"
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        before = path.read_bytes()
        for _ in range(3):
            bench.files.space_left = 30
            assert refused(opened, "INDEX|b|") == f"cannot write to {path}: No space left on device"
            assert path.read_bytes() == before
        bench.files.space_left = None
        opened.commit("INDEX|c|")
        assert opened.reason() == ""
    reason = f"cannot write to {path}: No space left on device"
    assert caplog.messages == [
        f"{reason}; changes are refused until that is resolved, queries continue",
        f"changes to {bench.path} are accepted again",
    ]
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "c")


def test_without_space_each_tick_probes_for_some(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.files.space_left = 0
        refused(opened, "INDEX|b|")
        before = contents_of(bench.path)
        for space_left in (0, 30, PROBE_BYTES - 1):
            bench.files.space_left = space_left
            opened.tick()
            assert opened.reason()
            assert contents_of(bench.path) == before, "it leaves nothing behind"
        bench.files.space_left = PROBE_BYTES
        opened.tick()
        assert opened.reason() == ""
        assert contents_of(bench.path) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS])
def test_a_journal_of_its_own_that_cannot_be_created_now_is_created_later(bench: Bench, number: int) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    with bench.open() as opened:
        bench.files.fail("create journal-2.unfinished", number, times=2)
        for _ in range(2):
            assert refused(opened, "INDEX|b|") == f"cannot create a journal in {bench.path}: {os.strerror(number)}"
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}
        opened.commit("INDEX|c|")
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "c")


@pytest.mark.parametrize("fsync", [Fsync.ALWAYS, Fsync.EVERYSEC])
def test_a_file_system_that_turns_read_only_during_a_sync_is_final(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as opened:
        bench.files.fail("fdatasync journal-1", errno.EROFS)
        if fsync is Fsync.ALWAYS:
            refused(opened, "INDEX|a|")
        else:
            opened.commit("INDEX|a|")
            opened.tick()
        for _ in range(2):
            opened.tick()
            assert refused(opened, "INDEX|b|") == f"cannot sync {bench.path}/journal-1: Read-only file system"
        with pytest.raises(DataDirectoryError, match="its journals hold every acknowledged change"):
            opened.save()


@pytest.mark.parametrize("name", ["journal-1", "journal-2", "snapshot-1"])
def test_a_file_that_is_removed_ends_the_acknowledgements(bench: Bench, name: str) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    with bench.open() as opened:
        opened.commit("INDEX|b|")
        (bench.path / name).unlink()
        bench.now += VERIFY_SECONDS
        assert refused(opened, "INDEX|c|") == f"{bench.path}/{name} was removed while the server ran"
        opened.tick()
        assert opened.reason()
        opened.save()
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


@pytest.mark.parametrize("change", [os.unlink, lambda path: os.truncate(path, 0)])
def test_a_journal_that_is_removed_or_cut_short_ends_them_at_once(bench: Bench, change: Callable[[Path], None]) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        change(bench.path / "journal-1")
        assert re.search("was (removed|cut short) while the server ran", refused(opened, "INDEX|b|"))
        opened.save()
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


@pytest.mark.parametrize("keeps_the_old_one", [False, True])
def test_another_file_in_place_of_a_journal_ends_them_within_a_second(bench: Bench, *, keeps_the_old_one: bool) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        journal = bench.path / "journal-1"
        if keeps_the_old_one:
            os.link(journal, bench.path / "aside")
        Path(shutil.copy(journal, bench.path / "copy")).rename(journal)
        bench.now += VERIFY_SECONDS
        assert re.search("was (removed|replaced by another file) while the server ran", refused(opened, "INDEX|b|"))
        opened.tick()
        assert opened.reason()
        opened.save()
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


def test_a_removed_directory_is_not_created_again(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        shutil.rmtree(bench.path)
        removed = f"the data directory {bench.path} was removed while the server ran"
        assert refused(opened, "INDEX|b|") == f"{bench.path}/journal-1 was removed while the server ran"
        with pytest.raises(DataDirectoryError) as failed:
            opened.save()
        assert str(failed.value) == (
            f"cannot save a snapshot in {bench.path}: {removed}; its files are lost; restore it from a backup"
        )
    assert not bench.path.exists()


def test_another_index_in_place_of_a_removed_directory_is_not_changed(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        shutil.rmtree(bench.path)
        with DataDirectory.lock(str(bench.path)) as directory:
            Generations.create(directory, graph_of("x")).journal.close()
        before = bytes_in(bench.path)
        with pytest.raises(DataDirectoryError, match="was removed while the server ran; its files are lost"):
            opened.save()
        assert bytes_in(bench.path) == before


def test_a_moved_directory_refuses_changes_until_it_is_back(bench: Bench) -> None:
    moved = bench.path.with_name("moved")
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.path.rename(moved)
        opened.commit("INDEX|b|")  # it goes to the moved directory, until the next check
        bench.now += VERIFY_SECONDS
        assert refused(opened, "INDEX|c|") == f"the data directory {bench.path} was moved while the server ran"
        opened.tick()
        with pytest.raises(DataDirectoryError) as failed:
            opened.save()
        assert "its journals hold every acknowledged change" in str(failed.value)
        moved.rename(bench.path)
        opened.tick()
        opened.commit("INDEX|d|")
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b", "d")


@pytest.mark.parametrize("change", [shutil.rmtree, lambda path: path.rename(f"{path}-moved")])
def test_a_directory_that_is_gone_is_noticed_without_a_change(bench: Bench, change: Callable[[Path], None]) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        change(bench.path)
        bench.now += VERIFY_SECONDS
        opened.tick()
        assert re.search("was (removed|moved) while the server ran", opened.reason())


# The disk breaks


@pytest.mark.parametrize("failing", ["write journal-1", "fdatasync journal-1"])
def test_a_commit_that_fails_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open() as opened:
        bench.files.fail(failing)
        with pytest.raises(JournalError, match="Input/output error; the changes of this turn were not acknowledged"):
            opened.commit("INDEX|a|")


@pytest.mark.parametrize("failing", ["create journal-2.unfinished", "fsync journal-2.unfinished", r"fsync \."])
def test_a_journal_of_its_own_that_fails_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
    with bench.open() as opened:
        bench.files.fail(failing)
        with pytest.raises(JournalError, match=r"^cannot create .*: Input/output error; .*check the disk and start ag"):
            opened.commit("INDEX|b|")
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


def test_a_close_that_fails_as_the_journal_is_rotated_loses_nothing(bench: Bench) -> None:
    """NFS, FUSE and quotas report errors there; the descriptor is closed, and a client may have its number."""
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.files.fail("close journal-(1|2.*)", times=2)
        bench.compact_on_request(opened).complete()
        opened.commit("INDEX|b|")
        assert (bench.path / "journal-2").read_bytes().count(b"#seal") == 1
        opened.tick()
    with bench.open() as opened:
        assert opened.graph == graph_of("a", "b")


# Periodic work


def test_everysec_syncs_once_for_all_commits_of_a_second(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as opened:
        bench.files.taken_calls()
        opened.commit("INDEX|a|")
        opened.commit("INDEX|b|")
        assert bench.files.taken_calls() == ["write journal-1"] * 2
        opened.tick()
        assert bench.files.taken_calls() == ["fdatasync journal-1"]
        opened.tick()
        assert bench.files.taken_calls() == []


def test_everysec_syncs_also_while_changes_are_refused(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as opened:
        opened.commit("INDEX|a|")
        bench.files.space_left = 0
        refused(opened, "INDEX|b|")
        opened.tick()
        assert "fdatasync journal-1" in bench.files.calls


def test_a_clock_that_is_set_back_is_one_warning_until_it_has_caught_up(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        for _ in range(2):
            caplog.clear()
            bench.set_back = 3_600.0
            for _ in range(3):
                opened.tick()
            [line] = caplog.messages
            assert line.startswith("the clock was set back: changes have the time 1970-01-01T00:16:40.000Z until ")
            bench.set_back = 0.0
            opened.tick()


@pytest.mark.parametrize("fsync", [Fsync.ALWAYS, Fsync.NEVER])
def test_the_other_policies_have_no_periodic_work(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as opened:
        opened.commit("INDEX|a|")
        bench.files.taken_calls()
        opened.tick()
        assert bench.files.calls == []


def test_a_periodic_sync_that_fails_ends_the_server(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as opened:
        opened.commit("INDEX|a|")
        bench.files.fail("fdatasync journal-1")
        with pytest.raises(JournalError, match="cannot sync"):
            opened.tick()


# The end


def test_a_save_leaves_one_generation_and_is_skipped_without_changes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.files.taken_calls()
        opened.save()
        assert [call for call, _ in groupby(bench.files.taken_calls())] == [
            *new_file("journal-2"),
            *new_file("snapshot-2"),
            "unlink journal-1",
            "unlink snapshot-1",
        ]
        assert (bench.path / "snapshot-2").read_bytes() == snapshot_of(opened.graph)
        opened.save()
        assert bench.files.calls == []
    assert names_in(bench.path) == {"journal-2", "snapshot-2"}
    assert caplog.messages == [
        f"saved 1 package in {bench.path}/snapshot-2",
        f"nothing has changed since {bench.path}/snapshot-2",
    ]


def test_a_save_syncs_what_was_not_synced(bench: Bench) -> None:
    with bench.open(Fsync.NEVER) as opened:
        bench.files.taken_calls()
        opened.commit("INDEX|a|")
        assert bench.files.taken_calls() == ["write journal-1"]
        opened.save()
        assert bench.files.calls[0] == "fdatasync journal-1"


@pytest.mark.parametrize(
    "failing", ["write journal-2.unfinished", "write snapshot-2.unfinished", "fsync snapshot-2.unfinished"]
)
def test_a_save_without_space_loses_nothing(bench: Bench, failing: str) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.files.fail(failing, errno.ENOSPC)
        with pytest.raises(DataDirectoryError) as failed:
            opened.save()
    assert re.fullmatch(
        rf"cannot save a snapshot in {bench.path}: No space left on device; its journals hold every acknowledged "
        "change; check the disk and the path of the directory, and then the files with: scoop-server check",
        str(failed.value),
    )
    with bench.open() as opened:
        assert opened.graph == graph_of("a")


def test_a_failed_save_after_the_journal_was_removed_reports_the_loss(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        (bench.path / "journal-1").unlink()
        refused(opened, "INDEX|b|")
        bench.files.fail("write snapshot-2.unfinished")
        with pytest.raises(DataDirectoryError, match="so its changes are lost; restore the directory from a backup"):
            opened.save()
