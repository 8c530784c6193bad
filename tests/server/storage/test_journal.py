"""The journal that is being written: one write and one sync for each commit, and what happens if either fails."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scoop_core import NO_BATCH, JournalReader, Seal, encode_journal_header

from scoop_server.config.peer import quote_name
from scoop_server.config.settings import Fsync
from scoop_server.errors import JournalError, ReadOnlyError
from scoop_server.storage import journal as journal_module
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.journal import Journal

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.journals import written

COMMIT = ["write journal-1", "fdatasync journal-1"]

BATCHES = [["INDEX|gmp|", "INDEX|isl|gmp"], ["REMOVE|isl|"], ["INDEX|gmp|gmp"]]


@pytest.fixture
def journal(directory: DataDirectory, files: FaultyFiles) -> Iterator[Journal]:
    with closing(Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)) as new:
        files.taken_calls()
        yield new


def texts_in(path: Path) -> list[str]:
    """Return the batches of a journal that has no tail."""
    reader = JournalReader(path.read_bytes())
    texts = list(reader)
    assert reader.unsealed_bytes == 0
    return texts


def text_of(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class TestCreating:
    def test_a_journal_appears_whole_and_durable(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        after = Seal(16, 0x5D1F00AA)
        header, start = encode_journal_header(4, after)
        with closing(Journal.create(directory, 4, after, Fsync.ALWAYS)) as journal:
            assert files.calls == [
                "create journal-4.unfinished",
                "write journal-4.unfinished",
                "fsync journal-4.unfinished",
                "rename journal-4",
                "fsync .",
            ]
            assert (tmp_path / "journal-4").read_bytes() == header
            assert (journal.generation, journal.path) == (4, f"{tmp_path}/journal-4")
            assert (journal.size, journal.head, journal.is_synced) == (len(header), start, True)

    @pytest.mark.parametrize("failing", ["create", "write", "fsync", "rename"])
    def test_a_failure_before_the_rename_leaves_no_file(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, failing: str
    ) -> None:
        files.fail(rf"{failing} journal-1(\.unfinished)?", errno.ENOSPC)
        with pytest.raises(OSError, match="No space left on device"):
            Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)
        assert names_in(tmp_path) == set()

    def test_without_free_descriptors_it_is_known_that_no_journal_was_created(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        """Not even the directory can be listed then."""
        files.fail(r"(create|open|listdir) .*", errno.EMFILE, times=100)
        with pytest.raises(OSError, match="Too many open files"):
            Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)
        assert names_in(tmp_path) == set()

    @pytest.mark.parametrize(("failing", "verb"), [(r"fsync \.", "create"), ("open journal-1", "open")])
    def test_a_failure_after_the_rename_ends_the_process(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, failing: str, verb: str
    ) -> None:
        """Were the journal before it continued, and this one there again after a power loss, they would not fit."""
        files.fail(failing)
        files.fail("listdir .*")
        with pytest.raises(JournalError) as failed:
            Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)
        assert str(failed.value) == (
            f"cannot {verb} {tmp_path}/journal-1: Input/output error; the changes of this turn were not "
            "acknowledged, so check the disk and start again"
        )


class TestAppending:
    def test_a_commit_is_one_write_and_one_sync(self, journal: Journal, files: FaultyFiles, tmp_path: Path) -> None:
        for lines in BATCHES:
            journal.append(lines)
            assert files.taken_calls() == COMMIT
            assert journal.is_synced
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES).data
        assert (journal.size, journal.head) == (len(written(BATCHES).data), written(BATCHES).head)

    def test_every_identity_is_read_again(self, journal: Journal, tmp_path: Path) -> None:
        names = [f"CN={chr(each)}" for each in (*range(0xD800), *range(0xE000, 0x11000))]
        authors = [(number, quote_name(name)) for number, name in enumerate(["anonymous", "uid=0", *names])]
        journal.append(["REMOVE|isl|"] * len(authors), authors=authors)
        reader = JournalReader((tmp_path / "journal-1").read_bytes())
        assert [reader.authors for _ in reader] == [tuple(authors)]

    def test_a_write_that_takes_a_part_is_completed(self, journal: Journal, files: FaultyFiles, tmp_path: Path) -> None:
        files.piece_bytes_max = 40
        journal.append(BATCHES[0])
        batch = len(written(BATCHES[:1]).batches[0])
        assert files.calls == ["write journal-1"] * -(-batch // 40) + ["fdatasync journal-1"]
        assert texts_in(tmp_path / "journal-1") == [text_of(BATCHES[0])]

    def test_never_leaves_syncing_to_the_system(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        with closing(Journal.create(directory, 1, NO_BATCH, Fsync.NEVER)) as journal:
            files.taken_calls()
            for lines in BATCHES:
                journal.append(lines)
                assert not journal.is_synced
            assert files.taken_calls() == ["write journal-1"] * 3
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES, synced=lambda _: 0).data

    def test_everysec_syncs_only_on_request(self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path) -> None:
        with closing(Journal.create(directory, 1, NO_BATCH, Fsync.EVERYSEC)) as journal:
            files.taken_calls()
            journal.append(BATCHES[0])
            journal.append(BATCHES[1])
            is_synced = [journal.is_synced]
            journal.sync()
            is_synced.append(journal.is_synced)
            journal.sync()
            journal.append(BATCHES[2])
            is_synced.append(journal.is_synced)
            assert is_synced == [False, True, False]
            assert files.taken_calls() == [
                "write journal-1",
                "write journal-1",
                "fdatasync journal-1",
                "write journal-1",
            ]
        synced = {1: 0, 2: 0, 3: 2}
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES, synced=synced.__getitem__).data


class TestNoSpace:
    @pytest.mark.parametrize("left", [0, 1, 20, 97])
    def test_the_journal_is_truncated_to_its_last_seal_and_continues_when_there_is_space(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, left: int
    ) -> None:
        journal.append(BATCHES[0])
        sealed = (journal.size, journal.head)
        before = contents_of(tmp_path)["journal-1"][0]
        files.taken_calls()
        for _ in range(2):
            files.space_left = left
            with pytest.raises(ReadOnlyError) as failed:
                journal.append(["INDEX|" + "n" * 255 + "|"])
            assert str(failed.value) == f"cannot write to {tmp_path}/journal-1: No space left on device"
            assert (tmp_path / "journal-1").read_bytes() == before
            assert (journal.size, journal.head) == sealed
            assert files.taken_calls() == ["write journal-1"] * (1 + bool(left)) + ["ftruncate journal-1"]
        files.space_left = None
        journal.append(BATCHES[1])
        assert files.calls == COMMIT
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES[:2]).data

    def test_the_truncation_is_synced_before_another_journal_is_created(
        self, journal: Journal, files: FaultyFiles
    ) -> None:
        """The rest of the write may have reached the disk, and be there again after a power loss."""
        files.space_left = 20
        with pytest.raises(ReadOnlyError):
            journal.append(BATCHES[0])
        files.taken_calls()
        journal.sync()
        assert files.calls == ["fdatasync journal-1"]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
    def test_no_space_quota_file_size_and_a_read_only_file_system_are_temporary(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, number: int
    ) -> None:
        files.fail("write journal-1", number)
        with pytest.raises(ReadOnlyError, match=re.escape(os.strerror(number))):
            journal.append(BATCHES[0])
        journal.append(BATCHES[0])
        assert texts_in(tmp_path / "journal-1") == [text_of(BATCHES[0])]

    def test_a_failed_truncation_ends_the_process(self, journal: Journal, files: FaultyFiles, tmp_path: Path) -> None:
        files.space_left = 10
        files.fail("ftruncate journal-1")
        with pytest.raises(JournalError) as failed:
            journal.append(BATCHES[0])
        assert str(failed.value).startswith(f"cannot cut back {tmp_path}/journal-1: Input/output error; ")

    def test_unsynced_batches_stay_unsynced(self, directory: DataDirectory, files: FaultyFiles) -> None:
        with closing(Journal.create(directory, 1, NO_BATCH, Fsync.EVERYSEC)) as journal:
            journal.append(BATCHES[0])
            files.space_left = 0
            with pytest.raises(ReadOnlyError):
                journal.append(BATCHES[1])
            assert not journal.is_synced


class TestPreallocation:
    """A batch that fits into preallocated space does not change the length of the file."""

    ROOM = 200

    @pytest.fixture(autouse=True)
    def little_room(self, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "ROOM_BYTES", self.ROOM)
        files.has_room_to_set_aside = True

    def test_zeros_are_written_for_many_batches_and_truncated_at_the_end(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal-1"
        journal = Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)
        lengths = set()
        with closing(journal):
            files.taken_calls()
            start = journal.size
            journal.append(BATCHES[1])
            assert files.taken_calls() == ["pwrite journal-1", *COMMIT]
            while journal.size < start + self.ROOM - 100:
                lengths.add(path.stat().st_size)
                journal.append(BATCHES[1])
                assert files.taken_calls() == COMMIT
            assert lengths == {start + self.ROOM}
            head = journal.head
            before_close = path.read_bytes()
        assert path.read_bytes() == before_close.rstrip(b"\0")
        for data in (before_close, path.read_bytes()):
            reader = JournalReader(data)
            assert len(list(reader)) == head.number
            assert (reader.head, reader.unsealed_bytes) == (head, 0)

    def test_for_a_larger_batch_its_own_size_is_preallocated(self, journal: Journal, tmp_path: Path) -> None:
        journal.append([f"INDEX|{'n' * 250}|"])
        assert (tmp_path / "journal-1").stat().st_size == journal.size

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP, errno.EINVAL])
    def test_without_space_for_it_batches_are_still_written(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, number: int
    ) -> None:
        files.fail("pwrite journal-1", number)
        for lines in BATCHES:
            journal.append(lines)
        assert files.calls.count("pwrite journal-1") == 1
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES).data

    def test_a_disk_too_full_for_it_may_still_have_space_for_a_batch(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        files.space_left = self.ROOM - 1
        journal.append(BATCHES[0])
        journal.append(BATCHES[1])
        assert files.calls == ["pwrite journal-1", "ftruncate journal-1", *COMMIT, *COMMIT]
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES[:2]).data

    def test_partial_preallocation_that_cannot_be_truncated_is_harmless(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        files.space_left = self.ROOM - 1
        files.fail("ftruncate journal-1")
        journal.append(BATCHES[0])
        assert (tmp_path / "journal-1").read_bytes().rstrip(b"\0") == written(BATCHES[:1]).data

    def test_a_large_batch_is_written_without_preallocation(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal_module, "ROOMY_BATCH_BYTES_MAX", len(written(BATCHES[1:2]).batches[0]))
        for lines, calls in ((BATCHES[0], COMMIT), (BATCHES[1], ["pwrite journal-1", *COMMIT]), (BATCHES[2], COMMIT)):
            journal.append(lines)
            assert files.taken_calls() == calls
        assert (tmp_path / "journal-1").read_bytes().rstrip(b"\0") == written(BATCHES).data

    @pytest.mark.parametrize("fsync", [Fsync.EVERYSEC, Fsync.NEVER])
    def test_without_a_sync_per_commit_nothing_is_preallocated(
        self, directory: DataDirectory, tmp_path: Path, fsync: Fsync
    ) -> None:
        with closing(Journal.create(directory, 1, NO_BATCH, fsync)) as journal:
            journal.append(BATCHES[0])
            assert (tmp_path / "journal-1").stat().st_size == journal.size

    def test_it_is_truncated_with_a_failed_write_and_written_again(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        journal.append(BATCHES[0])
        files.piece_bytes_max = 5
        files.fail("write journal-1", errno.ENOSPC, after=1)
        with pytest.raises(ReadOnlyError):
            journal.append(BATCHES[1])
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES[:1]).data
        files.taken_calls()
        files.piece_bytes_max = None
        journal.append(BATCHES[1])
        assert files.taken_calls() == ["pwrite journal-1", *COMMIT]
        assert (tmp_path / "journal-1").read_bytes().rstrip(b"\0") == written(BATCHES[:2]).data


class TestReadOnlyFileSystem:
    def test_a_tail_that_cannot_be_truncated_is_truncated_before_the_next_batch(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        files.piece_bytes_max = 5
        files.fail("write journal-1", errno.EROFS, after=1)
        files.fail("ftruncate journal-1", errno.EROFS, times=2)
        with pytest.raises(ReadOnlyError, match=r"cannot write to .*/journal-1: Read-only file system"):
            journal.append(BATCHES[0])
        with pytest.raises(ReadOnlyError, match=r"cannot cut back .*/journal-1 to its last batch"):
            journal.append(BATCHES[0])
        journal.append(BATCHES[0])
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES[:1]).data

    def test_after_a_sync_that_failed_nothing_is_written_or_synced_again(
        self, journal: Journal, files: FaultyFiles
    ) -> None:
        files.fail("fdatasync journal-1", errno.EROFS)
        with pytest.raises(ReadOnlyError, match=r"cannot sync .*/journal-1: Read-only file system"):
            journal.append(BATCHES[0])
        files.taken_calls()
        with pytest.raises(ReadOnlyError, match=r"cannot sync .*/journal-1: Read-only file system"):
            journal.append(BATCHES[1])
        with pytest.raises(ReadOnlyError, match=r"cannot sync .*/journal-1: Read-only file system"):
            journal.sync()
        assert files.taken_calls() == []
        assert not journal.is_damaged


class TestForeignChanges:
    """Another program may remove or change the file: what follows must not be acknowledged."""

    def test_nothing_is_appended_to_a_file_that_was_removed(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        journal.append(BATCHES[0])
        (tmp_path / "journal-1").unlink()
        self.refuses(journal, files, f"{tmp_path}/journal-1 was removed while the server ran")

    def test_nothing_is_appended_to_a_file_that_was_cut_short(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path
    ) -> None:
        journal.append(BATCHES[0])
        os.truncate(tmp_path / "journal-1", journal.size - 1)
        self.refuses(journal, files, f"{tmp_path}/journal-1 was cut short while the server ran")

    def test_nothing_is_appended_to_a_file_that_was_renamed_until_it_has_its_name_again(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        (tmp_path / "journal-1").rename(tmp_path / "aside")
        with pytest.raises(ReadOnlyError, match=f"^cannot examine {tmp_path}/journal-1: No such file or directory$"):
            journal.append(BATCHES[0])
        (tmp_path / "aside").rename(tmp_path / "journal-1")
        journal.append(BATCHES[0])
        assert (tmp_path / "journal-1").read_bytes() == written(BATCHES[:1]).data
        assert not journal.is_damaged

    @pytest.mark.parametrize("call", ["lseek journal-1", "(exists|fstat) journal-1"])
    def test_nothing_is_appended_to_a_file_that_cannot_be_examined(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, call: str
    ) -> None:
        files.fail(call, times=2)
        with pytest.raises(ReadOnlyError, match=f"^cannot examine {tmp_path}/journal-1: Input/output error$"):
            journal.append(BATCHES[0])
        assert not journal.is_damaged

    def test_a_commit_calls_no_stat(self, journal: Journal, files: FaultyFiles) -> None:
        """Linux would record the exact time of the next write, and make its sync 1.5 times as expensive."""
        files.fail("f?stat .*", times=100)
        for batch in BATCHES[:2]:
            journal.append(batch)

    def refuses(self, journal: Journal, files: FaultyFiles, reason: str) -> None:
        files.taken_calls()
        for _ in range(2):
            with pytest.raises(ReadOnlyError) as refused:
                journal.append(BATCHES[1])
            assert str(refused.value) == reason
        assert files.taken_calls() == []
        assert journal.is_damaged


class TestClosing:
    def test_a_close_that_fails_is_logged_and_the_descriptor_is_not_used_again(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS)
        files.fail("close journal-1")
        journal.close()
        journal.close()
        assert caplog.messages == [f"error while closing {tmp_path}/journal-1: Input/output error"]
        assert not journal.is_writable


class TestBrokenDisk:
    @pytest.mark.parametrize("number", [errno.EIO, errno.EBADF])
    def test_a_write_that_fails_otherwise_ends_the_process(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, number: int
    ) -> None:
        before = (tmp_path / "journal-1").read_bytes()
        files.piece_bytes_max = 5
        files.fail("write journal-1", number, after=1)
        with pytest.raises(JournalError) as failed:
            journal.append(BATCHES[0])
        assert str(failed.value) == (
            f"cannot write to {tmp_path}/journal-1: {os.strerror(number)}; the changes of this turn were not "
            "acknowledged, so check the disk and start again"
        )
        assert (tmp_path / "journal-1").read_bytes() == before

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
    def test_a_sync_that_fails_ends_the_process_and_is_never_tried_again(
        self, journal: Journal, files: FaultyFiles, tmp_path: Path, number: int
    ) -> None:
        """Also for lack of space: it is unknown which pages the system has dropped."""
        files.fail("fdatasync journal-1", number)
        with pytest.raises(JournalError) as failed:
            journal.append(BATCHES[0])
        assert str(failed.value).startswith(f"cannot sync {tmp_path}/journal-1: {os.strerror(number)}; ")
        assert files.calls == COMMIT
        assert not journal.is_synced

    def test_a_late_sync_that_fails_ends_the_process(
        self, directory: DataDirectory, files: FaultyFiles, tmp_path: Path
    ) -> None:
        with closing(Journal.create(directory, 1, NO_BATCH, Fsync.EVERYSEC)) as journal:
            journal.append(BATCHES[0])
            files.fail("fdatasync journal-1")
            with pytest.raises(JournalError, match=f"cannot sync {tmp_path}/journal-1: Input/output error; "):
                journal.sync()
