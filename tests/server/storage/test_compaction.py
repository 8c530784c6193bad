"""Compaction: a function of files that no one changes any more, and the process that carries it out."""

import errno
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server.errors import DataDirectoryError
from scoop_server.storage import compaction
from scoop_server.storage.compaction import CompactionProcess, compact, main
from scoop_server.storage.directory import DataDirectory

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.journals import written
from tests.support.process import WAIT_SECONDS

EMPTY_SNAPSHOT = b"".join(encode_snapshot(DependencyGraph()))

FIRST = written([["INDEX|gmp|", "INDEX|isl|gmp"], ["INDEX|make|"]])
SECOND = written([["REMOVE|isl|"]], generation=2, after=FIRST.head)
THIRD = written([["REMOVE|gmp|"]], generation=3, after=SECOND.head)


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    """Three journals, of which the last is being written."""
    path = tmp_path / "data"
    path.mkdir()
    (path / "snapshot-1").write_bytes(EMPTY_SNAPSHOT)
    (path / "journal-1").write_bytes(FIRST.data)
    (path / "journal-2").write_bytes(SECOND.data)
    (path / "journal-3").write_bytes(THIRD.data[:-5])
    return DataDirectory(str(path))


def snapshot(*packages: str) -> bytes:
    graph = DependencyGraph()
    for package in packages:
        graph.index(package)
    return b"".join(encode_snapshot(graph))


class TestTheFunction:
    def test_a_snapshot_and_its_journals_become_the_next_snapshot_and_nothing_else_changes(
        self, directory: DataDirectory
    ) -> None:
        before = contents_of(Path(directory.path))
        compact(directory, 3)
        after = contents_of(Path(directory.path))
        assert after.pop("snapshot-3")[0] == snapshot("gmp", "make")
        assert after == before

    def test_the_newest_snapshot_is_where_it_begins(self, directory: DataDirectory) -> None:
        compact(directory, 2)
        for name in ("snapshot-1", "journal-1"):
            os.unlink(os.path.join(directory.path, name))
        compact(directory, 3)
        assert directory.read("snapshot", 3) == snapshot("gmp", "make")

    def test_the_snapshot_appears_whole_and_durable(self, directory: DataDirectory) -> None:
        files = FaultyFiles()
        compact(DataDirectory(directory.path, files), 3)
        assert files.calls[0] == "create snapshot-3.unfinished"
        assert files.calls[-3:] == ["fsync snapshot-3.unfinished", "rename snapshot-3", "fsync ."]

    @pytest.mark.parametrize("failing", ["create", "write", "fsync", "rename"])
    def test_what_fails_leaves_everything_as_it_was(self, directory: DataDirectory, failing: str) -> None:
        before = contents_of(Path(directory.path))
        files = FaultyFiles()
        files.fail(rf"{failing} snapshot-3(\.unfinished)?", errno.ENOSPC)
        with pytest.raises(OSError, match="No space left on device"):
            compact(DataDirectory(directory.path, files), 3)
        assert contents_of(Path(directory.path)) == before

    @pytest.mark.parametrize("generation", [5, 9])
    def test_a_generation_whose_journals_are_not_there(self, directory: DataDirectory, generation: int) -> None:
        before = contents_of(Path(directory.path))
        os.unlink(directory.file("journal", 3))
        del before["journal-3"]
        with pytest.raises(DataDirectoryError, match=rf"the files before .*/snapshot-{generation} are not there"):
            compact(directory, generation)
        assert contents_of(Path(directory.path)) == before

    def test_a_directory_of_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DataDirectoryError, match=r"the files before .*/snapshot-2 are not there"):
            compact(DataDirectory(str(tmp_path)), 2)
        assert names_in(tmp_path) == set()

    def test_damage_is_not_compacted(self, directory: DataDirectory) -> None:
        Path(directory.file("journal", 2)).write_bytes(SECOND.data[:-1])
        before = contents_of(Path(directory.path))
        with pytest.raises(DataDirectoryError, match=r"cannot read .*/journal-2: byte \d+: a batch is broken"):
            compact(directory, 3)
        assert contents_of(Path(directory.path)) == before


