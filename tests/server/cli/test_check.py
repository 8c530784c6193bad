"""``scoop-server check``: its report, its status, and that it changes nothing."""

import io
import os
import signal
from pathlib import Path

import pytest

from scoop_core import JOURNAL_VERSION, encode_snapshot

from scoop_server.cli.directory import (
    EXIT_DAMAGED,
    EXIT_INTACT,
    EXIT_NEWER,
    EXIT_UNREADABLE,
    EXIT_UNSEALED,
    DirectorySource,
)
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory

from tests.support.data_directory import (
    EMPTY_SNAPSHOT,
    JOURNAL,
    NEXT_JOURNAL,
    contents_and_time,
    index_in,
    make_data_directory,
)
from tests.support.journals import written
from tests.support.privileges import NOBODY, unprivileged
from tests.support.process import ServerProcess


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_data_directory(tmp_path / "data")


def checked(path: Path) -> tuple[int, list[str]]:
    """Return the status of a check, and its report without the path of the directory. It changes nothing."""
    before = contents_and_time(path)
    out = io.StringIO()
    status = DirectorySource(str(path)).check(out)
    assert contents_and_time(path) == before
    return status, out.getvalue().replace(f"{path}/", "").replace(str(path), "DIR").splitlines()


def test_an_intact_directory(path: Path) -> None:
    assert checked(path) == (
        EXIT_INTACT,
        [
            f"snapshot-1: 0 packages, {len(EMPTY_SNAPSHOT)} bytes, crc32 {EMPTY_SNAPSHOT[-9:-1].decode()}",
            f"journal-1: batches 1 to 3, 4 changes, {len(JOURNAL.data)} bytes, crc32 {JOURNAL.head.checksum:08x}",
            (
                f"journal-2: batches 4 to 4, 1 change, {len(NEXT_JOURNAL.data)} bytes, "
                f"crc32 {NEXT_JOURNAL.head.checksum:08x}"
            ),
            "DIR: 3 packages in snapshot 1 and 4 batches after it, up to batch 4",
        ],
    )


def test_an_interrupted_write_at_the_end(path: Path) -> None:
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data + b"INDEX|half")
    status, lines = checked(path)
    assert status == EXIT_UNSEALED
    assert lines[2].endswith(", and 10 bytes not sealed")
    assert lines[-2].startswith("DIR: 3 packages ")
    assert lines[-1].startswith("a start would drop the last 10 bytes of journal-2: batch 5 was interrupted ")


def test_files_that_the_next_start_would_delete(path: Path) -> None:
    (path / "snapshot-3").write_bytes(b"".join(encode_snapshot(index_in(path))))
    (path / "journal-3").write_bytes(written([], generation=3, after=NEXT_JOURNAL.head).data)
    (path / "snapshot-4.unfinished-77").write_bytes(b"half")
    status, lines = checked(path)
    assert status == EXIT_INTACT
    assert [line for line in lines if line.startswith("a start would")] == [
        f"a start would delete {name}: superseded or unfinished"
        for name in ("journal-1", "journal-2", "snapshot-1", "snapshot-4.unfinished-77")
    ]


def test_a_damaged_file_does_not_stop_the_check_of_the_others(path: Path) -> None:
    (path / "journal-1").write_bytes(JOURNAL.data.replace(b"isl", b"osl"))
    status, lines = checked(path)
    assert status == EXIT_DAMAGED
    assert lines[1].startswith(f"journal-1: DAMAGED: byte {JOURNAL.ends[0]}: ")
    assert lines[2].startswith("journal-2: batches ")
    assert lines[-1].startswith("a server would refuse to start: cannot read journal-1: ")


def test_a_damaged_file_that_is_superfluous_is_reported_too(path: Path) -> None:
    (path / "snapshot-2").write_bytes(EMPTY_SNAPSHOT)
    (path / "journal-1").write_bytes(JOURNAL.data[:-1])
    (path / "snapshot-1").write_bytes(b"damaged")
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data + b"half")
    status, lines = checked(path)
    assert status == EXIT_DAMAGED
    assert any(line.startswith("snapshot-1: DAMAGED: ") for line in lines)
    assert any(line.startswith("DIR: 1 package in ") for line in lines)


def test_a_missing_file(path: Path) -> None:
    (path / "journal-1").unlink()
    status, lines = checked(path)
    assert status == EXIT_DAMAGED
    assert lines[-1].startswith("a server would refuse to start: ")
    assert "journal-1" in lines[-1]


