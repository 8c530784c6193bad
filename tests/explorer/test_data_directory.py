"""A follower beside a store: its deliveries, also when files are moved, replaced, truncated or damaged."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_core import Changes, DependencyGraph, LoggedBatch, encode_snapshot

from scoop_explorer import data_directory
from scoop_explorer.data_directory import Follower
from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError
from scoop_server.ports import Loaded
from scoop_server.storage.compaction import compact
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OperatingSystem
from scoop_server.storage.generations import Generations

from tests.support.faulty_files import contents_of
from tests.support.journals import written


class Disk(OperatingSystem):
    """Counts the syncs of the follower, and can fail them."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fails = False

    def fdatasync(self, fd: int, /) -> None:  # type: ignore[override]  # the class holds functions of os
        self.syncs += 1
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(fd)


class Server:
    """The part of a server that matters: it owns a directory, a graph and the journal."""

    def __init__(self, path: Path, fsync: Fsync = Fsync.ALWAYS) -> None:
        self.directory = DataDirectory.lock(str(path))
        self.files, self.graph = Generations.open(self.directory, fsync)
        self.files.take_over()

    def commit(self, *lines: str) -> None:
        changes = Changes()
        self.graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
        if not self.files.journal.is_writable:
            self.files.rotate()
        self.files.journal.append(changes.lines)

    def compact(self) -> None:
        self.files.rotate()
        compact(self.directory, self.files.journal.generation)
        self.files.adopt_snapshot()

    def close(self) -> None:
        self.files.journal.close()
        self.directory.close()


