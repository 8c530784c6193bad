"""The files of a data directory: each is entire and durable or not there, in the directory that was opened."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from scoop_server.errors import ReadOnlyError
from scoop_server.storage.directory import DataDirectory

from tests.support.faulty_files import FaultyFiles, contents_of, names_in

NEW_FILE = ["create snapshot-7.unfinished", "write snapshot-7.unfinished", "fsync snapshot-7.unfinished"]


class TestGenerations:
    def test_they_come_in_the_order_of_their_numbers(self, directory: DataDirectory, tmp_path: Path) -> None:
        for name in ("journal-9", "snapshot-10", "journal-10", "snapshot-9", "journal-123456789012345678"):
            (tmp_path / name).touch()
        assert directory.generations("snapshot") == [9, 10]
        assert directory.generations("journal") == [9, 10, 123_456_789_012_345_678]

    @pytest.mark.parametrize(
        "name",
        [
            "snapshot",
            "snapshot-",
            "snapshot-0",
            "snapshot-01",
            "snapshot-+1",
            "snapshot--1",
            "snapshot-1 ",
            "snapshot-1\n",
            "snapshot-1.bak",
            "snapshot-1.unfinished",
            "snapshot-1.unfinished-",
            "snapshot-1.unfinished-77",
            "Snapshot-1",
            "my-snapshot-1",
            "snapshot-1234567890123456789",
            "snapshot-\N{ARABIC-INDIC DIGIT ONE}",
            "lock",
        ],
    )
    def test_other_names_do_not_count(self, directory: DataDirectory, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        assert directory.generations("snapshot") == []
        assert directory.generations("journal") == []

    def test_the_path_of_a_file(self, directory: DataDirectory, tmp_path: Path) -> None:
        assert directory.file("journal", 12) == f"{tmp_path}/journal-12"


class TestReading:
    @pytest.mark.parametrize("piece", [None, 1, 3])
    def test_a_file_is_read_whole_in_as_many_pieces_as_it_takes(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, piece: int | None
    ) -> None:
        (tmp_path / "journal-1").write_bytes(b"0123456789\0\n")
        files.piece_bytes_max = piece
        assert directory.read("journal", 1) == b"0123456789\0\n"
        assert directory.size("journal", 1) == 12
        assert files.calls == []

    def test_an_empty_file(self, directory: DataDirectory, tmp_path: Path) -> None:
        (tmp_path / "journal-1").touch()
        assert (directory.read("journal", 1), directory.size("journal", 1)) == (b"", 0)

    @pytest.mark.parametrize("call", ["open", "read", "stat"])
    def test_an_error_names_the_file(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, call: str
    ) -> None:
        (tmp_path / "journal-1").touch()
        files.fail(f"{call} journal-1")
        look = directory.size if call == "stat" else directory.read
        with pytest.raises(OSError, match="Input/output error") as failed:
            look("journal", 1)
        assert (failed.value.errno, failed.value.filename) == (errno.EIO, str(tmp_path / "journal-1"))

    def test_a_directory_in_place_of_a_file(self, directory: DataDirectory, tmp_path: Path) -> None:
        (tmp_path / "journal-1").mkdir()
        with pytest.raises(OSError, match="it is not a regular file") as failed:
            directory.read("journal", 1)
        assert failed.value.filename == str(tmp_path / "journal-1")


class TestWriting:
    def test_a_file_is_synced_before_its_rename_and_the_directory_before_the_return(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        assert directory.write("snapshot", 7, [b"abc", b"", b"defg"]) == 7
        assert files.calls == [
            "create snapshot-7.unfinished",
            "write snapshot-7.unfinished",
            "write snapshot-7.unfinished",
            "fsync snapshot-7.unfinished",
            "rename snapshot-7",
            "fsync .",
        ]
        assert names_in(tmp_path) == {"snapshot-7"}
        assert directory.read("snapshot", 7) == b"abcdefg"

    def test_a_file_is_its_owners_alone(self, directory: DataDirectory, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            directory.write("snapshot", 7, [b"abc"])
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "snapshot-7").stat().st_mode) == 0o600

    def test_a_file_of_that_name_is_replaced(self, directory: DataDirectory, tmp_path: Path) -> None:
        (tmp_path / "snapshot-7").write_bytes(b"something longer")
        (tmp_path / f"snapshot-7.unfinished-{os.getpid()}").write_bytes(b"left by a process of the same number")
        directory.write("snapshot", 7, [b"abc"])
        assert names_in(tmp_path) == {"snapshot-7"}
        assert directory.read("snapshot", 7) == b"abc"

    def test_files_that_another_process_is_writing_are_kept(self, directory: DataDirectory, tmp_path: Path) -> None:
        other = tmp_path / f"snapshot-7.unfinished-{os.getppid()}"
        other.write_bytes(b"half")
        directory.write("snapshot", 7, [b"abc"])
        assert other.read_bytes() == b"half"

    def test_short_writes_are_completed(self, directory: DataDirectory, files: FaultyFiles) -> None:
        files.piece_bytes_max = 4
        assert directory.write("snapshot", 7, [b"abcdefghij", b"klm"]) == 13
        assert files.calls.count("write snapshot-7.unfinished") == 4
        assert directory.read("snapshot", 7) == b"abcdefghijklm"

    @pytest.mark.parametrize("failing", [*NEW_FILE, "rename snapshot-7"])
    @pytest.mark.parametrize("is_new", [True, False])
    def test_a_failed_write_changes_nothing(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, failing: str, is_new: bool
    ) -> None:
        if not is_new:
            (tmp_path / "snapshot-7").write_bytes(b"as it was")
        before = contents_of(tmp_path)
        files.fail(re.escape(failing), errno.ENOSPC)
        with pytest.raises(OSError, match="No space left on device") as failed:
            directory.write("snapshot", 7, [b"abc"])
        assert failed.value.errno == errno.ENOSPC
        assert contents_of(tmp_path) == before
        assert directory.write("snapshot", 7, [b"abc"]) == 3

    def test_no_space_within_a_batch_keeps_nothing_of_it(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        files.space_left = 5
        with pytest.raises(OSError, match="No space left on device"):
            directory.write("snapshot", 7, [b"abc", b"defg"])
        assert names_in(tmp_path) == set()

    def test_an_error_names_the_file(self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path) -> None:
        files.fail("fsync snapshot-7.unfinished")
        with pytest.raises(OSError, match="Input/output error") as failed:
            directory.write("snapshot", 7, [b"abc"])
        assert str(failed.value.filename).startswith(str(tmp_path / "snapshot-7"))

    def test_a_name_that_is_not_durable_is_an_error(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        files.fail(r"fsync \.")
        with pytest.raises(OSError, match="Input/output error") as failed:
            directory.write("snapshot", 7, [b"abc"])
        assert failed.value.filename == str(tmp_path)
        assert names_in(tmp_path) == {"snapshot-7"}

    def test_the_first_error_is_raised_if_cleaning_up_fails_too(
        self, directory: DataDirectory, files: FaultyFiles
    ) -> None:
        files.fail("write snapshot-7.unfinished", errno.ENOSPC)
        files.fail("unlink snapshot-7.unfinished", errno.EROFS)
        with pytest.raises(OSError, match="No space left on device"):
            directory.write("snapshot", 7, [b"abc"])
        assert files.calls[-1] == "unlink snapshot-7.unfinished"

    def test_a_close_that_fails_after_the_sync_is_logged(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        files.fail(r"close snapshot-7\.unfinished")
        assert directory.write("snapshot", 7, [b"abc"]) == 3
        assert re.fullmatch(
            rf"error while closing {tmp_path}/snapshot-7\.unfinished-\d+: Input/output error", caplog.messages[0]
        )
        assert directory.read("snapshot", 7) == b"abc"


class TestAnotherDirectoryInItsPlace:
    """A backup, or the directory of another server."""

    @pytest.fixture
    def replaced(self, tmp_path: Path) -> Path:
        path = tmp_path / "data"
        path.mkdir()
        (path / "journal-1").write_bytes(b"ours")
        return path

    def replace(self, path: Path) -> None:
        path.rename(path.with_name("moved"))
        path.mkdir()
        for name in ("journal-1", "snapshot-7"):
            (path / name).write_bytes(b"theirs")

    def test_nothing_in_it_is_read_written_or_deleted(self, replaced: Path) -> None:
        with DataDirectory.lock(str(replaced)) as directory:
            self.replace(replaced)
            before = contents_of(replaced)
            assert directory.read("journal", 1) == b"ours"
            assert directory.generations("snapshot") == []
            with pytest.raises(ReadOnlyError, match="moved while the server ran, and another one is at its path"):
                directory.write("snapshot", 7, [b"abc"])
            with pytest.raises(ReadOnlyError, match="moved while the server ran, and another one is at its path"):
                directory.delete_before(2)
            assert contents_of(replaced) == before
            assert names_in(replaced.with_name("moved")) == {"journal-1"}

    def test_its_lock_is_not_that_of_a_duplicate(self, replaced: Path) -> None:
        """A compaction may outlive its server, and must not lock out the next one."""
        directory = DataDirectory.lock(str(replaced))
        with DataDirectory(str(replaced), descriptor=directory.duplicate()) as duplicate:
            directory.close()
            DataDirectory.lock(str(replaced)).close()
            assert duplicate.read("journal", 1) == b"ours"


class TestDeleting:
    def test_only_superfluous_files_are_deleted(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        superfluous = {"snapshot-1", "journal-1", "journal-2", "snapshot-9.unfinished-12", "journal-3.unfinished-1"}
        kept = {"snapshot-3", "journal-3", "journal-4", "snapshot-10", "notes", "snapshot-1.bak", "journal-01"}
        for name in (*superfluous, *kept, "lock"):
            (tmp_path / name).write_bytes(b"something")
        directory.delete_before(3)
        assert names_in(tmp_path) == kept
        assert (tmp_path / "lock").exists()
        assert len(files.calls) == len(superfluous)

    def test_a_failed_deletion_is_raised(self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path) -> None:
        (tmp_path / "journal-1").touch()
        files.fail("unlink journal-1", errno.EROFS)
        with pytest.raises(OSError, match="Read-only file system"):
            directory.delete_before(2)
