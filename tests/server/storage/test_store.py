"""The store: what a turn changed is kept, the journals are folded into snapshots, and nothing is deleted too early."""

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from scoop_core import Changes, DependencyGraph, JournalReader, encode_snapshot

from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import JOURNAL_BYTES_MIN
from scoop_server.errors import DataDirectoryError, JournalError, ReadOnlyError
from scoop_server.storage.compaction import Compaction, compact
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import PROBE_BYTES, JournalStore, begin

from tests.support.faulty_files import FaultyFiles, contents_of, names_in
from tests.support.journals import written


class PlannedCompaction:
    """A compaction that comes to its end when a test says so."""

    def __init__(self, directory: DataDirectory, generation: int) -> None:
        self.generation = generation
        self.status: int | None = None
        self.is_killed = False
        self._directory = directory

    def complete(self) -> None:
        """Do what is to be done."""
        compact(self._directory, self.generation)
        self.status = 0

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.is_killed = True


@dataclass
class Opened:
    """An open store with the graph that was recovered."""

    store: JournalStore
    graph: DependencyGraph

    def save(self) -> None:
        self.store.save(self.graph)

    def tick(self) -> None:
        self.store.tick()

    def request_compaction(self) -> None:
        self.store.request_compaction()

    @property
    def wants_tick(self) -> bool:
        return self.store.wants_tick

    @property
    def read_only_reason(self) -> str:
        return self.store.read_only_reason


