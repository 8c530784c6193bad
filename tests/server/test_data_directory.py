import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server.data_directory import DataDirectory, DataDirectoryError

NOBODY = 65_534


def graph_of(*packages: str) -> DependencyGraph:
    """Return a graph of packages that depend on all before them."""
    graph = DependencyGraph()
    for position, package in enumerate(packages):
        graph.index(package, packages[:position])
    return graph


def load(path: Path, *, reject_cycles: bool = False) -> DependencyGraph:
    with closing(DataDirectory(path)) as directory:
        return directory.load(reject_cycles=reject_cycles)


def save(path: Path, graph: DependencyGraph) -> Path:
    with closing(DataDirectory(path)) as directory:
        directory.load(reject_cycles=False)
        return directory.save(graph)


def names_in(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def snapshot_of(graph: DependencyGraph) -> bytes:
    return b"".join(encode_snapshot(graph))


def refusal(path: Path) -> str:
    """Return the one line with which the directory, or what it holds, is refused."""
    with pytest.raises(DataDirectoryError) as refused:
        load(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@contextmanager
def unprivileged(path: Path) -> Iterator[Path]:
    """Give a relative path to ``path``, and take a superuser's privileges from the process meanwhile.

    Relative, because the directories above are open to the superuser alone.
    """
    before = Path.cwd()
    os.chdir(path.parent)
    is_superuser = os.geteuid() == 0
    try:
        if is_superuser:
            for each in (path.parent, path, *path.iterdir()):
                os.chown(each, NOBODY, -1)
            os.seteuid(NOBODY)
        yield Path(path.name)
    finally:
        if is_superuser:
            os.seteuid(0)
        os.chdir(before)


# Creation and lock


def test_a_missing_directory_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        save(path, graph_of("a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [stat.S_IMODE((path / name).stat().st_mode) for name in ("lock", "snapshot-1")] == [0o600, 0o600]


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "existing"
    path.mkdir(mode=0o750)
    assert len(load(path)) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_the_lock_file_holds_the_process_id(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4294967296 and more that is left of an earlier holder\n")
    with closing(DataDirectory(tmp_path)):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_in_use_is_refused_with_its_path_and_the_holder(tmp_path: Path) -> None:
    with closing(DataDirectory(tmp_path)):
        assert refusal(tmp_path) == (
            f"the data directory {tmp_path} is in use by the server with process id {os.getpid()}; "
            "stop that one, or name another with --data-dir"
        )
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_written_its_process_id_yet_is_unknown(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "the server with process id unknown;" in refusal(tmp_path)


def test_a_lock_file_that_no_one_holds_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    assert len(load(tmp_path)) == 0


def test_a_refusal_leaves_no_descriptor_open(tmp_path: Path) -> None:
    with closing(DataDirectory(tmp_path)):
        before = os.listdir("/proc/self/fd")
        refusal(tmp_path)
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("place", "reason"),
    [("a file", "Not a directory"), ("a file/inside", "Not a directory"), ("no parent/inside", "No such file")],
)
def test_a_directory_that_cannot_be_made_is_refused_with_its_path(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "a file").touch()
    line = refusal(tmp_path / place)
    assert line.startswith(f"cannot use the data directory {tmp_path / place}: {reason}")
    assert line.endswith("; name a writable one with --data-dir, or keep nothing on disk with --memory")


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
        assert refusal(tmp_path).startswith(f"cannot use the data directory {tmp_path}: Input/output error")
    assert os.listdir("/proc/self/fd") == open_before


# Save and load


def test_a_new_directory_holds_an_empty_index(tmp_path: Path) -> None:
    assert load(tmp_path / "new") == DependencyGraph()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    graph = graph_of("a", "b", "c")
    graph.index("a", ["c", "a"])
    assert save(tmp_path, graph) == tmp_path / "snapshot-1"
    assert (tmp_path / "snapshot-1").read_bytes() == snapshot_of(graph)
    assert load(tmp_path) == graph


def test_an_empty_index_is_saved_as_well(tmp_path: Path) -> None:
    save(tmp_path, graph_of("a"))
    save(tmp_path, graph_of())
    assert load(tmp_path) == DependencyGraph()


@pytest.mark.parametrize("reject_cycles", [False, True])
@pytest.mark.parametrize("is_new", [False, True])
def test_the_loaded_graph_treats_cycles_as_asked(tmp_path: Path, reject_cycles: bool, is_new: bool) -> None:
    if not is_new:
        save(tmp_path, graph_of("a"))
    assert load(tmp_path, reject_cycles=reject_cycles).reject_cycles == reject_cycles


def test_each_save_replaces_the_one_before(tmp_path: Path) -> None:
    with closing(DataDirectory(tmp_path)) as directory:
        for number, graph in enumerate((graph_of("a"), graph_of("a", "b"), graph_of("c")), start=1):
            assert directory.save(graph) == tmp_path / f"snapshot-{number}"
            assert names_in(tmp_path) == ["lock", f"snapshot-{number}"]
    assert load(tmp_path) == graph_of("c")


def test_the_largest_number_counts_and_not_the_last_in_the_alphabet(tmp_path: Path) -> None:
    (tmp_path / "snapshot-9").write_bytes(snapshot_of(graph_of("old")))
    (tmp_path / "snapshot-10").write_bytes(snapshot_of(graph_of("new")))
    assert load(tmp_path) == graph_of("new")
    assert save(tmp_path, graph_of("newer")).name == "snapshot-11"
    assert names_in(tmp_path) == ["lock", "snapshot-11"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    others = ["README", "snapshot-", "snapshot-1.unfinished", "snapshot-2.gz", "snapshot-x", "old-snapshot-5"]
    for name in others:
        (tmp_path / name).write_text("not an index")
    assert load(tmp_path) == DependencyGraph()
    save(tmp_path, graph_of("a"))
    assert set(names_in(tmp_path)) == {*others, "lock", "snapshot-1"} - {"snapshot-1.unfinished"}


def test_a_number_that_a_server_does_not_write_is_another_file(tmp_path: Path) -> None:
    others = ["snapshot-0", "snapshot-00", "snapshot-01", "snapshot-\u0661"]
    for name in others:
        (tmp_path / name).write_text("put there by someone else")
    assert load(tmp_path) == DependencyGraph()
    save(tmp_path, graph_of("a"))
    save(tmp_path, graph_of("b"))
    assert set(names_in(tmp_path)) == {*others, "lock", "snapshot-2"}


# A snapshot that cannot be read


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda _: b"", "byte 0: the snapshot is empty"),
        (lambda data: data[:-1], "byte 75: the snapshot breaks off: its last line is not a trailer"),
        (lambda data: data.replace(b"INDEX|b|a", b"INDEX|b|b"), "byte 67: the checksum of the bytes before it is "),
        (lambda data: data.replace(b"snapshot 1", b"snapshot 2"), "byte 0: the snapshot has format 2; this version"),
        (lambda data: b"\0" * len(data), "byte 0: no snapshot: the first line is not a header"),
    ],
    ids=["emptied", "cut", "changed", "newer", "zero-filled"],
)
def test_a_damaged_snapshot_is_refused_with_file_and_place(tmp_path: Path, damage: object, place: str) -> None:
    path = save(tmp_path, graph_of("a", "b"))
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    line = refusal(tmp_path)
    assert line.startswith(f"cannot read {path}: {place}")
    assert line.endswith("; restore it from a backup, or name another directory with --data-dir")
    assert path.read_bytes() == damaged


def test_an_older_snapshot_is_no_way_round_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "snapshot-1").write_bytes(snapshot_of(graph_of("old")))
    (tmp_path / "snapshot-2").write_bytes(b"garbage")
    assert f"cannot read {tmp_path / 'snapshot-2'}: " in refusal(tmp_path)
    assert names_in(tmp_path) == ["lock", "snapshot-1", "snapshot-2"]


def test_a_snapshot_that_the_system_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "snapshot-1").mkdir()
    assert refusal(tmp_path).startswith(f"cannot read {tmp_path / 'snapshot-1'}: ")


# How a snapshot becomes durable


def test_it_is_written_synced_renamed_and_the_directory_synced_before_the_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, graph_of("a"))
    graph = graph_of("a", "b")
    steps: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def recorded_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file():
            assert path.read_bytes() == snapshot_of(graph)  # nothing is still in a buffer of the process
        steps.append((path.name, names_in(tmp_path)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    save(tmp_path, graph)
    assert steps == [
        ("snapshot-2.unfinished", ["lock", "snapshot-1", "snapshot-2.unfinished"]),
        (tmp_path.name, ["lock", "snapshot-1", "snapshot-2"]),
    ]
    assert names_in(tmp_path) == ["lock", "snapshot-2"]


@pytest.mark.parametrize("failing", ["fsync of the file", "rename", "fsync of the directory"])
def test_a_failing_disk_is_an_error_and_the_snapshot_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    save(tmp_path, graph_of("old"))
    fsync = os.fsync

    def failing_fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if failing == ("fsync of the directory" if is_directory else "fsync of the file"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    def failing_rename(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", failing_fsync)
    if failing == "rename":
        monkeypatch.setattr(os, "rename", failing_rename)
    with closing(DataDirectory(tmp_path)) as directory:
        with pytest.raises(DataDirectoryError) as failed:
            directory.save(graph_of("new"))
        assert str(failed.value).startswith(f"cannot write {tmp_path / 'snapshot-2'}: ")
        assert str(failed.value).endswith("; the snapshot before it is kept")
    assert (tmp_path / "snapshot-1").read_bytes() == snapshot_of(graph_of("old"))


def test_an_unfinished_snapshot_of_a_dead_process_is_written_over(tmp_path: Path) -> None:
    save(tmp_path, graph_of("a"))
    (tmp_path / "snapshot-2.unfinished").write_bytes(b"x" * 10_000)
    save(tmp_path, graph_of("b"))
    assert (tmp_path / "snapshot-2").read_bytes() == snapshot_of(graph_of("b"))
    assert names_in(tmp_path) == ["lock", "snapshot-2"]


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    DataDirectory(tmp_path).close()
    DataDirectory(tmp_path).close()
