"""The state at the end of the files: all that was sealed, or an error that says where the fault is."""

import re
from collections.abc import Sequence
from zlib import crc32

import pytest

from scoop_core import (
    JOURNAL_VERSION,
    NO_BATCH,
    SNAPSHOT_VERSION,
    ArchivedFiles,
    DependencyGraph,
    RecoveredState,
    Trail,
    TranscriptError,
    UnreadableFile,
    UnsupportedFormat,
    decode_snapshot,
    encode_snapshot,
)

from tests.support.journals import Batch, Written, time_of, written

INTERRUPTED = "batch {} was interrupted while it was written, or the file was cut short since; no seal tells which"


def snapshot_of(graph: DependencyGraph) -> bytes:
    return b"".join(encode_snapshot(graph))


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


def trail_of(**files: bytes) -> Trail:
    """Return the trail of files; underscores in their names stand for hyphens."""
    return Trail(ArchivedFiles({name.replace("_", "-"): data for name, data in files.items()}, "data"))


def found(**files: bytes) -> RecoveredState:
    state = trail_of(**files).recover()
    assert state is not None
    return state


def refusal(**files: bytes) -> str:
    """Return the problem of the file that cannot be read, which it names."""
    with pytest.raises(UnreadableFile) as refused:
        trail_of(**files).recover()
    error = refused.value
    assert str(error) == f"{error.problem}; restore it from an archive"
    assert error.problem.removeprefix("cannot read ").startswith(f"data/{error.kind}-{error.generation}")
    return error.problem


# What there is


def test_files_in_which_nothing_was_ever_kept() -> None:
    assert trail_of().recover() is None
    others = {"snapshot-1.unfinished-12": b"whatever", "journal-1.unfinished-12": b"whatever"}
    assert trail_of(lock=b"", notes=b"whatever", **others).recover() is None


def test_an_empty_snapshot_alone_is_an_interrupted_creation() -> None:
    assert trail_of(snapshot_1=EMPTY_SNAPSHOT).recover() is None


def test_an_empty_index() -> None:
    [journal] = journals_of([])
    state = found(snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data)
    read, size = state.journal, len(journal.data)
    assert state == RecoveredState(DependencyGraph(), 1, len(EMPTY_SNAPSHOT), read, batches=0, journal_bytes=size)
    assert (read.generation, read.head, read.sealed, read.unsealed_bytes) == (1, journal.head, journal.data, 0)


def test_a_snapshot_and_all_journals_that_follow_it() -> None:
    snapshot = snapshot_of(graph_after(BATCHES[0]))
    earlier = written(BATCHES[:1])
    first = written(BATCHES[1:2], generation=7, after=earlier.head)
    empty = written([], generation=8, after=first.head)
    last = written(BATCHES[2:], generation=9, after=empty.head)
    state = found(snapshot_7=snapshot, journal_7=first.data, journal_8=empty.data, journal_9=last.data + b"INDEX|")
    read, size = state.journal, len(first.data + empty.data + last.data)
    assert state == RecoveredState(graph_after(*BATCHES), 7, len(snapshot), read, batches=3, journal_bytes=size)
    assert (read.generation, read.head, read.sealed, read.unsealed_bytes) == (9, last.head, last.data, 6)
    assert read.unsealed_reason == INTERRUPTED.format(5)
    assert last.head.number == 4


def test_superfluous_files_are_not_read() -> None:
    """A start deletes the files that a later snapshot has superseded."""
    [journal] = journals_of(BATCHES[1:], first_generation=7)
    broken = {"snapshot_6": b"broken", "journal_6": b"broken", "journal_4": b"broken", "snapshot_1": b""}
    state = found(snapshot_7=snapshot_of(graph_after(BATCHES[0])), journal_7=journal.data, **broken)
    assert state.graph == graph_after(*BATCHES)


def test_a_graph_that_was_recovered_accepts_cycles_as_the_journal_holds_them() -> None:
    [journal] = journals_of([["INDEX|a|", "INDEX|b|a", "INDEX|a|b"]])
    graph = found(snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data).graph
    assert graph.dependencies("a") == ("b",)
    assert not graph.reject_cycles


def test_a_right_checksum_is_trusted_as_the_proof_of_a_snapshot() -> None:
    """To verify more would take as long again at each start."""
    data = b"#scoop snapshot 1\nINDEX|a|\n#dependents 5\n#end packages 1 lines 1 crc32 "
    with pytest.raises(TranscriptError):
        decode_snapshot(data := data + b"%08x\n" % crc32(data))
    assert found(snapshot_1=data, journal_1=written([]).data).graph.dependent_count("a") == 5


