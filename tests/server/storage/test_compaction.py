"""Compaction: a function of files that are no longer changed, and the process that runs it."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_server.errors import DataDirectoryError
from scoop_server.storage import compaction
from scoop_server.storage.compaction import compact, main, start_compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.telemetry.workers import ChildProcess

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.journals import written
from tests.support.storage import graph_of, snapshot_of

FIRST = written([["INDEX|gmp|", "INDEX|isl|gmp"], ["INDEX|make|"]])
SECOND = written([["REMOVE|isl|"]], generation=2, after=FIRST.head)
THIRD = written([["REMOVE|gmp|"]], generation=3, after=SECOND.head)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    """A directory with three journals, of which the last is being written."""
    path = tmp_path / "data"
    path.mkdir()
    (path / "snapshot-1").write_bytes(snapshot_of(DependencyGraph()))
    (path / "journal-1").write_bytes(FIRST.data)
    (path / "journal-2").write_bytes(SECOND.data)
    (path / "journal-3").write_bytes(THIRD.data[:-5])
    with DataDirectory(str(path)) as opened:
        yield opened


def snapshot(*packages: str) -> bytes:
    return snapshot_of(graph_of(*packages))


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

    def test_damage_is_not_compacted(self, directory: DataDirectory) -> None:
        Path(directory.file("journal", 2)).write_bytes(SECOND.data[:-1])
        before = contents_of(Path(directory.path))
        with pytest.raises(DataDirectoryError, match=r"cannot read .*/journal-2: byte \d+: a batch is damaged"):
            compact(directory, 3)
        assert contents_of(Path(directory.path)) == before


def start(directory: DataDirectory, niceness: int = 0) -> ChildProcess:
    """Start the compaction into snapshot 3."""
    return start_compaction(directory, 3, niceness, "text")


def wait_for(process: ChildProcess) -> int | None:
    """Wait until it has ended; return its exit status."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process.poll()


class TestTheProcess:
    def test_nothing_is_imported_from_the_working_directory(
        self, directory: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("scoop_core", "scoop_server"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit(7)")
        monkeypatch.chdir(tmp_path)
        assert wait_for(start(directory)) == 0

    def test_it_ends_with_0_when_the_snapshot_is_durable(self, directory: DataDirectory) -> None:
        process = start(directory)
        assert wait_for(process) == 0
        assert directory.read("snapshot", 3) == snapshot("gmp", "make")
        assert process.poll() == 0

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("journal-2", "cannot read {path}/journal-2: Too many levels of symbolic links; "),
            ("journal-1", "{path}/journal-1 is missing; "),
            ("snapshot-1", "{path}/snapshot-1 is missing; "),
        ],
    )
    def test_unreadable_input_is_one_line_and_status_1(
        self, directory: DataDirectory, name: str, line: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = Path(directory.path)
        (path / name).unlink()
        if name == "journal-2":
            (path / name).symlink_to("journal-2")
        process = start(directory)
        assert wait_for(process) == 1
        printed = capfd.readouterr().err
        assert re.match(
            r"\d{4}-\d\d-\d\dT[\d:.]+Z ERROR compaction failed: " + re.escape(line.format(path=path)), printed
        )
        assert printed.count("\n") == 1
        assert "snapshot-3" not in names_in(path)

    def test_out_of_memory_is_one_line_and_status_1(
        self, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(compaction, "compact", fail)
        monkeypatch.setattr(compaction, "run_child", lambda work, *_: work())
        assert main(str(directory.duplicate()), directory.path, "3", "0", "text") == 1
        assert caplog.messages == ["compaction failed: out of memory"]

    def test_one_that_cannot_be_started_is_an_error_of_the_system(
        self, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(FileNotFoundError):
            start(directory)

    def test_one_without_a_pipe_leaves_no_descriptor_open(
        self, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> tuple[int, int]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(os, "pipe", fail)
        with pytest.raises(OSError, match="Too many open files"):
            start(directory)
        opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert opened.count(directory.path) == 1

    def test_it_runs_although_a_close_reports_an_error(self, tmp_path: Path, directory: DataDirectory) -> None:
        files = FaultyFiles()
        with DataDirectory(str(tmp_path / "data"), files) as faulty:
            files.fail(r"close \.")
            assert wait_for(start(faulty)) == 0
        assert directory.read("snapshot", 3) == snapshot("gmp", "make")