def test_a_file_that_cannot_be_read(path: Path) -> None:
    (path / "journal-2").unlink()
    (path / "journal-2").symlink_to("nowhere")
    out = io.StringIO()
    assert DirectorySource(str(path)).check(out) == EXIT_UNREADABLE
    assert f"{path}/journal-2: cannot read: No such file or directory\n" in out.getvalue()


def test_files_of_another_owner_are_not_damaged(path: Path) -> None:
    with unprivileged(path) as own:
        os.seteuid(0)
        os.chown(own / "snapshot-1", 0, 0)
        (own / "snapshot-1").chmod(0o600)
        os.seteuid(NOBODY)
        out = io.StringIO()
        assert DirectorySource(str(own)).check(out) == EXIT_UNREADABLE
    assert "snapshot-1: cannot read: Permission denied\n" in out.getvalue()
    assert out.getvalue().splitlines()[-1] == (
        "a server would refuse to start: cannot read data/snapshot-1: Permission denied; it belongs to root, and this "
        "process runs as nobody: start it as root, or give the directory to nobody with: chown -R nobody data"
    )


@pytest.mark.parametrize("files", [{"snapshot-1": EMPTY_SNAPSHOT}, {"journal-1.unfinished-7": b"half"}])
def test_a_directory_whose_initialisation_was_interrupted(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    status, lines = checked(tmp_path)
    assert status == EXIT_INTACT
    assert "DIR: initialisation was interrupted; a start would find no packages" in lines


def test_a_copy_without_permission_to_write(path: Path) -> None:
    (path / "lock").chmod(0o400)
    with unprivileged(path) as copy:
        copy.chmod(0o500)
        try:
            assert DirectorySource(str(copy)).check(io.StringIO()) == EXIT_INTACT
        finally:
            copy.chmod(0o700)


def rejection(path: Path) -> str:
    with pytest.raises(DataDirectoryError) as raised:
        DirectorySource(str(path)).check(io.StringIO())
    return str(raised.value)


def test_a_directory_without_an_index_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    assert rejection(tmp_path) == f"cannot read {tmp_path}: it holds no index; name a data directory"
    missing = tmp_path / "missing"
    assert rejection(missing) == f"cannot read {missing}: no such directory; name a data directory"
    assert not missing.exists()


def test_a_directory_that_may_not_be_listed_is_rejected(path: Path) -> None:
    with unprivileged(path) as closed:
        closed.chmod(0o300)
        try:
            line = rejection(closed)
        finally:
            closed.chmod(0o700)
    assert line == "cannot read data: Permission denied; check its permissions"


def checked_beside_a_server(path: Path) -> tuple[int, list[str]]:
    lock = DataDirectory.lock(str(path))
    try:
        return checked(path)
    finally:
        lock.close()


def test_a_directory_that_a_server_uses_is_checked_beside_it(path: Path) -> None:
    status, lines = checked_beside_a_server(path)
    assert status == EXIT_INTACT
    assert (
        lines[0] == f"the data directory DIR is in use by the server with process id {os.getpid()}: checking beside it"
    )
    assert lines[-1] == "DIR: 3 packages in snapshot 1 and 4 batches after it, up to batch 4"


def test_beside_a_server_an_unsealed_end_is_a_write_in_progress(path: Path) -> None:
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data + b"INDEX|half")
    (path / "snapshot-4.unfinished-77").write_bytes(b"half")
    status, lines = checked_beside_a_server(path)
    assert status == EXIT_INTACT
    assert not any("a start would" in line for line in lines)


def test_beside_a_server_damage_is_found(path: Path) -> None:
    (path / "journal-1").write_bytes(JOURNAL.data[:-1])
    assert checked_beside_a_server(path)[0] == EXIT_DAMAGED


def test_beside_a_working_server_every_check_finds_the_directory_intact(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        server.send_signal(signal.SIGUSR1)  # so that files are replaced meanwhile
        for number in range(20):
            client.send(b"".join(b"INDEX|x%d|\nREMOVE|x%d|\n" % (each, each) for each in range(number, 200)))
            assert DirectorySource(str(path)).check(io.StringIO()) == EXIT_INTACT
            assert client.read_answers(2 * (200 - number)) == ["OK"] * 2 * (200 - number)


def test_a_newer_format_is_not_damage(path: Path) -> None:
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data.replace(b" %d" % JOURNAL_VERSION, b" 9", 1))
    status, lines = checked(path)
    assert status == EXIT_NEWER
    assert lines[2].startswith("journal-2: NEWER FORMAT: the journal has format 9; ")
    (path / "journal-1").write_bytes(b"damaged")
    assert checked(path)[0] == EXIT_DAMAGED