class Copy:
    """A graph that is kept up to date by a follower."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.follower = Follower(str(path), disk or Disk())
        self.graph = DependencyGraph()
        self.loads = 0
        self.batch = -1

    def poll(self) -> list[str]:
        """Poll once; return the names that are indexed."""
        for each in self.follower.poll():
            if isinstance(each, Loaded):
                self.graph, self.batch, self.loads = each.graph, each.batch, self.loads + 1
            else:
                self.batch += 1
                assert each.seal.number == self.batch
                self.graph.apply_lines(each.lines)
        return sorted(self.graph)

    def catch_up(self) -> list[str]:
        """Poll until everything was delivered."""
        while True:
            names = self.poll()
            if self.follower.is_current:
                return names


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    server = Server(path)
    yield server
    server.close()


def delivered(follower: Follower) -> list[tuple[str, int]]:
    return [(each.lines, each.seal.number) for each in follower.poll() if isinstance(each, LoggedBatch)]


def test_it_delivers_the_snapshot_and_then_each_batch(path: Path, server: Server) -> None:
    server.commit("INDEX|gmp|")
    follower = Follower(str(path))
    loaded, *rest = follower.poll()
    assert isinstance(loaded, Loaded)
    assert (len(loaded.graph), loaded.batch, rest) == (0, 0, [])
    assert delivered(follower) == [("INDEX|gmp|\n", 1)]
    server.commit("INDEX|isl|gmp", "INDEX|make|")
    server.commit("REMOVE|make|")
    assert delivered(follower) == [("INDEX|isl|gmp\nINDEX|make|\n", 2)]
    assert delivered(follower) == [("REMOVE|make|\n", 3)]
    assert follower.poll() == []
    follower.close()


def test_it_writes_nothing_and_leaves_the_lock_alone(path: Path, server: Server) -> None:
    server.commit("INDEX|gmp|")
    before = contents_of(path), path.stat().st_mtime_ns
    copy = Copy(path)
    assert copy.catch_up() == ["gmp"]
    assert (contents_of(path), path.stat().st_mtime_ns) == before
    server.directory.verify()
    server.close()
    Server(path).close()  # the follower does not keep a server from starting


def test_the_last_batch_is_not_delivered_before_it_is_known_to_be_on_disk(path: Path, server: Server) -> None:
    copy = Copy(path, disk := Disk())
    server.commit("INDEX|a|")
    disk.fails = True
    for _ in range(3):
        assert copy.poll() == []
        assert not copy.follower.is_current
    disk.fails = False
    assert copy.catch_up() == ["a"]


def test_batches_that_a_later_one_proves_need_no_sync(path: Path, server: Server) -> None:
    copy = Copy(path, disk := Disk())
    for name in "abcdef":
        server.commit(f"INDEX|{name}|")
        copy.poll()
        assert not copy.follower.has_more
    assert sorted(copy.graph) == list("abcde")
    assert disk.syncs == 0


def test_without_a_sync_for_each_commit_a_written_batch_is_acknowledged(path: Path) -> None:
    server = Server(path, Fsync.NEVER)
    copy = Copy(path, disk := Disk())
    for name in "abc":
        server.commit(f"INDEX|{name}|")
    assert copy.poll() == ["a", "b", "c"]
    assert copy.follower.is_current
    assert disk.syncs == 0
    server.close()


def test_it_continues_across_rotations(path: Path, server: Server) -> None:
    copy = Copy(path)
    for name in "abc":
        server.commit(f"INDEX|{name}|")
        server.files.rotate()
    assert copy.catch_up() == ["a", "b", "c"]
    assert copy.loads == 1


def test_it_continues_across_a_compaction_that_deletes_the_journal_it_reads(path: Path, server: Server) -> None:
    copy = Copy(path)
    server.commit("INDEX|a|")
    assert copy.catch_up() == ["a"]
    server.commit("INDEX|b|")
    server.compact()
    server.commit("INDEX|c|")
    assert copy.catch_up() == ["a", "b", "c"]
    assert copy.loads == 1


def test_it_loads_the_snapshot_if_compactions_have_left_it_behind(path: Path, server: Server) -> None:
    copy = Copy(path)
    copy.catch_up()
    for name in "abc":
        server.commit(f"INDEX|{name}|")
        server.compact()
    assert copy.catch_up() == ["a", "b", "c"]
    assert copy.loads == 2


def test_it_continues_with_the_next_server(path: Path) -> None:
    copy = Copy(path)
    for name in "abc":
        server = Server(path)
        server.commit(f"INDEX|{name}|")
        assert copy.catch_up()[-1] == name
        server.close()
    assert copy.loads == 1


def test_it_continues_when_a_server_drops_an_interrupted_write(path: Path) -> None:
    server = Server(path)
    server.commit("INDEX|a|")
    server.close()
    with (path / "journal-1").open("ab") as file:
        file.write(b"INDEX|b|\nINDEX|c")
    copy = Copy(path)
    assert copy.catch_up() == ["a"]
    server = Server(path)  # which writes the journal again, in a new file
    server.commit("INDEX|d|")
    assert copy.catch_up() == ["a", "d"]
    assert copy.loads == 1
    server.close()


def test_a_directory_in_place_of_the_followed_one_is_loaded(path: Path, tmp_path: Path, server: Server) -> None:
    copy = Copy(path)
    server.commit("INDEX|a|")
    assert copy.catch_up() == ["a"]
    path.rename(tmp_path / "moved")
    with pytest.raises(DataDirectoryError, match=r"cannot follow .*data: No such file or directory; the last good"):
        copy.poll()
    other = Server(path)
    other.commit("INDEX|b|")
    assert copy.catch_up() == ["b"]
    other.close()


def test_files_in_place_of_the_followed_ones_are_loaded(path: Path, server: Server) -> None:
    copy = Copy(path)
    server.commit("INDEX|a|")
    assert copy.catch_up() == ["a"]
    server.close()
    backup = written([["INDEX|x|"], ["INDEX|y|"]])
    (path / "backup").write_bytes(backup.data)
    (path / "backup").rename(path / "journal-1")
    assert copy.catch_up() == ["x", "y"]
    assert copy.loads == 2


def test_a_missing_directory_is_followed_once_it_is_there(path: Path) -> None:
    copy = Copy(path)
    with pytest.raises(DataDirectoryError):
        copy.poll()
    path.mkdir()
    with pytest.raises(DataDirectoryError, match="it holds no index"):
        copy.poll()
    server = Server(path)
    server.commit("INDEX|a|")
    assert copy.catch_up() == ["a"]
    server.close()


def test_damage_that_stays_is_an_error_and_a_snapshot_ends_it(path: Path) -> None:
    server = Server(path)
    copy = Copy(path)
    copy.catch_up()
    server.commit("INDEX|a|")
    server.commit("INDEX|b|")
    journal = path / "journal-1"
    intact = journal.read_bytes()
    journal.write_bytes(intact.replace(b"INDEX|a|", b"INDEX|A|"))
    copy.poll()  # it may be a write in progress
    for _ in range(2):
        with pytest.raises(DataDirectoryError, match=r"journal-1: byte \d+: batch 1 is damaged"):
            copy.poll()
    assert sorted(copy.graph) == []
    server.directory.write("snapshot", 2, encode_snapshot(server.graph))
    server.directory.write("journal", 2, [written([], generation=2, after=server.files.journal.head).data])
    assert copy.catch_up() == ["a", "b"]
    server.close()


def test_damage_at_the_end_of_a_journal_that_another_one_follows_is_an_error(path: Path, server: Server) -> None:
    copy = Copy(path)
    copy.catch_up()
    server.commit("INDEX|a|")
    server.files.rotate()
    journal = path / "journal-1"
    journal.write_bytes(journal.read_bytes().replace(b"INDEX|a|", b"INDEX|A|"))
    copy.poll()
    with pytest.raises(DataDirectoryError, match="batch 1 is damaged, and another journal follows"):
        copy.poll()


def test_a_journal_that_was_cut_short_is_an_error(path: Path, server: Server) -> None:
    copy = Copy(path)
    server.commit("INDEX|a|")
    copy.catch_up()
    os.truncate(path / "journal-1", 20)
    copy.poll()
    with pytest.raises(DataDirectoryError, match="cut short"):
        copy.poll()


def test_batches_beyond_one_read_follow_in_the_next(
    path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_directory, "READ_BYTES_MAX", 100)
    names = [f"package-{number}" for number in range(200)]
    server.commit(*(f"INDEX|{name}|" for name in names[:100]))
    for name in names[100:]:
        server.commit(f"INDEX|{name}|")
    copy = Copy(path)
    copy.poll()
    assert copy.follower.has_more
    assert copy.catch_up() == sorted(names)
    assert not copy.follower.has_more


def test_a_copy_of_a_directory_can_be_followed(path: Path, tmp_path: Path, server: Server) -> None:
    server.commit("INDEX|a|")
    shutil.copytree(path, tmp_path / "copy")
    assert Copy(tmp_path / "copy").catch_up() == ["a"]
