"""The trail: all batches of a chain of journals in order, and the index at any moment."""

from collections.abc import Callable

import pytest

from scoop_core import (
    BEGINNING,
    END,
    NO_BATCH,
    ArchivedFiles,
    DependencyGraph,
    HistoryError,
    HistoryGone,
    Moment,
    Seal,
    Trail,
    encode_snapshot,
)

from tests.support.journals import Written, time_of, written

SECOND = 1_000
LAST = 12
PER_JOURNAL = 3

STATES = [DependencyGraph.from_mapping({f"p{each}": () for each in range(1, number + 1)}) for number in range(LAST + 1)]
"""The index after each batch: batch N indexes pN."""


def journal(generation: int, after: Seal, count: int = PER_JOURNAL) -> Written:
    batches = [[f"INDEX|p{after.number + each}|"] for each in range(1, count + 1)]
    return written(batches, generation=generation, after=after, times=time_of, authors=[(0, "CN=a")])


def snapshot(number: int) -> bytes:
    return b"".join(encode_snapshot(STATES[number]))


def chain() -> dict[str, bytes]:
    """Return four snapshots, each with a journal of three batches that continues it, and a last one without batches."""
    files, head = {"lock": b"", "journal-6.unfinished-7": b""}, NO_BATCH
    for generation in range(1, LAST // PER_JOURNAL + 1):
        files[f"snapshot-{generation}"] = snapshot(head.number)
        continued = journal(generation, head)
        files[f"journal-{generation}"], head = continued.data, continued.head
    return files | {"journal-5": journal(5, head, 0).data}


FILES = chain()


def without(*names: str) -> Trail:
    return Trail(ArchivedFiles({name: data for name, data in FILES.items() if name not in names}, "data/"))


def numbers(trail: Trail, since: Moment = BEGINNING) -> list[int]:
    return [batch.seal.number for batch in trail.batches(since)]


def test_all_batches_are_read_in_order_with_their_times_and_authors() -> None:
    batches = list(without().batches())
    assert [each.seal.number for each in batches] == [*range(1, LAST + 1)]
    assert [each.seal.time for each in batches] == [time_of(number) for number in range(1, LAST + 1)]
    assert batches[9].lines == "INDEX|p10|\n"
    assert batches[9].authors == ((0, "CN=a"),)


@pytest.mark.parametrize("since", [0, 1, 3, 4, 11, 12])
def test_batches_after_a_number_or_from_a_time_on(since: int) -> None:
    after = numbers(without(), Moment(batch=since))
    assert after == numbers(without(), Moment(time=time_of(since + 1))) == [*range(since + 1, LAST + 1)]


def test_only_the_journal_that_may_be_written_is_synced() -> None:
    class Recorded(ArchivedFiles):
        synced: list[int] = []  # noqa: RUF012  # of this test

        def read(
            self, kind: str, generation: int, *, start: int = 0, length: int | None = None, sync: bool = False
        ) -> bytes:
            self.synced += [generation] * sync
            return super().read(kind, generation, start=start, length=length)

    assert len(numbers(Trail(Recorded(FILES)))) == LAST
    assert Recorded.synced == [5]


def test_reading_goes_on_from_the_position_after_each_batch() -> None:
    trail = without()
    assert without().position is None
    for batch in without().batches():
        found = trail.batches(after=trail.position)
        assert next(found) == batch
    assert list(trail.batches(after=trail.position)) == []
    assert trail.position is not None
    assert trail.position.generation == 5


def test_the_journal_after_a_position_must_continue_it() -> None:
    trail = without("journal-2", "journal-3", "journal-4", "journal-5")
    assert numbers(trail) == [1, 2, 3]
    with pytest.raises(HistoryGone, match=r"the history in data/ has a gap after batch 3 .* and up to batch 6 "):
        list(without("journal-1", "journal-2").batches(after=trail.position))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_another_chain_is_no_continuation(count: int) -> None:
    trail = without("journal-2", "journal-3", "journal-4", "journal-5")
    assert numbers(trail) == [1, 2, 3]
    other = Trail(ArchivedFiles({"journal-1": journal(1, Seal(0, 7), count + 1).data}))
    with pytest.raises(HistoryGone, match="the history in archive has another batch 3 now; begin again"):
        list(other.batches(after=trail.position))


def test_a_number_that_is_not_there_is_refused() -> None:
    with pytest.raises(HistoryGone, match="ends before batch 13; name an earlier one"):
        numbers(without(), Moment(batch=13))
    with pytest.raises(HistoryGone, match=r"begins after batch 3 \(2025.*\); restore older files from an archive"):
        numbers(without("journal-1"), Moment(batch=2))
    with pytest.raises(HistoryGone, match="ends before batch 1"):
        numbers(Trail(ArchivedFiles({})), Moment(batch=1))
    assert numbers(without("journal-1"), Moment(batch=3)) == numbers(without("journal-1")) == [*range(4, LAST + 1)]


def test_a_gap_is_named_after_the_batches_before_it() -> None:
    seen: list[int] = []
    with pytest.raises(HistoryGone, match=r"has a gap after batch 3 .* and up to batch 6 .*; restore the missing"):
        seen.extend(each.seal.number for each in without("journal-2").batches())
    assert seen == [1, 2, 3]


def test_the_index_at_each_batch_and_time_is_the_one_that_was() -> None:
    for number, state in enumerate(STATES):
        assert without().graph_at(Moment(batch=number)) == state
    for number, state in enumerate(STATES[1:], 1):
        assert without().graph_at(Moment(time=time_of(number) + SECOND - 1)) == state
    assert without().graph_at(END) == STATES[LAST]


def test_the_newest_snapshot_before_a_moment_is_enough() -> None:
    trail = without("snapshot-1", "journal-1", "snapshot-2", "journal-2", "snapshot-4", "journal-5")
    assert trail.graph_at(Moment(batch=8)) == STATES[8]
    assert trail.graph_at(Moment(batch=LAST)) == STATES[LAST]


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (Moment(batch=13), "batch 13: the last one in data/ is 12; name that"),
        (Moment(batch=2), r"batch 2: that is before the oldest state in data/, batch 3 at 2025-.*Z; restore older "),
        (Moment(time=5), r"1970-01-01T00:00:00.005Z: that is before the oldest state in "),
    ],
)
def test_a_moment_that_is_not_there_is_refused(moment: Moment, problem: str) -> None:
    with pytest.raises(HistoryError, match=f"^cannot rebuild the index at {problem}"):
        without("snapshot-1", "journal-1").graph_at(moment)