# What is missing


@pytest.mark.parametrize("gone", [7, 8])
def test_generations_of_journals_must_be_contiguous(gone: int) -> None:
    journals = journals_of(BATCHES[:1], BATCHES[1:2], BATCHES[2:], first_generation=7)
    files = {f"journal_{generation}": journal.data for generation, journal in enumerate(journals, 7)}
    assert found(snapshot_7=EMPTY_SNAPSHOT, **files).graph == graph_after(*BATCHES)
    del files[f"journal_{gone}"]
    assert refusal(snapshot_7=EMPTY_SNAPSHOT, **files) == f"data/journal-{gone} is missing"


def test_journals_without_a_snapshot() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    assert refusal(journal_1=first.data, journal_2=second.data) == "data/snapshot-1 is missing"


@pytest.mark.parametrize(("generation", "graph"), [(1, graph_after(BATCHES[0])), (2, DependencyGraph())])
def test_a_snapshot_without_its_journal(generation: int, graph: DependencyGraph) -> None:
    """Only an empty first one can be that of an interrupted creation: the journal of any other one is created first."""
    files = {f"snapshot_{generation}": snapshot_of(graph)}
    assert refusal(**files) == f"data/journal-{generation} is missing"


# Damage


def test_the_newest_snapshot_counts_also_where_only_an_older_one_is_whole() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    problem = refusal(snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data, snapshot_2=b"", journal_2=second.data)
    assert problem == "cannot read data/snapshot-2: byte 0: the snapshot is empty"


def test_a_broken_end_is_refused_where_another_journal_follows() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    for broken in (first.data[:-1], first.data + b"\1", first.data + first.batches[0]):
        place = first.ends[1] if len(broken) < len(first.data) else first.ends[2]
        assert refusal(snapshot_1=EMPTY_SNAPSHOT, journal_1=broken, journal_2=second.data) == (
            f"cannot read data/journal-1: byte {place}: a batch is damaged, and another journal follows"
        )


def test_a_journal_that_lost_whole_batches_at_its_end_does_not_fit_the_next_one() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    problem = refusal(snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data[: first.ends[1]], journal_2=second.data)
    assert problem.endswith("journal-2: byte 0: it continues batch 2, but the files before it end with 1")


def test_a_journal_under_the_name_of_another_is_detected_by_its_header() -> None:
    *_, third, fourth = journals_of(BATCHES[:1], BATCHES[1:2], BATCHES[2:3], BATCHES[3:])
    snapshot = snapshot_of(graph_after(*BATCHES[:2]))
    for journal, name, generation in [(third, "journal-4", 3), (fourth, "journal-3", 4)]:
        problem = refusal(snapshot_3=snapshot, journal_3=journal.data, journal_4=journal.data)
        assert problem == f"cannot read data/{name}: byte 0: the header is that of generation {generation}"


@pytest.mark.parametrize(
    "line", ["INDEX|gmp|", "REMOVE|nothing|", "INDEX|x|missing", "REMOVE|gmp|", "nonsense", "QUERY|gmp|"]
)
def test_a_batch_with_a_request_that_changes_nothing_is_refused(line: str) -> None:
    """With the checksum right: the journal and its snapshot do not belong together, or a program has written it."""
    journal = written([BATCHES[0], ["INDEX|new|", line]])
    problem = refusal(snapshot_1=EMPTY_SNAPSHOT, journal_1=journal.data)
    assert problem.endswith(f"journal-1: byte {journal.ends[1]}: batch 2 holds a request that changes nothing")


@pytest.mark.parametrize(("kind", "version"), [("snapshot", SNAPSHOT_VERSION), ("journal", JOURNAL_VERSION)])
def test_a_newer_format_is_the_cause_of_the_error(kind: str, version: int) -> None:
    newer = {f"{kind}_1": b"#scoop %s 9 as a later version writes it\n" % kind.encode()}
    with pytest.raises(
        UnreadableFile, match=f"{kind}-1: .* has format 9; this version reads format {version}"
    ) as error:
        trail_of(**{"snapshot_1": EMPTY_SNAPSHOT, "journal_1": written([]).data} | newer).recover()
    assert isinstance(error.value.__cause__, UnsupportedFormat)