class Bench:
    """A data directory, and everything around it that a test moves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = FaultyFiles()
        self.clock = lambda: 1_000.0
        self.compactions: list[PlannedCompaction] = []
        """What stores have started, in order."""
        self.start_error: OSError | None = None
        """What keeps a compaction from being started."""

    def _start_compaction(self, directory: DataDirectory, generation: int) -> Compaction:
        if self.start_error is not None:
            raise self.start_error
        self.compactions.append(PlannedCompaction(directory, generation))
        return self.compactions[-1]

    @contextmanager
    def open(self, fsync: Fsync = Fsync.ALWAYS, journal_bytes_min: int = JOURNAL_BYTES_MIN) -> Iterator["Opened"]:
        directory = DataDirectory(str(self.path), self.files)
        store, graph = JournalStore.open(directory, fsync, self.clock, self._start_compaction, journal_bytes_min)
        try:
            yield Opened(store, graph)
        finally:
            store.close()
            assert self.files.open_files == {}

    def refusal(self) -> str:
        """Return the one line with which the directory is refused; that changes nothing in it."""
        before = contents_of(self.path)
        with pytest.raises(DataDirectoryError) as refused, self.open():
            raise AssertionError("it was read")
        assert contents_of(self.path) == before
        assert "\n" not in str(refused.value)
        return str(refused.value)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")


def commit(store: Opened, *lines: str) -> None:
    """Apply requests, and commit what they change, as one turn does."""
    changes = Changes()
    answers = store.graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
    assert answers == "OK\n" * len(lines)
    store.store.commit(changes)


def refuse(store: Opened, *lines: str) -> None:
    """Apply requests that cannot be kept for lack of space, and take them back, as one turn does."""
    changes = Changes()
    store.graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
    with pytest.raises(ReadOnlyError):
        store.store.commit(changes)
    store.graph.undo(changes)


def is_read_only(store: Opened) -> bool:
    return bool(store.read_only_reason)


def wants_tick(store: Opened) -> bool:
    return store.wants_tick


def snapshot_of(graph: DependencyGraph) -> bytes:
    return b"".join(encode_snapshot(graph))


def steps(bench: Bench) -> list[str]:
    """Return the calls since they were last asked for; one that is repeated at once counts once."""
    return [call for call, _ in groupby(bench.files.taken_calls())]


def graph_of(*packages: str) -> DependencyGraph:
    graph = DependencyGraph()
    for package in packages:
        graph.index(package)
    return graph


# The start


def test_a_new_directory_begins_empty_and_its_journal_comes_last(bench: Bench) -> None:
    with bench.open() as store:
        assert store.graph == DependencyGraph()
        assert not store.wants_tick
    assert steps(bench) == [
        "create snapshot-1.unfinished",
        "write snapshot-1.unfinished",
        "fsync snapshot-1.unfinished",
        "rename snapshot-1",
        "fsync .",
        "create journal-1.unfinished",
        "write journal-1.unfinished",
        "fsync journal-1.unfinished",
        "rename journal-1",
        "fsync .",
        "ftruncate journal-1",
        "fsync journal-1",
        "fsync .",
    ]
    assert names_in(bench.path) == {"journal-1", "snapshot-1"}


@pytest.mark.parametrize("calls", range(1, 15))
def test_a_start_that_was_interrupted_anywhere_is_made_up_for(bench: Bench, calls: int) -> None:
    """A process that is killed in the middle leaves what it had done by then, and the next one begins."""

    class KilledError(Exception):
        pass

    def kill(_: str) -> None:
        if len(bench.files.calls) == calls:
            raise KilledError

    bench.files.on_call = kill
    with pytest.raises(KilledError), bench.open():
        pass
    bench.files = FaultyFiles()
    with bench.open() as store:
        assert store.graph == DependencyGraph()
        commit(store, "INDEX|a|")
    with bench.open() as store:
        assert store.graph == graph_of("a")
    assert not any("unfinished" in name for name in names_in(bench.path))


def test_a_graph_to_begin_with(bench: Bench) -> None:
    begin(DataDirectory(str(bench.path)), graph_of("a", "b"))
    with bench.open() as store:
        assert store.graph == graph_of("a", "b")


@pytest.mark.parametrize("fsync", Fsync)
def test_what_was_committed_is_there_again_without_a_save(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as store:
        commit(store, "INDEX|a|", "INDEX|b|a")
        commit(store, "REMOVE|b|", "INDEX|a|a")
        expected = store.graph
    with bench.open(fsync) as store:
        assert store.graph == expected
        assert store.graph.dependencies("a") == ("a",)


def test_a_tail_is_dropped_and_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
    journal = bench.path / "journal-1"
    sealed = journal.read_bytes()
    for tail in (b"INDEX|b|a\n", b"\0" * 4_096 + b"?", b"\1" + os.urandom(100) + b"\1", sealed[-60:]):
        journal.write_bytes(sealed + tail)
        caplog.clear()
        with bench.open() as store:
            assert store.graph == graph_of("a")
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert record.message == (
            f"dropped the last {len(tail)} bytes of {journal}: the rest of a write that was not known to be on disk"
        )
        assert journal.read_bytes() == sealed


def test_a_whole_directory_is_read_without_a_warning_and_recovering_twice_gives_the_same_bytes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
    with (bench.path / "journal-1").open("ab") as journal:
        journal.write(b"INDEX|b|a\n#seal 2 lines")
    with bench.open():
        pass
    once = {name: data for name, (data, _) in contents_of(bench.path).items()}
    caplog.clear()
    for _ in range(2):
        with bench.open() as store:
            assert store.graph == graph_of("a")
        assert {name: data for name, (data, _) in contents_of(bench.path).items()} == once
    assert caplog.records == []


def test_what_is_superfluous_goes_when_what_counts_is_durable(bench: Bench) -> None:
    """Its name may be in the system's cache only, if the process that gave it was killed at that moment."""
    with bench.open() as store:
        commit(store, "INDEX|a|")
        store.save()
    for name in ("snapshot-1", "journal-1", "snapshot-3.unfinished-77", "journal-3.unfinished-77"):
        (bench.path / name).write_bytes(b"whatever")
    bench.files.taken_calls()
    with bench.open() as store:
        assert store.graph == graph_of("a")
    assert bench.files.calls == [
        "ftruncate journal-2",
        "fsync journal-2",
        "fsync .",
        "unlink journal-1",
        "unlink journal-3.unfinished",
        "unlink snapshot-1",
        "unlink snapshot-3.unfinished",
    ]
    assert names_in(bench.path) == {"snapshot-2", "journal-2"}


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        ("snapshot-2", lambda data: data.replace(b"INDEX|a|", b"INDEX|b|"), r"snapshot-2: byte \d+: checksum mismatch"),
        ("snapshot-2", lambda data: data[:-1], r"snapshot-2: byte \d+: the snapshot is truncated"),
        ("snapshot-2", lambda _: b"", r"snapshot-2: byte 0: the snapshot is empty"),
        ("journal-2", lambda _: b"", r"journal-2: byte 0: the journal is empty"),
        ("journal-2", lambda data: data[:40], r"journal-2: byte 0: not a journal"),
        ("journal-2", lambda data: data.replace(b"INDEX|c|", b"INDEX|x|"), r"journal-2: byte \d+: batch 2 is damaged"),
        (
            "journal-3",
            lambda data: data.replace(b"generation 3", b"generation 4"),
            r"journal-3: byte 0: invalid journal header",
        ),
    ],
)
def test_damage_is_refused_and_left_alone(
    bench: Bench, name: str, change: Callable[[bytes], bytes], place: str
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        store.save()
        commit(store, "INDEX|c|")
        commit(store, "INDEX|d|")
    with bench.open() as store:
        commit(store, "INDEX|e|")
    (bench.path / "journal-3.unfinished-77").write_bytes(b"half")
    path = bench.path / name
    path.write_bytes(change(path.read_bytes()))
    line = bench.refusal()
    assert re.match(rf"cannot read {bench.path}/{place}", line)
    assert line.endswith(
        f"; restore the directory from a backup, or see what is left with: scoop-server check {bench.path}"
    )


@pytest.mark.parametrize(
    ("failing", "place"),
    [
        ("create snapshot-1.unfinished", r"snapshot-1\.unfinished-\d+"),
        ("write snapshot-1.unfinished", r"snapshot-1\.unfinished-\d+"),
        ("rename snapshot-1", r"snapshot-1"),
        ("write journal-1.unfinished", r"journal-1\.unfinished-\d+"),
        ("fsync journal-1", r"journal-1"),
        ("ftruncate journal-1", r"journal-1"),
    ],
)
def test_a_directory_that_cannot_be_written_is_one_line(bench: Bench, failing: str, place: str) -> None:
    bench.files.fail(re.escape(failing), errno.ENOSPC)
    with pytest.raises(DataDirectoryError) as failed, bench.open():
        pass
    assert re.fullmatch(
        rf"cannot write {bench.path}/{place}: No space left on device; see to the disk, or name another directory "
        "with --data-dir",
        str(failed.value),
    )
    assert bench.files.open_files == {}


def test_what_is_superfluous_and_cannot_be_deleted_is_one_line_at_the_start(bench: Bench) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        store.save()
    (bench.path / "snapshot-1").touch()
    bench.files.fail("unlink snapshot-1", errno.EROFS)
    with pytest.raises(DataDirectoryError) as failed, bench.open():
        pass
    assert str(failed.value).startswith(f"cannot write {bench.path}/snapshot-1: Read-only file system; see to the disk")
    assert bench.files.open_files == {}


def test_a_directory_that_forgets_is_not_taken_for_an_empty_one(bench: Bench) -> None:
    class ForgetfulFiles(FaultyFiles):
        def listdir(self, path: str) -> list[str]:
            super().listdir(path)
            return []

    bench.files = ForgetfulFiles()
    with pytest.raises(DataDirectoryError) as failed, bench.open():
        pass
    assert str(failed.value) == f"what was written to {bench.path} is not there; see to the disk"


def test_a_recovery_that_takes_long_tells_how_far_it_has_come(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        for name in "abcde":
            commit(store, f"INDEX|{name}|")
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += 0.4
        return seconds

    bench.clock = clock
    caplog.clear()
    with bench.open():
        pass
    size = (bench.path / "journal-1").stat().st_size
    ends = written([[f"INDEX|{name}|"] for name in "abcde"]).ends
    # Asked at 0.4 s, and then every 0.4 s: twice for the snapshot, once for each batch.
    assert [record.message for record in caplog.records] == [
        f"recovering: {bench.path}/journal-1, {ends[1]} of {size} bytes",
        f"recovering: {bench.path}/journal-1, {ends[4]} of {size} bytes",
    ]


def test_a_quick_recovery_tells_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
    caplog.clear()
    with bench.open():
        pass
    assert caplog.records == []


# Commits


def test_a_commit_is_one_write_and_one_sync(bench: Bench) -> None:
    with bench.open() as store:
        for line in ("INDEX|a|", "INDEX|b|a", "REMOVE|b|"):
            bench.files.taken_calls()
            commit(store, line)
            assert bench.files.calls == ["write journal-1", "fdatasync journal-1"]


def test_a_process_that_resumes_begins_a_journal_of_its_own_with_its_first_commit(bench: Bench) -> None:
    """What was dropped at the start and may still be somewhere on the disk can then never be taken for a batch."""
    with bench.open() as store:
        commit(store, "INDEX|a|")
    before = contents_of(bench.path)["journal-1"][0]
    with bench.open() as store:
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}
        bench.files.taken_calls()
        commit(store, "INDEX|b|a")
        commit(store, "INDEX|c|b")
        assert bench.files.calls == [
            "create journal-2.unfinished",
            "write journal-2.unfinished",
            "fsync journal-2.unfinished",
            "rename journal-2",
            "fsync .",
            "write journal-2",
            "fdatasync journal-2",
            "write journal-2",
            "fdatasync journal-2",
        ]
    assert contents_of(bench.path)["journal-1"][0] == before
    reader = JournalReader((bench.path / "journal-2").read_bytes())
    assert list(reader) == ["INDEX|b|a\n", "INDEX|c|b\n"]
    assert reader.head.number == 3
    with bench.open() as store:
        assert sorted(store.graph) == ["a", "b", "c"]


def test_a_process_that_resumes_and_changes_nothing_leaves_everything_as_it_was(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        store.save()
    before = {name: data for name, (data, _) in contents_of(bench.path).items()}
    caplog.clear()
    with bench.open() as store:
        store.save()
    assert {name: data for name, (data, _) in contents_of(bench.path).items()} == before
    assert [record.message for record in caplog.records] == [f"nothing has changed since {bench.path}/snapshot-2"]


# No space


def test_without_space_nothing_is_kept_and_with_space_it_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.path / "journal-1"
    with bench.open() as store:
        commit(store, "INDEX|a|")
        before = path.read_bytes()
        bench.files.space_left = 30
        for _ in range(3):
            refuse(store, "INDEX|b|")
            assert path.read_bytes() == before
            bench.files.space_left = 30
        bench.files.space_left = None
        commit(store, "INDEX|c|")
        commit(store, "INDEX|d|")
        bench.files.space_left = 0
        refuse(store, "INDEX|e|")
    refused = (
        f"cannot write to {path}: No space left on device; changes are refused, and queries answered, until there is "
        "room again"
    )
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", refused),
        ("INFO", f"there is room again for {path}; changes are taken"),
        ("ERROR", refused),
    ]
    bench.files.space_left = None
    with bench.open() as store:
        assert store.graph == graph_of("a", "c", "d")


def test_without_space_each_tick_looks_whether_there_is_some_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        assert not wants_tick(store)
        bench.files.space_left = 0
        refuse(store, "INDEX|b|")
        before = contents_of(bench.path)
        for space_left in (0, 30, PROBE_BYTES - 1):
            bench.files.space_left = space_left
            store.tick()
            assert is_read_only(store)
            assert wants_tick(store)
            assert contents_of(bench.path) == before, "it leaves nothing behind"
        bench.files.space_left = PROBE_BYTES
        store.tick()
        assert not is_read_only(store)
        assert not wants_tick(store)
        assert contents_of(bench.path) == before
    assert caplog.messages[-1] == f"there is room again for {bench.path}/journal-1; changes are taken"


def test_what_a_kill_leaves_of_looking_for_space_is_deleted_by_the_next_server(bench: Bench) -> None:
    with bench.open() as store:
        bench.files.space_left = 0
        refuse(store, "INDEX|a|")
        bench.files.fail("unlink journal-2.unfinished")
        store.tick()
        assert names_in(bench.path) == {"snapshot-1", "journal-1", f"journal-2.unfinished-{os.getpid()}"}
    bench.files.space_left = None
    with bench.open():
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE])
def test_a_journal_of_ones_own_that_there_is_no_room_for_waits_for_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Also no room among the descriptors: clients may hold them all, and will let go of them."""
    with bench.open() as store:
        commit(store, "INDEX|a|")
    with bench.open() as store:
        bench.files.fail("create journal-2.unfinished", number, times=2)
        for _ in range(2):
            refuse(store, "INDEX|b|")
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}
        commit(store, "INDEX|c|")
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
    refused, taken = caplog.records
    assert refused.message == (
        f"cannot begin a journal in {bench.path}: {os.strerror(number)}; changes are refused, and queries answered, "
        "until there is room again"
    )
    assert taken.message == f"there is room again for {bench.path}/journal-2; changes are taken"
    with bench.open() as store:
        assert store.graph == graph_of("a", "c")


def test_a_journal_of_ones_own_and_no_room_for_its_first_batch(bench: Bench) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
    with bench.open() as store:
        bench.files.space_left = len(written([]).data) + 10
        refuse(store, "INDEX|b|")
        bench.files.space_left = None
        commit(store, "INDEX|c|")
    assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}
    with bench.open() as store:
        assert store.graph == graph_of("a", "c")


# A broken disk


@pytest.mark.parametrize("failing", ["write journal-1", "fdatasync journal-1"])
def test_a_commit_that_fails_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open() as store:
        bench.files.fail(failing)
        with pytest.raises(JournalError, match="Input/output error; the changes of this moment were not acknowledged"):
            commit(store, "INDEX|a|")


@pytest.mark.parametrize("failing", ["create journal-2.unfinished", "fsync journal-2.unfinished", r"fsync \."])
def test_a_journal_of_ones_own_that_cannot_be_begun_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
    with bench.open() as store:
        bench.files.fail(failing)
        with pytest.raises(JournalError, match=r"^cannot begin .*: Input/output error; .*, and start again$"):
            commit(store, "INDEX|b|")
    with bench.open() as store:
        assert store.graph == graph_of("a")


# What time brings


def test_everysec_syncs_once_a_second_and_only_what_was_written(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as store:
        assert not wants_tick(store)
        bench.files.taken_calls()
        commit(store, "INDEX|a|")
        commit(store, "INDEX|b|")
        assert bench.files.taken_calls() == ["write journal-1"] * 2
        assert wants_tick(store)
        store.tick()
        assert bench.files.taken_calls() == ["fdatasync journal-1"]
        assert not wants_tick(store)
        store.tick()
        assert bench.files.taken_calls() == []
        commit(store, "INDEX|c|")
        assert wants_tick(store)
        store.tick()
        assert bench.files.taken_calls() == ["write journal-1", "fdatasync journal-1"]


def test_everysec_goes_on_to_sync_where_there_is_no_space_for_more(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as store:
        commit(store, "INDEX|a|")
        bench.files.space_left = 0
        refuse(store, "INDEX|b|")
        bench.files.taken_calls()
        assert wants_tick(store)
        store.tick()
        assert [call for call in bench.files.calls if "sync" in call] == ["fdatasync journal-1"]


@pytest.mark.parametrize("fsync", [Fsync.ALWAYS, Fsync.NEVER])
def test_with_the_others_time_brings_nothing(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as store:
        commit(store, "INDEX|a|")
        assert not wants_tick(store)
        bench.files.taken_calls()
        store.tick()
        assert bench.files.calls == []


def test_a_sync_once_a_second_that_fails_ends_the_server(bench: Bench) -> None:
    with bench.open(Fsync.EVERYSEC) as store:
        commit(store, "INDEX|a|")
        bench.files.fail("fdatasync journal-1")
        with pytest.raises(JournalError, match=f"cannot sync {bench.path}/journal-1: Input/output error; "):
            store.tick()


# Compaction


def compact_on_request(bench: Bench, store: Opened) -> PlannedCompaction:
    """Have a compaction begin; return it."""
    count = len(bench.compactions)
    store.request_compaction()
    assert wants_tick(store)
    store.tick()
    assert len(bench.compactions) == count + 1
    return bench.compactions[-1]


def test_a_compaction_is_asked_for_carried_out_and_adopted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        commit(store, "INDEX|b|a")
        bench.files.taken_calls()
        compaction = compact_on_request(bench, store)
        assert compaction.generation == 2
        assert bench.files.taken_calls() == [
            "create journal-2.unfinished",
            "write journal-2.unfinished",
            "fsync journal-2.unfinished",
            "rename journal-2",
            "fsync .",
        ]
        commit(store, "REMOVE|b|")
        assert bench.files.taken_calls() == ["write journal-2", "fdatasync journal-2"]
        store.tick()
        assert wants_tick(store)
        assert bench.files.taken_calls() == []
        assert names_in(bench.path) == {"snapshot-1", "journal-1", "journal-2"}

        compaction.complete()
        store.tick()
        assert steps(bench) == [
            "create snapshot-2.unfinished",
            "write snapshot-2.unfinished",
            "fsync snapshot-2.unfinished",
            "rename snapshot-2",
            "fsync .",
            "unlink journal-1",
            "unlink snapshot-1",
        ]
        assert not wants_tick(store)
        assert names_in(bench.path) == {"snapshot-2", "journal-2"}
        commit(store, "INDEX|c|")
    assert [record.message for record in caplog.records] == [
        f"compaction into {bench.path}/snapshot-2 has begun",
        f"compaction into {bench.path}/snapshot-2 is complete",
    ]
    twin = DependencyGraph()
    twin.index("a")
    twin.index("b", ["a"])
    assert (bench.path / "snapshot-2").read_bytes() == snapshot_of(twin)
    with bench.open() as store:
        assert store.graph == graph_of("a", "c")


@pytest.mark.parametrize("fsync", [Fsync.EVERYSEC, Fsync.NEVER])
def test_a_journal_is_on_disk_before_the_next_one_begins(bench: Bench, fsync: Fsync) -> None:
    with bench.open(fsync) as store:
        commit(store, "INDEX|a|")
        bench.files.taken_calls()
        compact_on_request(bench, store)
        assert bench.files.calls[:2] == ["fdatasync journal-1", "create journal-2.unfinished"]


def test_a_compaction_begins_when_the_journal_has_outgrown_what_it_may(bench: Bench) -> None:
    with bench.open(journal_bytes_min=1_000) as store:
        number = 0
        while (bench.path / "journal-1").stat().st_size <= 1_000:
            assert not wants_tick(store)
            store.tick()
            commit(store, f"INDEX|{number}|")
            number += 1
        assert bench.compactions == []
        assert wants_tick(store)
        store.tick()
        assert len(bench.compactions) == 1
        bench.compactions[0].complete()
        store.tick()
        assert not wants_tick(store)
        commit(store, "INDEX|a|")
        assert not wants_tick(store)


@pytest.mark.parametrize("is_after_compaction", [True, False])
def test_a_journal_may_be_as_large_as_its_snapshot(bench: Bench, is_after_compaction: bool) -> None:
    names = [f"package-{number}" for number in range(200)]
    with bench.open() as store:
        commit(store, *(f"INDEX|{name}|" for name in names))
        store.save()
    size = (bench.path / "snapshot-2").stat().st_size
    with bench.open(journal_bytes_min=100) as store:
        generation = 3
        if is_after_compaction:
            commit(store, "INDEX|x|")
            compact_on_request(bench, store).complete()
            store.tick()
            generation = 4
            size = (bench.path / "snapshot-4").stat().st_size
        bytes_of_journals = 0
        while bytes_of_journals <= size:
            assert not wants_tick(store)
            commit(store, *(f"INDEX|{name}|{name}" for name in names[:10]))
            commit(store, *(f"INDEX|{name}|" for name in names[:10]))
            first = 2 if generation == 3 else 4
            bytes_of_journals = sum((bench.path / f"journal-{g}").stat().st_size for g in range(first, generation + 1))
        assert wants_tick(store)


def test_journals_of_earlier_processes_count_too(bench: Bench) -> None:
    for number in range(5):
        with bench.open() as store:
            commit(store, f"INDEX|{number}|")
    size = sum((bench.path / f"journal-{generation}").stat().st_size for generation in range(1, 6))
    with bench.open(journal_bytes_min=size) as store:
        assert not wants_tick(store)
        commit(store, "INDEX|a|")
        assert wants_tick(store)
    with bench.open(journal_bytes_min=size) as store:
        assert wants_tick(store)
        store.tick()
        assert bench.compactions[-1].generation == 7
        bench.compactions[-1].complete()
        store.tick()
        assert names_in(bench.path) == {"snapshot-7", "journal-7"}
        assert not wants_tick(store)
    with bench.open() as store:
        assert sorted(store.graph) == ["0", "1", "2", "3", "4", "a"]


def test_where_the_snapshot_holds_everything_there_is_nothing_to_compact(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        store.request_compaction()
        store.tick()
        assert not wants_tick(store)
        commit(store, "INDEX|a|")
        compact_on_request(bench, store).complete()
        store.tick()
        store.request_compaction()
        store.tick()
        assert not wants_tick(store)
    assert len(bench.compactions) == 1
    assert [record.message for record in caplog.records if "nothing" in record.message] == [
        f"nothing to compact: {bench.path}/snapshot-1 holds everything",
        f"nothing to compact: {bench.path}/snapshot-2 holds everything",
    ]


def test_a_request_during_a_compaction_is_for_another_one(bench: Bench) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        first = compact_on_request(bench, store)
        commit(store, "INDEX|b|")
        store.request_compaction()
        store.tick()
        assert bench.compactions == [first]
        first.complete()
        store.tick()
        assert wants_tick(store)
        store.tick()
        assert [each.generation for each in bench.compactions] == [2, 3]


@pytest.mark.parametrize("status", [1, -9])
def test_a_compaction_that_dies_leaves_everything_and_the_next_one_makes_up_for_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with bench.open(journal_bytes_min=500) as store:
        commit(store, "INDEX|a|")
        compact_on_request(bench, store).status = status
        (bench.path / "snapshot-2.unfinished-77").write_bytes(b"half")
        commit(store, "INDEX|b|")
        before = contents_of(bench.path)
        store.tick()
        assert contents_of(bench.path) == before
        assert not wants_tick(store)
        assert caplog.records[-1].levelname == "ERROR"
        assert caplog.records[-1].message == (
            f"compaction ended with status {status}; the journals go on, and it is tried again when they have grown"
        )
        for number in range(20):
            commit(store, f"INDEX|{number}|")
        assert wants_tick(store)
        store.tick()
        assert [each.generation for each in bench.compactions] == [2, 3]
        bench.compactions[-1].complete()
        store.tick()
        assert names_in(bench.path) == {"snapshot-3", "journal-3"}
        expected = store.graph
    with bench.open() as store:
        assert store.graph == expected


def test_a_compaction_that_fails_is_not_tried_again_and_again(bench: Bench) -> None:
    with bench.open(journal_bytes_min=500) as store:
        number = 0
        for generation in range(2, 5):
            while not wants_tick(store):
                commit(store, f"INDEX|{number}|")
                number += 1
            size = sum(each.stat().st_size for each in bench.path.glob("journal-*"))
            assert size > 500 * (generation - 1)
            store.tick()
            assert bench.compactions[-1].generation == generation
            bench.compactions[-1].status = 1
            store.tick()


def test_a_compaction_that_leaves_nothing_is_not_believed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        compact_on_request(bench, store).status = 0
        before = contents_of(bench.path)
        store.tick()
        assert contents_of(bench.path) == before
        assert not wants_tick(store)
    assert caplog.records[-1].message == (
        f"compaction left no readable {bench.path}/snapshot-2: No such file or directory; the journals go on, "
        "and it is tried again when they have grown"
    )
    with bench.open() as store:
        assert store.graph == graph_of("a")


def test_a_compaction_that_cannot_be_started_is_tried_again_when_the_journals_have_grown(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start_error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    with bench.open(journal_bytes_min=500) as store:
        commit(store, "INDEX|a|")
        store.request_compaction()
        store.tick()
        assert not wants_tick(store)
        assert caplog.records[-1].message == (
            f"compaction cannot begin: {bench.path}: Resource temporarily unavailable; the journals go on, "
            "and it is tried again when they have grown"
        )
        bench.start_error = None
        for number in range(20):
            commit(store, f"INDEX|{number}|")
        assert wants_tick(store)
        store.tick()
        bench.compactions[-1].complete()
        store.tick()
        assert names_in(bench.path) == {"snapshot-3", "journal-3"}


def test_a_compaction_for_which_there_is_no_journal_to_turn_to_leaves_the_old_one(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        bench.files.fail("write journal-2.unfinished", errno.ENOSPC)
        store.request_compaction()
        store.tick()
        assert re.fullmatch(
            rf"compaction cannot begin: {bench.path}/journal-2\.unfinished-\d+: No space left on device; the journals "
            "go on, and it is tried again when they have grown",
            caplog.records[-1].message,
        )
        assert bench.compactions == []
        commit(store, "INDEX|b|")
        assert names_in(bench.path) == {"snapshot-1", "journal-1"}
    with bench.open() as store:
        assert store.graph == graph_of("a", "b")


@pytest.mark.parametrize("failing", ["fdatasync journal-1", r"fsync \."])
def test_a_disk_that_breaks_as_a_compaction_begins_ends_the_server(bench: Bench, failing: str) -> None:
    with bench.open(Fsync.EVERYSEC) as store:
        commit(store, "INDEX|a|")
        bench.files.fail(failing)
        store.request_compaction()
        with pytest.raises(JournalError):
            store.tick()


def test_old_generations_that_cannot_be_deleted_are_a_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        compact_on_request(bench, store).complete()
        bench.files.fail("unlink snapshot-1", errno.EROFS)
        store.tick()
        assert caplog.records[-2].levelname == "WARNING"
        assert caplog.records[-2].message == (
            f"cannot delete {bench.path}/snapshot-1, which is superfluous: Read-only file system"
        )
        assert not wants_tick(store)
        commit(store, "INDEX|b|")
    with bench.open() as store:
        assert store.graph == graph_of("a", "b")
    assert names_in(bench.path) == {"snapshot-2", "journal-2"}


def test_a_compaction_that_outlived_its_server_does_no_harm(bench: Bench) -> None:
    """It may end at any moment of the next server: its snapshot is that of an earlier moment, with its journals."""
    with bench.open() as store:
        commit(store, "INDEX|a|")
        orphan = compact_on_request(bench, store)
        commit(store, "INDEX|b|")
    with bench.open() as store:
        orphan.complete()
        commit(store, "INDEX|c|")
        compact_on_request(bench, store).complete()
        store.tick()
        assert names_in(bench.path) == {"snapshot-4", "journal-4"}
        (bench.path / "snapshot-2").write_bytes(b"even later, whatever it is")
        commit(store, "INDEX|d|")
    with bench.open() as store:
        assert store.graph == graph_of("a", "b", "c", "d")


# The end


def test_a_save_leaves_one_generation_and_is_skipped_where_nothing_has_changed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        bench.files.taken_calls()
        store.save()
        assert steps(bench) == [
            "create journal-2.unfinished",
            "write journal-2.unfinished",
            "fsync journal-2.unfinished",
            "rename journal-2",
            "fsync .",
            "create snapshot-2.unfinished",
            "write snapshot-2.unfinished",
            "fsync snapshot-2.unfinished",
            "rename snapshot-2",
            "fsync .",
            "unlink journal-1",
            "unlink snapshot-1",
        ]
        assert (bench.path / "snapshot-2").read_bytes() == snapshot_of(store.graph)
        store.save()
        assert bench.files.calls == []
    assert names_in(bench.path) == {"journal-2", "snapshot-2"}
    assert [record.message for record in caplog.records] == [
        f"saved 1 package in {bench.path}/snapshot-2",
        f"nothing has changed since {bench.path}/snapshot-2",
    ]


def test_what_has_not_been_synced_is_synced_by_a_save(bench: Bench) -> None:
    with bench.open(Fsync.NEVER) as store:
        commit(store, "INDEX|a|")
        bench.files.taken_calls()
        store.save()
        assert bench.files.calls[0] == "fdatasync journal-1"


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_save_after_a_compaction(bench: Bench, is_changed: bool) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        compact_on_request(bench, store).complete()
        store.tick()
        if is_changed:
            commit(store, "INDEX|b|")
        store.save()
        generation = 2 + is_changed
        assert names_in(bench.path) == {f"snapshot-{generation}", f"journal-{generation}"}
        expected = store.graph
    with bench.open() as store:
        assert store.graph == expected


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_save_ends_a_compaction_that_goes_on_and_clears_up_after_it(bench: Bench, is_complete: bool) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        compaction = compact_on_request(bench, store)
        (bench.path / "snapshot-2.unfinished-77").write_bytes(b"half")
        if is_complete:
            compaction.complete()
        store.save()
        assert compaction.is_killed
        assert names_in(bench.path) == {"snapshot-3", "journal-3"}
    with bench.open() as store:
        assert store.graph == graph_of("a")


def test_closing_ends_a_compaction_and_leaves_the_files_as_they_are(bench: Bench) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        compaction = compact_on_request(bench, store)
        before = contents_of(bench.path)
    assert compaction.is_killed
    assert contents_of(bench.path) == before


@pytest.mark.parametrize(
    "failing", ["write journal-2.unfinished", "write snapshot-2.unfinished", "fsync snapshot-2.unfinished"]
)
def test_a_save_for_which_there_is_no_space_loses_nothing(bench: Bench, failing: str) -> None:
    with bench.open() as store:
        commit(store, "INDEX|a|")
        bench.files.fail(failing, errno.ENOSPC)
        with pytest.raises(DataDirectoryError) as failed:
            store.save()
    assert str(failed.value) == (
        f"cannot save a snapshot in {bench.path}: No space left on device; the journal holds every change, so see to "
        "the disk, and check the directory with: scoop-server check"
    )
    with bench.open() as store:
        assert store.graph == graph_of("a")


def test_a_save_notices_that_its_directory_has_gone(bench: Bench) -> None:
    with bench.open() as store:
        for each in bench.path.iterdir():
            each.unlink()
        with pytest.raises(DataDirectoryError, match=f"cannot save a snapshot in {bench.path}: No such file"):
            store.save()


# Memory