def test_a_time_before_the_first_batch_is_refused_because_the_index_may_not_have_been_there() -> None:
    problem = r"before the first batch in data/, of 2025-12-02T09:40:01.000Z; name a later time, or batch 0"
    with pytest.raises(HistoryError, match=problem):
        without().graph_at(Moment(time=time_of(1) - 1))


def test_a_moment_in_a_gap_is_refused() -> None:
    with pytest.raises(HistoryGone, match="has a gap after batch 3 "):
        without("journal-2", "snapshot-2", "snapshot-3").graph_at(Moment(batch=8))


def test_a_snapshot_without_its_journal_hides_no_other_moment() -> None:
    # A power failure can bring one back whose journals have been deleted.
    assert without("journal-1").graph_at(Moment(batch=LAST)) == STATES[LAST]


@pytest.mark.parametrize("moment", [END, Moment(batch=0)])
def test_files_without_an_index_are_refused(moment: Moment) -> None:
    with pytest.raises(HistoryError, match=r"^cannot read archive: it holds no snapshot with its journal; name "):
        Trail(ArchivedFiles({"snapshot-1": snapshot(0), "journal-2": FILES["journal-2"]})).graph_at(moment)


def all_batches(trail: Trail) -> object:
    return list(trail.batches())


def index(trail: Trail) -> object:
    return trail.graph_at(Moment(batch=2))


@pytest.mark.parametrize(
    ("files", "read", "problem"),
    [
        ({"journal-1": b"#scoop journal 2 damaged\n"}, all_batches, "journal-1: byte 0: invalid journal header"),
        ({"journal-1": FILES["journal-2"]}, all_batches, "journal-1: byte 0: the header is that of generation 2"),
        ({"journal-1": FILES["journal-1"].replace(b"p2", b"p9")}, all_batches, r"-1: byte \d+: batch 2 is damaged: "),
        ({"snapshot-1": b""}, index, "snapshot-1: byte 0: the snapshot is empty"),
    ],
)
def test_damage_is_named_with_its_file(files: dict[str, bytes], read: Callable[[Trail], object], problem: str) -> None:
    with pytest.raises(HistoryError, match=f"^cannot read archive/.*{problem}.*; restore it from an archive$"):
        read(Trail(ArchivedFiles(FILES | files)))


def test_a_snapshot_that_does_not_belong_to_its_journal_is_refused() -> None:
    trail = Trail(ArchivedFiles(FILES | {"snapshot-1": snapshot(2)}))
    with pytest.raises(HistoryError, match="batch 1 holds a request that changes nothing; restore from an archive"):
        trail.graph_at(Moment(batch=2))


def test_a_file_that_vanishes_is_named() -> None:
    class Vanishing(ArchivedFiles):
        def generations(self, kind: str) -> list[int]:
            return [*super().generations(kind), 1]

    with pytest.raises(HistoryError, match=r"^archive/journal-1 is missing; restore it from an archive$"):
        all_batches(Trail(Vanishing({})))