# The tail


def test_preallocated_zeros_are_no_tail() -> None:
    """A killed server may leave it at the end of its last journal, and of the one before."""
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    journals = {"journal_1": first.data + bytes(1_000), "journal_2": second.data + bytes(100)}
    state = found(snapshot_1=EMPTY_SNAPSHOT, **journals)
    assert state.graph == graph_after(*BATCHES)
    assert (state.journal.sealed_bytes, state.journal.unsealed_bytes) == (len(second.data), 0)
    assert state.journal_bytes == len(first.data) + len(second.data)


# Before a generation


def test_the_state_before_a_generation_is_that_of_the_files_before_it() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    journals = {"journal_1": first.data, "journal_2": second.data, "journal_3": b"being written"}
    trail = trail_of(snapshot_1=EMPTY_SNAPSHOT, snapshot_3=b"unfinished", **journals)
    state = trail.recover_before(3)
    assert state.graph == graph_after(*BATCHES)
    assert (state.snapshot_generation, state.journal.generation) == (1, 2)
    snapshot = snapshot_of(graph_after(*BATCHES[:2]))
    assert trail_of(snapshot_1=b"", snapshot_2=snapshot, **journals).recover_before(3).batches == 2


@pytest.mark.parametrize(
    ("generation", "problem"),
    [
        (1, "data/snapshot-1 is missing"),
        (3, "cannot read data/journal-2: byte {}: a batch is damaged, and another journal follows"),
        (4, "data/journal-3 is missing"),
    ],
)
def test_what_is_missing_or_breaks_off_before_a_generation_is_refused(generation: int, problem: str) -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    journals = {"journal_1": first.data, "journal_2": second.data + b"INDEX|" * (generation == 3)}
    with pytest.raises(UnreadableFile) as refused:
        trail_of(snapshot_1=EMPTY_SNAPSHOT, **journals).recover_before(generation)
    assert refused.value.problem == problem.format(len(second.data))


def test_nothing_before_a_generation_is_a_missing_snapshot() -> None:
    with pytest.raises(UnreadableFile, match="data/snapshot-4 is missing"):
        trail_of().recover_before(5)


# Every tail


def test_the_last_journal_cut_anywhere_recovers_to_a_state_at_a_seal() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    files = {"snapshot_1": EMPTY_SNAPSHOT, "journal_1": first.data}
    for length in range(len(second.data), second.ends[0] - 1, -1):
        state = found(**files, journal_2=second.data[:length])
        count = 2 + sum(end <= length for end in second.ends[1:])
        assert state.graph == graph_after(*BATCHES[:count])
        read = state.journal
        assert (read.head.number, read.sealed_bytes) == (count, second.ends[count - 2])
        assert read.unsealed_bytes == length - read.sealed_bytes
    for length in range(second.ends[0]):
        assert refusal(**files, journal_2=second.data[:length]).startswith("cannot read data/journal-2: byte 0: ")


def test_a_journal_before_the_last_one_cut_anywhere_is_refused() -> None:
    first, second = journals_of(BATCHES[:2], BATCHES[2:])
    for length in range(len(first.data)):
        problem = refusal(snapshot_1=EMPTY_SNAPSHOT, journal_1=first.data[:length], journal_2=second.data)
        assert re.match("cannot read data/journal-[12]: byte [0-9]+: ", problem)


@pytest.mark.parametrize("name", ["snapshot_1", "journal_1", "journal_2"])
def test_a_flipped_bit_anywhere_is_a_refusal_or_drops_the_last_batch(name: str) -> None:
    """Never another state: only the last batch has no later seal that covers it."""
    authors = [(0, "CN=a"), (1, "uid=0")]
    first = written(BATCHES[1:2], times=time_of, authors=authors)
    second = written(BATCHES[2:], generation=2, after=first.head, times=time_of, authors=authors)
    snapshot = snapshot_of(graph_after(BATCHES[0]))
    files = {"snapshot_1": snapshot, "journal_1": first.data, "journal_2": second.data}
    for position in range(len(files[name])):
        data = bytearray(files[name])
        data[position] ^= 1 << position % 8
        flipped = files | {name: bytes(data)}
        if name == "journal_2" and position >= second.ends[1]:
            assert found(**flipped).graph == graph_after(*BATCHES[:3])
        else:
            assert re.match(f"cannot read data/(journal-2|{name.replace('_', '-')}): byte ", refusal(**flipped))
