"""Reading a data directory: all that was sealed, or one line that says where the fault is and changes nothing."""

import errno
import os
import re
from pathlib import Path

import pytest

from scoop_core import JOURNAL_VERSION, SNAPSHOT_VERSION

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.trail import recover

from tests.support.data_directory import JOURNAL, NEXT_JOURNAL, index_in, make_data_directory
from tests.support.faulty_files import FaultyFiles, contents_of

WAY_OUT = "restore the directory from a backup, or inspect it with: scoop-server check"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_data_directory(tmp_path / "data")


def refusal(path: Path, files: FaultyFiles | None = None) -> str:
    """Return the line with which ``path`` is refused, and check that nothing is changed."""
    unchanged = contents_of(path)
    files = files or FaultyFiles()
    with pytest.raises(DataDirectoryError) as refused, DataDirectory(str(path), files) as directory:
        recover(directory)
    assert contents_of(path) == unchanged
    assert files.open_files == {}
    assert files.calls == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_reading_changes_nothing(path: Path) -> None:
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data + b"INDEX|half")
    (path / "journal-3.unfinished-12").write_bytes(b"whatever")
    unchanged = contents_of(path)
    assert sorted(index_in(path)) == ["a", "gmp", "isl"]
    assert contents_of(path) == unchanged


def test_a_missing_file_is_named(path: Path) -> None:
    (path / "journal-1").unlink()
    assert refusal(path) == f"{path}/journal-1 is missing; {WAY_OUT} {path}"


def test_damage_is_named_with_its_file_and_byte(path: Path) -> None:
    (path / "journal-1").write_bytes(JOURNAL.data[:-1])
    assert refusal(path) == (
        f"cannot read {path}/journal-1: byte {JOURNAL.ends[2]}: a batch is damaged, and another journal follows; "
        f"{WAY_OUT} {path}"
    )


@pytest.mark.parametrize("name", ["snapshot-1", "journal-1"])
def test_a_newer_format_is_refused_with_its_version(path: Path, name: str) -> None:
    kind = name.partition("-")[0]
    (path / name).write_bytes(b"#scoop %s 9 as a later version writes it\n" % kind.encode())
    version = {"snapshot": SNAPSHOT_VERSION, "journal": JOURNAL_VERSION}[kind]
    assert refusal(path) == (
        f"cannot read {path}/{name}: byte 0: the {kind} has format 9; this version reads format {version}; "
        f"start the version that wrote it, or a later one"
    )


@pytest.mark.parametrize(
    "call", ["listdir .", "open snapshot-1", "read snapshot-1", "open journal-1", "read journal-1"]
)
def test_a_file_that_cannot_be_read_is_a_refusal_and_never_an_empty_index(path: Path, call: str) -> None:
    files = FaultyFiles()
    files.fail(re.escape(call), errno.EIO)
    name = call.split()[1]
    place = path if name == "." else path / name
    assert refusal(path, files=files) == f"cannot read {place}: Input/output error; {WAY_OUT} {path}"


def test_a_fifo_or_a_device_in_the_place_of_a_file_is_refused(path: Path) -> None:
    for make in (os.mkfifo, lambda place: os.symlink("/dev/null", place)):
        (path / "snapshot-1").unlink()
        make(path / "snapshot-1")
        with pytest.raises(DataDirectoryError, match="snapshot-1: it is not a regular file; restore the directory"):
            index_in(path)


def test_a_shortage_of_descriptors_is_no_reason_to_restore(path: Path) -> None:
    files = FaultyFiles()
    files.fail("open snapshot-1", errno.EMFILE)
    assert refusal(path, files) == (
        f"cannot read {path}/snapshot-1: Too many open files; raise the limit with ulimit -n or LimitNOFILE="
    )
