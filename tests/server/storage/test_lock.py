"""The lock on a data directory: one server at a time, whatever happens to the files in it."""

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from scoop_server.errors import DataDirectoryError, ReadOnlyError
from scoop_server.storage.directory import DataDirectory

from tests.support.faulty_files import FaultyFiles
from tests.support.privileges import unprivileged


def lock(path: Path, files: FaultyFiles | None = None) -> DataDirectory:
    return DataDirectory.lock(str(path), files or FaultyFiles())


def refusal(path: Path, files: FaultyFiles | None = None) -> str:
    """Return the one line with which the directory is refused; that leaves no descriptor open."""
    files = files or FaultyFiles()
    with pytest.raises(DataDirectoryError) as refused:
        lock(path, files)
    assert files.open_files == {}
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Locking


def test_a_missing_directory_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        lock(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "lock").stat().st_mode) == 0o600
    assert os.listdir(path) == ["lock"]


@pytest.mark.parametrize("name", ["lock", "lock.trial"])
def test_a_symbolic_link_does_not_redirect_what_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    other = tmp_path / "other"
    other.write_text("of another program")
    (tmp_path / "data" / name).symlink_to(other)
    assert "cannot use the data directory" in refusal(tmp_path / "data")
    assert other.read_text() == "of another program"


def test_the_lock_file_holds_the_process_id(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4294967296 and more that is left of an earlier holder\n")
    with lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        assert refusal(tmp_path) == (
            f"the data directory {tmp_path} is in use by the server with process id {os.getpid()}; "
            "stop that one, or name another directory"
        )
    lock(tmp_path).close()


def test_a_lock_file_alone_excludes_servers(tmp_path: Path) -> None:
    """An earlier version locks no more than that."""
    with (tmp_path / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "the server with process id unknown;" in refusal(tmp_path)


def test_without_its_lock_file_a_directory_stays_locked(tmp_path: Path) -> None:
    with lock(tmp_path):
        (tmp_path / "lock").unlink()
        assert "the server with process id unknown;" in refusal(tmp_path)


def test_a_file_system_that_cannot_lock_directories_has_the_lock_file(tmp_path: Path) -> None:
    """NFS: a directory cannot be opened for writing, and so not be locked."""
    files = FaultyFiles()
    files.fail(r"flock \.", errno.EBADF, times=2)
    with lock(tmp_path, files):
        assert f"process id {os.getpid()};" in refusal(tmp_path)


@pytest.mark.parametrize("place", ["a file", "a file/inside"])
def test_a_directory_that_cannot_be_created_is_refused_with_its_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    assert refusal(tmp_path / place) == (
        f"cannot use the data directory {tmp_path / place}: Not a directory; name a writable one with --data-dir, or "
        "keep nothing on disk with --memory"
    )


def test_only_the_last_directory_of_a_path_is_created(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a" / "b") == (
        f"cannot create the data directory {tmp_path}/a/b: {tmp_path}/a is missing; "
        "create that first, because only the last part of the path is created"
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o500, 0o300])
@pytest.mark.parametrize("names", [[], ["lock"]])
def test_a_directory_without_permissions_is_refused(tmp_path: Path, mode: int, names: list[str]) -> None:
    path = tmp_path / "closed"
    path.mkdir()
    for name in names:
        (path / name).touch()
    with unprivileged(path) as relative_path:
        relative_path.chmod(mode)
        try:
            with pytest.raises(DataDirectoryError, match="cannot use the data directory closed: Permission denied"):
                DataDirectory.lock(str(relative_path))
        finally:
            relative_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser owns files that others cannot read")
def test_the_owner_of_a_directory_at_a_relative_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "own" / "data" / "index").mkdir(0o700, parents=True)
    with unprivileged(tmp_path / "own") as own, pytest.raises(DataDirectoryError, match="; it belongs to root, and "):
        DataDirectory.lock(str(own / "data" / "index"))


