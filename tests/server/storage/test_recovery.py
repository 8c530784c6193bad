"""Reading a data directory: all that was sealed, or one line that says where the fault is and changes nothing."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoop_core import JOURNAL_VERSION, NO_BATCH, SNAPSHOT_VERSION, Changes, DependencyGraph

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.recovery import RecoveredState, recover

from tests.support import strategies
from tests.support.faulty_files import FaultyFiles, contents_of
from tests.support.journals import Batch, Written, time_of, written
from tests.support.storage import snapshot_of

WAY_OUT = "restore the directory from a backup, or inspect it with: scoop-server check"

INTERRUPTED = "batch {} was interrupted while it was written, or the file was cut short since; no seal tells which"

EMPTY_SNAPSHOT = snapshot_of(DependencyGraph())

BATCHES = [["INDEX|gmp|", "INDEX|isl|gmp"], ["REMOVE|isl|"], ["INDEX|gmp|gmp"], ["INDEX|a|", "INDEX|b|a", "REMOVE|b|"]]


def graph_after(*batches: Batch) -> DependencyGraph:
    graph = DependencyGraph()
    for lines in batches:
        for line in lines:
            command, package, listed = line.split("|")
            if command == "INDEX":
                graph.index(package, listed.split(",") if listed else [])
            else:
                graph.remove(package)
    return graph


def journals_of(*parts: Sequence[Batch], first_generation: int = 1) -> list[Written]:
    """Return the journals of a chain, each with some batches."""
    journals: list[Written] = []
    for generation, batches in enumerate(parts, first_generation):
        after = journals[-1].head if journals else NO_BATCH
        journals.append(written(batches, generation=generation, after=after))
    return journals


def fill(path: Path, **files: bytes) -> None:
    """Write files; underscores in their names stand for hyphens."""
    for name, data in files.items():
        (path / name.replace("_", "-")).write_bytes(data)


def recovered(path: Path) -> RecoveredState | None:
    with DataDirectory(str(path)) as directory:
        return recover(directory)


def found(path: Path) -> RecoveredState:
    """Return the recovered state of ``path``, and check that reading it changes nothing."""
    unchanged = contents_of(path)
    state = recovered(path)
    assert contents_of(path) == unchanged
    assert state is not None
    return state


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


# What there is


def test_a_directory_in_which_nothing_was_ever_kept(tmp_path: Path) -> None:
    assert recovered(tmp_path) is None
    for name in ("lock", "snapshot-1.unfinished-12", "journal-1.unfinished-12", "notes"):
        (tmp_path / name).write_bytes(b"whatever")
    assert recovered(tmp_path) is None


def test_a_directory_that_was_begun_and_not_finished_is_new(tmp_path: Path) -> None:
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT)
    assert recovered(tmp_path) is None


def test_an_empty_index(tmp_path: Path) -> None:
    [journal] = journals_of([])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data)
    state = found(tmp_path)
    read, size = state.journal, len(journal.data)
    assert state == RecoveredState(DependencyGraph(), 1, len(EMPTY_SNAPSHOT), read, batches=0, journal_bytes=size)
    assert (read.generation, read.head, read.sealed, read.unsealed_bytes) == (1, journal.head, journal.data, 0)


def test_a_snapshot_and_all_journals_that_follow_it(tmp_path: Path) -> None:
    snapshot = snapshot_of(graph_after(BATCHES[0]))
    earlier = written(BATCHES[:1])
    first = written(BATCHES[1:2], generation=7, after=earlier.head)
    empty = written([], generation=8, after=first.head)
    last = written(BATCHES[2:], generation=9, after=empty.head)
    fill(tmp_path, snapshot_7=snapshot, journal_7=first.data, journal_8=empty.data, journal_9=last.data + b"INDEX|")
    state = found(tmp_path)
    read, size = state.journal, len(first.data + empty.data + last.data)
    assert state == RecoveredState(graph_after(*BATCHES), 7, len(snapshot), read, batches=3, journal_bytes=size)
    assert (read.generation, read.head, read.sealed, read.unsealed_bytes) == (9, last.head, last.data, 6)
    assert read.unsealed_reason == INTERRUPTED.format(5)
    assert last.head.number == 4


def test_superfluous_files_are_not_read(tmp_path: Path) -> None:
    """Files that a later snapshot has made superfluous are on their way out; a start deletes them."""
    [journal] = journals_of(BATCHES[1:], first_generation=7)
    fill(tmp_path, snapshot_7=snapshot_of(graph_after(BATCHES[0])), journal_7=journal.data)
    fill(tmp_path, snapshot_6=b"broken", journal_6=b"broken", journal_4=b"broken", snapshot_1=b"")
    (tmp_path / "journal-8.unfinished-3").write_bytes(b"broken")
    assert found(tmp_path).graph == graph_after(*BATCHES)


def test_a_graph_that_was_recovered_accepts_cycles_as_the_journal_holds_them(tmp_path: Path) -> None:
    cycle = ["INDEX|a|", "INDEX|b|a", "INDEX|a|b"]
    [journal] = journals_of([cycle])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data)
    graph = found(tmp_path).graph
    assert graph.dependencies("a") == ("b",)
    assert not graph.reject_cycles


# What is missing


@pytest.mark.parametrize("gone", [7, 8])
def test_generations_of_journals_must_be_contiguous(tmp_path: Path, gone: int) -> None:
    journals = journals_of(BATCHES[:1], BATCHES[1:2], BATCHES[2:], first_generation=7)
    fill(tmp_path, snapshot_7=EMPTY_SNAPSHOT)
    for generation, journal in enumerate(journals, 7):
        fill(tmp_path, **{f"journal_{generation}": journal.data})
    assert found(tmp_path).graph == graph_after(*BATCHES)
    (tmp_path / f"journal-{gone}").unlink()
    assert refusal(tmp_path) == f"{tmp_path}/journal-{gone} is missing; {WAY_OUT} {tmp_path}"


def test_journals_without_a_snapshot(tmp_path: Path) -> None:
    for generation, journal in enumerate(journals_of(BATCHES[:2], BATCHES[2:]), 1):
        fill(tmp_path, **{f"journal_{generation}": journal.data})
    assert refusal(tmp_path) == f"{tmp_path}/snapshot-1 is missing; {WAY_OUT} {tmp_path}"


@pytest.mark.parametrize(("generation", "graph"), [(1, graph_after(BATCHES[0])), (2, DependencyGraph())])
def test_a_snapshot_without_its_journal(tmp_path: Path, generation: int, graph: DependencyGraph) -> None:
    """Only an empty first one can be the beginning of a directory; any other had a journal before it had a name."""
    fill(tmp_path, **{f"snapshot_{generation}": snapshot_of(graph)})
    assert refusal(tmp_path) == f"{tmp_path}/journal-{generation} is missing; {WAY_OUT} {tmp_path}"


def test_a_snapshot_whose_journal_is_missing_before_a_later_one(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_2=second.data)
    assert refusal(tmp_path) == f"{tmp_path}/journal-1 is missing; {WAY_OUT} {tmp_path}"
    fill(tmp_path, journal_1=first.data)
    assert found(tmp_path).batches == 4


# Damage


def test_a_broken_snapshot_names_the_byte(tmp_path: Path) -> None:
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT[:-1], journal_1=written([]).data)
    assert refusal(tmp_path) == (
        f"cannot read {tmp_path}/snapshot-1: byte {len(EMPTY_SNAPSHOT) - 1}: the snapshot is truncated: "
        f"its last line is not a trailer; {WAY_OUT} {tmp_path}"
    )


def test_the_newest_snapshot_counts_also_where_only_an_older_one_is_whole(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data, snapshot_2=b"", journal_2=second.data)
    assert refusal(tmp_path).startswith(f"cannot read {tmp_path}/snapshot-2: byte 0: the snapshot is empty; ")


def test_a_broken_batch_in_the_middle_names_the_byte(tmp_path: Path) -> None:
    [journal] = journals_of(BATCHES)
    data = journal.data.replace(b"REMOVE|isl|", b"REMOVE|osl|")
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=data)
    assert refusal(tmp_path) == (
        f"cannot read {tmp_path}/journal-1: byte {journal.ends[1]}: batch 2 is damaged: the seal of batch 3 proves "
        f"that it was on disk; {WAY_OUT} {tmp_path}"
    )


def test_a_broken_end_is_refused_where_another_journal_follows(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    for broken in (first.data[:-1], first.data + b"\1", first.data + first.batches[0]):
        fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=broken, journal_2=second.data)
        place = first.ends[1] if len(broken) < len(first.data) else first.ends[2]
        assert refusal(tmp_path) == (
            f"cannot read {tmp_path}/journal-1: byte {place}: a batch is damaged, and another journal follows; "
            f"{WAY_OUT} {tmp_path}"
        )


def test_a_journal_that_lost_whole_batches_at_its_end_does_not_fit_the_next_one(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data[: first.ends[1]], journal_2=second.data)
    assert "journal-2: byte 0: it continues batch 2, but the files before it end with 1; " in refusal(tmp_path)


def test_a_journal_of_another_directory_does_not_fit(tmp_path: Path) -> None:
    first, _ = journals_of(BATCHES[:2], BATCHES[2:])
    _, second = journals_of([["INDEX|x|"], ["INDEX|y|"]], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data, journal_2=second.data)
    assert refusal(tmp_path).startswith(f"cannot read {tmp_path}/journal-2: byte 0: it continues batch 2, but ")


def test_a_journal_under_the_name_of_another_is_detected_by_its_header(tmp_path: Path) -> None:
    journals = journals_of(BATCHES[:1], BATCHES[1:2], BATCHES[2:3], BATCHES[3:])
    fill(tmp_path, snapshot_3=snapshot_of(graph_after(*BATCHES[:2])))
    fill(tmp_path, journal_3=journals[2].data, journal_4=journals[2].data)
    assert "journal-4: byte 0: the header is that of generation 3; " in refusal(tmp_path)
    fill(tmp_path, journal_3=journals[3].data, journal_4=journals[3].data)
    assert "journal-3: byte 0: the header is that of generation 4; " in refusal(tmp_path)


@pytest.mark.parametrize(
    "line", ["INDEX|gmp|", "REMOVE|nothing|", "INDEX|x|missing", "REMOVE|gmp|", "nonsense", "QUERY|gmp|"]
)
def test_a_batch_with_a_request_that_changes_nothing_is_refused(tmp_path: Path, line: str) -> None:
    """With the checksum right: the journal and its snapshot do not belong together, or a program has written it."""
    journal = written([BATCHES[0], ["INDEX|new|", line]])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data)
    problem = f"journal-1: byte {journal.ends[1]}: batch 2 holds a request that changes nothing; "
    assert problem in refusal(tmp_path)


def test_a_snapshot_of_another_moment_is_detected_by_a_request_that_changes_nothing(tmp_path: Path) -> None:
    [journal] = journals_of(BATCHES)
    fill(tmp_path, snapshot_1=snapshot_of(graph_after(BATCHES[0])), journal_1=journal.data)
    assert f"journal-1: byte {journal.ends[0]}: batch 1 holds a request that changes nothing" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["snapshot-1", "journal-1"])
def test_a_newer_format_is_refused_with_its_version(tmp_path: Path, name: str) -> None:
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=written([]).data)
    kind = name.partition("-")[0]
    (tmp_path / name).write_bytes(b"#scoop %s 9 as a later version writes it\n" % kind.encode())
    version = {"snapshot": SNAPSHOT_VERSION, "journal": JOURNAL_VERSION}[kind]
    assert refusal(tmp_path) == (
        f"cannot read {tmp_path}/{name}: byte 0: the {kind} has format 9; this version reads format {version}; "
        f"start the version that wrote it, or a later one"
    )


@pytest.mark.parametrize(
    "call", ["listdir .", "open snapshot-1", "read snapshot-1", "open journal-1", "read journal-1"]
)
def test_a_file_that_cannot_be_read_is_a_refusal_and_never_an_empty_index(tmp_path: Path, call: str) -> None:
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=written(BATCHES).data)
    files = FaultyFiles()
    files.fail(re.escape(call), errno.EIO)
    name = call.split()[1]
    place = tmp_path if name == "." else tmp_path / name
    assert refusal(tmp_path, files=files) == f"cannot read {place}: Input/output error; {WAY_OUT} {tmp_path}"


# The tail


@pytest.mark.parametrize(
    ("synced", "reason"),
    [
        (lambda number: number - 1, None),
        (lambda _: 1, "batch 3 is damaged, and the seal of batch 4 proves that it was not synced"),
    ],
)
def test_a_later_seal_shows_whether_a_broken_batch_was_on_disk(
    tmp_path: Path, synced: Callable[[int], int], reason: str | None
) -> None:
    journal = written(BATCHES, synced=synced)
    data = journal.data.replace(b"INDEX|gmp|gmp", b"INDEX|gmp|gnp")
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=data)
    if reason is None:
        assert "batch 3 is damaged: the seal of batch 4 proves that it was on disk" in refusal(tmp_path)
    else:
        assert found(tmp_path).journal.unsealed_reason == reason


def test_preallocated_zeros_are_no_tail(tmp_path: Path) -> None:
    """A killed server may leave it at the end of its last journal, and of the one before."""
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data + bytes(1_000), journal_2=second.data + bytes(100))
    state = found(tmp_path)
    assert state.graph == graph_after(*BATCHES)
    assert (state.journal.sealed_bytes, state.journal.unsealed_bytes) == (len(second.data), 0)
    assert state.journal_bytes == len(first.data) + len(second.data)


def test_a_fifo_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "snapshot-1")
    with pytest.raises(DataDirectoryError, match="snapshot-1: it is a FIFO; restore the directory"):
        recovered(tmp_path)


def test_a_shortage_of_descriptors_is_no_reason_to_restore(tmp_path: Path) -> None:
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT)
    files = FaultyFiles()
    files.fail("open snapshot-1", errno.EMFILE)
    assert refusal(tmp_path, files) == (
        f"cannot read {tmp_path}/snapshot-1: Too many open files; raise the limit with ulimit -n or LimitNOFILE="
    )


# Every tail, through the real recovery


def test_the_last_journal_cut_anywhere_recovers_to_a_state_at_a_seal(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data, journal_2=second.data)
    for length in range(len(second.data), second.ends[0] - 1, -1):
        fill(tmp_path, journal_2=second.data[:length])
        count = 2 + sum(end <= length for end in second.ends[1:])
        state = recovered(tmp_path)
        assert state is not None
        assert state.graph == graph_after(*BATCHES[:count])
        read = state.journal
        assert (read.head.number, read.sealed_bytes) == (count, second.ends[count - 2])
        assert read.unsealed_bytes == length - read.sealed_bytes
    for length in range(second.ends[0]):
        fill(tmp_path, journal_2=second.data[:length])
        with pytest.raises(DataDirectoryError, match=f"cannot read {tmp_path}/journal-2: byte 0: "):
            recovered(tmp_path)


def test_a_journal_before_the_last_one_cut_anywhere_is_refused(tmp_path: Path) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    fill(tmp_path, snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data, journal_2=second.data)
    for length in range(len(first.data)):
        fill(tmp_path, journal_1=first.data[:length])
        with pytest.raises(DataDirectoryError, match=f"cannot read {tmp_path}/journal-[12]: byte [0-9]+: "):
            recovered(tmp_path)


@pytest.mark.parametrize("name", ["snapshot-1", "journal-1", "journal-2"])
def test_a_flipped_bit_anywhere_is_a_refusal_or_drops_the_last_batch(tmp_path: Path, name: str) -> None:
    """And in no case a state that never was: only the last batch is not vouched for by anything after it."""
    snapshot = snapshot_of(graph_after(BATCHES[0]))
    authors = [(0, "CN=a"), (1, "uid=0")]
    first = written(BATCHES[1:2], times=time_of, authors=authors)
    second = written(BATCHES[2:], generation=2, after=first.head, times=time_of, authors=authors)
    fill(tmp_path, snapshot_1=snapshot, journal_1=first.data, journal_2=second.data)
    data = bytearray((tmp_path / name).read_bytes())
    for position in range(len(data)):
        bit = 1 << position % 8
        data[position] ^= bit
        (tmp_path / name).write_bytes(data)
        data[position] ^= bit
        if name == "journal-2" and position >= second.ends[1]:
            state = recovered(tmp_path)
            assert state is not None
            assert state.graph == graph_after(*BATCHES[:3])
        else:
            with pytest.raises(DataDirectoryError, match=f"^cannot read {tmp_path}/(journal-2|{name}): byte "):
                recovered(tmp_path)


@given(history=st.lists(strategies.batches, max_size=12), cuts=st.lists(st.integers(0, 12), max_size=3).map(sorted))
@settings(max_examples=50)
def test_any_history_in_any_number_of_journals_is_recovered(
    tmp_path_factory: pytest.TempPathFactory, history: list[str], cuts: list[int]
) -> None:
    graph = DependencyGraph()
    turns: list[list[str]] = []
    for text in history:
        changes = Changes()
        graph.apply_lines(text, changes)
        turns += [changes.lines] if changes else []
    bounds = [0, *(min(cut, len(turns)) for cut in cuts), len(turns)]
    path = tmp_path_factory.mktemp("history")
    fill(path, snapshot_1=EMPTY_SNAPSHOT)
    for generation, journal in enumerate(journals_of(*(turns[start:end] for start, end in pairwise(bounds))), 1):
        fill(path, **{f"journal_{generation}": journal.data})
    state = found(path)
    assert state.graph == graph
    assert state.batches == state.journal.head.number == len(turns)
    shutil.rmtree(path)
