"""The history of a data directory: which files are kept, for how long, and what a full disk takes of it."""

import errno
import logging
from pathlib import Path

import pytest

from scoop_core import JournalReader, decode_snapshot

from scoop_server.config.settings import Fsync
from scoop_server.storage.history import Retention

from tests.support.faulty_files import names_in
from tests.support.storage import Bench, Opened, graph_of

KEPT = Retention(seconds=1_000.0)
LONG = [f"INDEX|{'long' * 50}-{number}|" for number in range(20)]
"""Changes whose journal is larger than the snapshots here."""


def history_of(bench: Bench) -> set[str]:
    """Return the names of the kept files."""
    folder = bench.path / "history"
    return names_in(folder) if folder.exists() else set()


def compact(bench: Bench, opened: Opened) -> None:
    """Run a compaction to its end."""
    bench.compact_on_request(opened).complete()
    opened.tick()


def test_without_history_nothing_is_kept(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        compact(bench, opened)
    assert names_in(bench.path) == {"snapshot-2", "journal-2"}


def test_superseded_files_are_renamed_and_never_written_again(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit("INDEX|a|")
        before = {path.name: path.stat().st_ino for path in bench.path.glob("*-1")}
        compact(bench, opened)
        assert history_of(bench) == {"snapshot-1", "journal-1"}
        assert {path.name: path.stat().st_ino for path in (bench.path / "history").iterdir()} == before
        assert names_in(bench.path) == {"snapshot-2", "journal-2", "history"}
        opened.commit("INDEX|b|")
    with bench.open(retention=KEPT) as opened:
        assert opened.graph == graph_of("a", "b")
        opened.commit("INDEX|c|")
        opened.save()
    journals = [(bench.path / "history" / f"journal-{number}").read_bytes() for number in (1, 2, 3)]
    assert ["".join(JournalReader(data)) for data in journals] == ["INDEX|a|\n", "INDEX|b|\n", "INDEX|c|\n"]
    assert decode_snapshot((bench.path / "snapshot-4").read_bytes()) == graph_of("a", "b", "c")


def test_all_journals_are_kept_and_a_snapshot_where_the_journals_since_the_last_are_as_large(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit(*LONG)  # a large journal follows the snapshot of the empty index
        compact(bench, opened)
        for name in "abc":
            opened.commit(f"INDEX|{name}|")
            compact(bench, opened)
        assert history_of(bench) == {"snapshot-1", "snapshot-2", *(f"journal-{number}" for number in range(1, 5))}
        for number in range(20):
            opened.commit(f"INDEX|a|{'long' * 50}-{number}")
        compact(bench, opened)
        opened.commit("REMOVE|a|")
        compact(bench, opened)
        assert {name for name in history_of(bench) if name.startswith("snap")} == {
            f"snapshot-{number}" for number in (1, 2, 6)
        }


def test_segments_are_deleted_by_age_as_a_whole(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit(*LONG)
        compact(bench, opened)
        bench.now += 600
        opened.commit("INDEX|a|")
        compact(bench, opened)
        assert history_of(bench) == {"snapshot-1", "journal-1", "snapshot-2", "journal-2"}
        bench.now += 600  # the first segment is too old, the second is not
        opened.commit("INDEX|b|")
        compact(bench, opened)
        assert history_of(bench) == {"snapshot-2", "journal-2", "journal-3"}
        bench.now += 1_001
        opened.commit("INDEX|c|")
        compact(bench, opened)
        assert history_of(bench) == {"snapshot-2", "journal-2", "journal-3", "journal-4"}, "its last batch is new"


def test_segments_are_deleted_by_size_the_oldest_first(bench: Bench) -> None:
    with bench.open(retention=Retention(seconds=1e9, bytes_max=20_000)) as opened:
        for _ in range(5):
            opened.commit(*LONG)
            opened.commit(*[line.replace("INDEX", "REMOVE") for line in LONG])
            compact(bench, opened)
    assert history_of(bench) == {"snapshot-4", "journal-4", "snapshot-5", "journal-5"}


def test_a_segment_loses_its_snapshot_first(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit(*LONG)
        compact(bench, opened)
        opened.commit("INDEX|a|")
        compact(bench, opened)
        bench.now += 2_000
        bench.files.fail("unlink journal-1", errno.EIO)
        opened.commit("INDEX|b|")
        compact(bench, opened)
        assert "snapshot-1" not in history_of(bench)
        assert "journal-1" in history_of(bench)
        opened.commit("INDEX|c|")
        compact(bench, opened)
        assert "journal-1" not in history_of(bench), "the rest of a segment is deleted later"


def test_a_full_disk_takes_history_before_changes_are_refused(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with bench.open(retention=KEPT) as opened:
        opened.commit(*LONG)
        compact(bench, opened)
        opened.commit("INDEX|a|")
        compact(bench, opened)
        opened.commit("INDEX|b|")
        bench.files.fail("write journal-3", errno.ENOSPC, times=2)
        opened.commit("INDEX|c|")
        assert opened.reason() == ""
        assert history_of(bench) == set()
        gone = [line for line in caplog.messages if "gave up its history up to 1970-01-01T00:16:40.000Z" in line]
        assert len(gone) == 2
        bench.files.fail("write journal-3", errno.ENOSPC)
        with pytest.raises(Exception, match="No space left on device"):
            opened.commit("INDEX|d|")
    with bench.open(retention=KEPT) as opened:
        assert set(opened.graph) > {"a", "b", "c"}
        assert "d" not in opened.graph


def test_history_goes_before_it_makes_compactions_frequent(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit(*LONG)
        compact(bench, opened)
        bench.files.free = 1_000_000
        bench.now += 2.0
        opened.tick()
        assert history_of(bench) == set()
        assert opened.reason() == ""


def test_files_that_cannot_be_moved_stay_until_they_can(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:
        opened.commit("INDEX|a|")
        bench.files.fail("rename journal-1", errno.EIO)
        compact(bench, opened)
        assert names_in(bench.path) == {"journal-1", "snapshot-2", "journal-2", "history"}
    with bench.open(Fsync.ALWAYS, retention=KEPT):
        assert names_in(bench.path) == {"snapshot-2", "journal-2", "history"}
        assert history_of(bench) == {"snapshot-1", "journal-1"}


def test_a_start_moves_what_the_last_process_has_left(bench: Bench, tmp_path: Path) -> None:
    del tmp_path
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        bench.compact_on_request(opened).complete()  # not adopted
    with bench.open(retention=KEPT):
        assert history_of(bench) == {"snapshot-1", "journal-1"}