@pytest.mark.parametrize(
    "failing", [r"flock \.", "flock lock", "ftruncate lock", "pwrite lock", "create lock.trial", r"listdir \."]
)
def test_a_failed_call_is_a_refusal(tmp_path: Path, failing: str) -> None:
    files = FaultyFiles()
    files.fail(failing)
    assert refusal(tmp_path, files).startswith(f"cannot use the data directory {tmp_path}: Input/output error")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("names", [[], ["lock"]])
def test_a_directory_without_space_for_new_files_can_be_locked(tmp_path: Path, number: int, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    files = FaultyFiles()
    files.fail("(mkdir|create|pwrite) .*", number, times=100)
    with lock(tmp_path, files) as directory:
        assert "in use" in refusal(tmp_path)
        directory.verify()


# Reading


def test_readers_exclude_servers_and_change_nothing(tmp_path: Path) -> None:
    lock(tmp_path).close()  # it leaves its process id, which is not that of the holder
    before = (tmp_path / "lock").read_bytes()
    with DataDirectory.lock_for_reading(str(tmp_path)), DataDirectory.lock_for_reading(str(tmp_path)):
        assert refusal(tmp_path) == (
            f"the data directory {tmp_path} is in use by a process that only reads it, such as scoop-server check; "
            "wait until that has ended, or name another directory"
        )
    assert (tmp_path / "lock").read_bytes() == before
    lock(tmp_path).close()


def test_a_server_excludes_readers(tmp_path: Path) -> None:
    with (
        lock(tmp_path),
        pytest.raises(DataDirectoryError, match=f"in use by the server with process id {os.getpid()};"),
    ):
        DataDirectory.lock_for_reading(str(tmp_path))


def test_a_directory_that_was_never_locked_can_be_read(tmp_path: Path) -> None:
    with DataDirectory.lock_for_reading(str(tmp_path)):
        assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_opened_for_reading_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=r"cannot read .*/file: Not a directory; check its permissions"):
        DataDirectory.lock_for_reading(str(tmp_path / "file"))


# Verifying


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def problem_of(directory: DataDirectory) -> str:
    with pytest.raises(ReadOnlyError) as found:
        directory.verify()
    return str(found.value)


def test_a_removed_directory_is_noticed(data: Path) -> None:
    with lock(data) as directory:
        shutil.rmtree(data)
        assert directory.is_removed
        assert problem_of(directory) == f"the data directory {data} was removed while the server ran"
        data.mkdir()
        assert problem_of(directory) == f"the data directory {data} was removed while the server ran"


def test_a_moved_directory_is_noticed_until_it_is_back(data: Path) -> None:
    with lock(data) as directory:
        moved = data.rename(data.with_name("moved"))
        assert problem_of(directory) == f"the data directory {data} was moved while the server ran"
        data.mkdir()
        assert problem_of(directory) == (
            f"the data directory {data} was moved while the server ran, and another one is at its path"
        )
        data.rmdir()
        moved.rename(data)
        directory.verify()


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_lock_file_that_was_removed_or_replaced_is_locked_again(data: Path, is_replaced: bool) -> None:
    with lock(data) as directory:
        (data / "lock").unlink()
        if is_replaced:
            (data / "lock").touch()
        directory.verify()
        assert (data / "lock").read_text() == f"{os.getpid()}\n"
        with (data / "lock").open("wb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_file_that_another_process_holds_is_a_reason_to_stop_writing(data: Path) -> None:
    with lock(data) as directory:
        (data / "lock").unlink()
        with (data / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert problem_of(directory).startswith(f"{data}/lock was removed or replaced while the server ran: ")


def test_a_removed_lock_file_is_the_end_of_a_lock_where_directories_cannot_be_locked(data: Path) -> None:
    files = FaultyFiles()
    files.fail(r"flock \.", errno.EBADF)
    with lock(data, files) as directory:
        (data / "lock").unlink()
        assert problem_of(directory) == (
            f"{data}/lock was removed or replaced while the server ran, so another server may use the directory; "
            "start this one again"
        )


def test_a_directory_that_cannot_be_examined_is_a_reason_to_stop_writing(data: Path) -> None:
    files = FaultyFiles()
    with lock(data, files) as directory:
        files.fail(r"stat \.")
        assert problem_of(directory) == f"cannot examine the data directory {data}: Input/output error"
