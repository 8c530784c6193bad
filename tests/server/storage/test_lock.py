import errno
import fcntl
import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.lock import DirectoryLock, locked_for_reading

from tests.support.privileges import unprivileged


def take(path: Path) -> None:
    DirectoryLock(str(path)).close()


def refusal(path: Path) -> str:
    """Return the one line with which the directory is refused."""
    with pytest.raises(DataDirectoryError) as refused:
        take(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_missing_directory_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        take(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "lock").stat().st_mode) == 0o600
    assert os.listdir(path) == ["lock"]


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "existing"
    path.mkdir(mode=0o750)
    take(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_the_lock_file_holds_the_process_id(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4294967296 and more that is left of an earlier holder\n")
    with closing(DirectoryLock(str(tmp_path))):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_in_use_is_refused_with_its_path_and_the_holder(tmp_path: Path) -> None:
    with closing(DirectoryLock(str(tmp_path))):
        assert refusal(tmp_path) == (
            f"the data directory {tmp_path} is in use by the server with process id {os.getpid()}; "
            "stop that one, or name another directory"
        )
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_written_its_process_id_yet_is_unknown(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "the server with process id unknown;" in refusal(tmp_path)


def test_a_lock_file_that_no_one_holds_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    take(tmp_path)


def test_a_refusal_leaves_no_descriptor_open(tmp_path: Path) -> None:
    with closing(DirectoryLock(str(tmp_path))):
        before = os.listdir("/proc/self/fd")
        refusal(tmp_path)
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("place", "reason"),
    [("a file", "Not a directory"), ("a file/inside", "Not a directory")],
)
def test_a_directory_that_cannot_be_made_is_refused_with_its_path(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "a file").touch()
    line = refusal(tmp_path / place)
    assert line.startswith(f"cannot use the data directory {tmp_path / place}: {reason}")
    assert line.endswith("; name a writable one with --data-dir, or keep nothing on disk with --memory")


def test_only_the_last_directory_of_a_path_is_created(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a" / "b") == (
        f"cannot create the data directory {tmp_path}/a/b: {tmp_path}/a is missing; "
        "create that first, because only the last part of the path is created"
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o500, 0o300])
@pytest.mark.parametrize("files", [[], ["lock"]])
def test_a_directory_that_may_not_be_written_or_listed_is_refused_at_once(
    tmp_path: Path, mode: int, files: list[str]
) -> None:
    path = tmp_path / "closed"
    path.mkdir()
    for name in files:
        (path / name).touch()
    with unprivileged(path) as relative_path:
        relative_path.chmod(mode)
        try:
            assert refusal(relative_path).startswith("cannot use the data directory closed: Permission denied")
        finally:
            relative_path.chmod(0o700)


@pytest.mark.parametrize("failing", ["fcntl.flock", "os.ftruncate", "os.pwrite", "os.listdir"])
def test_a_system_that_fails_while_the_directory_is_taken_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    open_before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        line = refusal(tmp_path)
    what = "lock" if failing == "fcntl.flock" else "use"
    assert line.startswith(f"cannot {what} the data directory {tmp_path}: Input/output error")
    assert os.listdir("/proc/self/fd") == open_before


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    take(tmp_path)
    take(tmp_path)


def test_a_reader_keeps_servers_off_and_changes_nothing(tmp_path: Path) -> None:
    take(tmp_path)
    before = (tmp_path / "lock").read_bytes()
    with locked_for_reading(str(tmp_path)), locked_for_reading(str(tmp_path)):
        assert "is in use by another process, which only reads it" in refusal(tmp_path)
    assert (tmp_path / "lock").read_bytes() == before
    assert os.listdir(tmp_path) == ["lock"]


def test_a_reader_is_kept_off_by_a_server(tmp_path: Path) -> None:
    with (
        closing(DirectoryLock(str(tmp_path))),
        pytest.raises(DataDirectoryError, match=f"in use by the server with process id {os.getpid()};"),
        locked_for_reading(str(tmp_path)),
    ):
        raise AssertionError("it was let in")


def test_a_directory_that_never_was_locked_can_be_read(tmp_path: Path) -> None:
    with locked_for_reading(str(tmp_path)):
        assert os.listdir(tmp_path) == []


def test_a_lock_that_may_not_be_read_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataDirectoryError, match=r"cannot read .*: Not a directory; see to its permissions"),
        locked_for_reading(str(tmp_path / "file")),
    ):
        raise AssertionError("it was let in")


def test_whoever_only_reads_is_not_taken_for_the_server_that_was_there_before(tmp_path: Path) -> None:
    path = tmp_path
    take(path)  # it leaves its process id
    with locked_for_reading(str(path)):
        assert refusal(path) == (
            f"the data directory {path} is in use by another process, which only reads it, as scoop-server check does; "
            "wait until that has ended, or name another directory"
        )
    take(path)