def wait_for(process: CompactionProcess) -> int:
    """Wait until it has ended; return its exit status."""
    return process._process.wait(WAIT_SECONDS)


class TestTheProcess:
    def test_nothing_is_imported_from_the_working_directory(
        self, directory: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("scoop_core", "scoop_server"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit(7)")
        monkeypatch.chdir(tmp_path)
        assert wait_for(CompactionProcess(directory, 3)) == 0

    def test_it_ends_with_0_when_the_snapshot_is_there(self, directory: DataDirectory) -> None:
        process = CompactionProcess(directory, 3)
        assert wait_for(process) == 0
        assert directory.read("snapshot", 3) == snapshot("gmp", "make")
        assert process.poll() == 0

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("journal-2", "scoop-server: compaction: cannot read {path}/journal-2: No such file or directory; "),
            ("journal-1", "scoop-server: compaction: {path}/journal-1 is missing; "),
            ("snapshot-1", "scoop-server: compaction: {path}/snapshot-1 is missing; "),
        ],
    )
    def test_what_cannot_be_read_is_one_line_and_status_1(
        self, directory: DataDirectory, name: str, line: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = Path(directory.path)
        (path / name).unlink()
        if name == "journal-2":
            (path / name).symlink_to("nowhere")
        process = CompactionProcess(directory, 3)
        assert wait_for(process) == 1
        printed = capfd.readouterr().err
        assert printed.startswith(line.format(path=path))
        assert printed.count("\n") == 1
        assert "snapshot-3" not in names_in(path)

    def test_killing_it_leaves_everything_as_it_was(self, directory: DataDirectory) -> None:
        path = Path(directory.path)
        # A journal that never ends is read for ever.
        (path / "journal-2").unlink()
        os.mkfifo(path / "journal-2")
        process = CompactionProcess(directory, 3)
        with ThreadPoolExecutor() as pool:
            # A pipe can be opened when the other side is there: then the process has come this far.
            opened = pool.submit((path / "journal-2").open, "wb")
            try:
                with opened.result(WAIT_SECONDS):
                    assert process.poll() is None
                    assert os.getpgid(process._process.pid) != os.getpgid(0)  # ^C is not for it
                    process.kill()
            finally:
                process.kill()
                os.close(os.open(path / "journal-2", os.O_RDONLY | os.O_NONBLOCK))  # lets go of whoever still opens it
        assert process.poll() == -signal.SIGKILL
        (path / "journal-2").unlink()
        assert names_in(path) == {"snapshot-1", "journal-1", "journal-3"}

    def test_it_stands_back_behind_the_server(self, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
        steps: list[object] = []
        monkeypatch.setattr(os, "nice", steps.append)
        monkeypatch.setattr(compaction, "compact", lambda *_: steps.append("compact"))
        assert main(directory.path, "3") == 0
        assert steps == [10, "compact"]

    @pytest.mark.parametrize("names_a_file", [True, False])
    def test_what_cannot_be_written_is_one_line_and_status_1(
        self,
        directory: DataDirectory,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        names_a_file: bool,
    ) -> None:
        def fail(*_: object) -> None:
            file = (directory.file("snapshot", 3),) if names_a_file else ()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *file)

        monkeypatch.setattr(os, "nice", lambda _: 0)
        monkeypatch.setattr(compaction, "compact", fail)
        assert main(directory.path, "3") == 1
        place = directory.file("snapshot", 3) if names_a_file else directory.path
        assert capsys.readouterr().err == (f"scoop-server: compaction: cannot write {place}: No space left on device\n")

    def test_one_that_cannot_be_started_is_an_error_of_the_system(
        self, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(FileNotFoundError):
            CompactionProcess(directory, 3)
