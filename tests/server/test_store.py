import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scoop_core import Changes, DependencyGraph, encode_snapshot

from scoop_server.compaction import CompactionProcess
from scoop_server.data_directory import DataDirectory, DataDirectoryError
from scoop_server.journal import Fsync
from scoop_server.store import JournalStore, MemoryStore


@contextmanager
def opened(path: Path, fsync: Fsync = Fsync.ALWAYS) -> Iterator[JournalStore]:
    store = JournalStore(DataDirectory(str(path)), fsync, lambda: 0.0, CompactionProcess)
    try:
        yield store
    finally:
        store.close()


def commit(store: JournalStore, *lines: str) -> None:
    """Apply requests, and commit what they change, as one turn does."""
    changes = Changes()
    answers = store.graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
    assert answers == "OK\n" * len(lines)
    store.commit(changes)


def names_in(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


def test_a_new_directory_begins_empty(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.graph == DependencyGraph()
    assert names_in(tmp_path) == {"journal-1", "snapshot-1"}


@pytest.mark.parametrize("fsync", Fsync)
def test_what_was_committed_is_there_again_without_a_save(tmp_path: Path, fsync: Fsync) -> None:
    with opened(tmp_path, fsync) as store:
        commit(store, "INDEX|a|", "INDEX|b|a")
        commit(store, "REMOVE|b|", "INDEX|a|a")
        expected = store.graph
    with opened(tmp_path, fsync) as store:
        assert store.graph == expected
        assert store.graph.dependencies("a") == ("a",)


def test_a_save_leaves_one_generation_and_is_skipped_where_nothing_changed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, "INDEX|a|")
        store.save()
        assert names_in(tmp_path) == {"journal-2", "snapshot-2"}
        assert (tmp_path / "snapshot-2").read_bytes() == b"".join(encode_snapshot(store.graph))
        store.save()
    assert names_in(tmp_path) == {"journal-2", "snapshot-2"}


def test_a_tail_is_dropped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as store:
        commit(store, "INDEX|a|")
    sealed = (tmp_path / "journal-1").read_bytes()
    (tmp_path / "journal-1").write_bytes(sealed + b"INDEX|b|a\n")
    with caplog.at_level(logging.WARNING), opened(tmp_path) as store:
        assert list(store.graph) == ["a"]
    assert "dropped the last 10 bytes of" in caplog.text
    assert (tmp_path / "journal-1").read_bytes() == sealed


def test_a_damaged_snapshot_is_refused_and_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, "INDEX|a|")
        store.save()
    damaged = (tmp_path / "snapshot-2").read_bytes().replace(b"INDEX|a|", b"INDEX|b|")
    (tmp_path / "snapshot-2").write_bytes(damaged)
    with (
        pytest.raises(DataDirectoryError, match=r"cannot read .*/snapshot-2: byte [0-9]+: the checksum"),
        opened(tmp_path),
    ):
        raise AssertionError("it was read")
    assert (tmp_path / "snapshot-2").read_bytes() == damaged


def test_memory_keeps_nothing() -> None:
    store = MemoryStore()
    store.commit(Changes())
    store.tick()
    assert not store.wants_tick
