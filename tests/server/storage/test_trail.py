"""The trail of a data directory with its history: all batches in order, and the index at any moment."""

import shutil
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, Moment

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.history import Retention
from scoop_server.storage.trail import END, Trail, graph_at

from tests.support.storage import Bench

KEPT = Retention(seconds=1e6)
SECOND = 1_000


@pytest.fixture
def states(bench: Bench) -> list[DependencyGraph]:
    """A directory with history, at second 1,000 + N of whose clock batch N was written; and the index after each."""
    states = [DependencyGraph()]
    with bench.open(retention=KEPT) as opened:
        for number in range(1, 13):
            bench.now += 1.0
            opened.commit(f"INDEX|{'package' * 20}-{number % 7}|", f"INDEX|p{number}|")
            states.append(DependencyGraph.from_lines(opened.graph.to_lines()))
            if number % 3 == 0:
                bench.compact_on_request(opened).complete()
                opened.tick()
    return states


def test_all_batches_are_read_with_their_times(bench: Bench, states: list[DependencyGraph]) -> None:
    with Trail(str(bench.path)) as trail:
        batches = list(trail.batches())
    assert [each.seal.number for each in batches] == [*range(1, len(states))]
    assert [each.seal.time for each in batches] == [(1_000 + number) * SECOND for number in range(1, len(states))]
    assert batches[3].lines.endswith("\nINDEX|p4|\n")


@pytest.mark.parametrize("since", [0, 1, 3, 4, 11, 12])
def test_batches_after_a_number_or_from_a_time_on(bench: Bench, states: list[DependencyGraph], since: int) -> None:
    with Trail(str(bench.path)) as trail:
        after = [each.seal.number for each in trail.batches(Moment(batch=since))]
        on = [each.seal.number for each in trail.batches(Moment(time=(1_001 + since) * SECOND))]
    assert after == on == [*range(since + 1, len(states))]


def test_the_index_at_each_batch_and_time_is_the_one_that_was(bench: Bench, states: list[DependencyGraph]) -> None:
    for number, state in enumerate(states):
        assert graph_at(str(bench.path), Moment(batch=number)) == state
    for number, state in enumerate(states[1:], 1):
        assert graph_at(str(bench.path), Moment(time=(1_000 + number) * SECOND + 999)) == state


def test_archived_files_alone_are_a_trail(bench: Bench, states: list[DependencyGraph], tmp_path: Path) -> None:
    shutil.copytree(bench.path / "history", tmp_path / "archive")
    assert graph_at(str(tmp_path / "archive"), Moment(batch=7)) == states[7]


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (Moment(batch=13), r"cannot rebuild the index at batch 13: the last one in .* is 12; name that"),
        (Moment(batch=2), r"cannot rebuild the index at batch 2: that is before the oldest state in .*, batch 3 at "),
        (Moment(time=5), r"cannot rebuild the index at 1970-01-01T00:00:00.005Z: that is before the oldest state in "),
    ],
)
def test_a_moment_that_is_not_there_is_one_line(
    bench: Bench, states: list[DependencyGraph], moment: Moment, problem: str
) -> None:
    del states
    for name in ("snapshot-1", "journal-1"):
        (bench.path / "history" / name).unlink()
    with pytest.raises(DataDirectoryError, match=problem):
        graph_at(str(bench.path), moment)


def test_a_time_before_the_first_batch_is_refused_because_the_index_may_not_have_been_there(
    bench: Bench, states: list[DependencyGraph]
) -> None:
    del states
    problem = r"before the first batch in .*, of 1970-01-01T00:16:41.000Z; name a later time, or batch 0"
    with pytest.raises(DataDirectoryError, match=problem):
        graph_at(str(bench.path), Moment(time=1_000 * SECOND + 999))


def test_a_moment_in_a_gap_is_refused(bench: Bench, states: list[DependencyGraph]) -> None:
    del states
    history = bench.path / "history"
    for name in ("journal-2", "snapshot-2", "snapshot-3", "snapshot-4"):
        (history / name).unlink(missing_ok=True)
    with pytest.raises(DataDirectoryError, match=r"has a gap after batch 3 \(1970-01-01T00:16:43"):
        graph_at(str(bench.path), Moment(batch=8))


def test_a_snapshot_without_its_journal_hides_no_other_moment(bench: Bench, states: list[DependencyGraph]) -> None:
    # A power failure can bring one back whose journals have been deleted.
    (bench.path / "history" / "journal-1").unlink()
    assert (bench.path / "history" / "snapshot-1").exists()
    assert graph_at(str(bench.path), Moment(batch=12)) == states[12]


def test_a_gap_in_the_journals_is_named(bench: Bench, states: list[DependencyGraph]) -> None:
    del states
    (bench.path / "history" / "journal-2").unlink()
    with Trail(str(bench.path)) as trail:
        seen: list[int] = []
        with pytest.raises(DataDirectoryError, match=r"has a gap after batch 3 .* and up to batch 6 "):
            seen.extend(each.seal.number for each in trail.batches())
        assert seen == [1, 2, 3]


def test_damage_is_named_with_its_file(bench: Bench, states: list[DependencyGraph]) -> None:
    del states
    (bench.path / "history" / "journal-1").write_bytes(b"#scoop journal 2 damaged\n")
    with Trail(str(bench.path)) as trail, pytest.raises(DataDirectoryError, match="journal-1: byte 0: invalid journal"):
        list(trail.batches())


@pytest.mark.parametrize("moment", [END, Moment(batch=0)])
def test_a_directory_without_an_index_is_one_line(tmp_path: Path, moment: Moment) -> None:
    with pytest.raises(
        DataDirectoryError, match=f"cannot read {tmp_path}: it holds no snapshot with its journal; name "
    ):
        graph_at(str(tmp_path), moment)


def test_a_directory_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="No such file or directory; name a data directory"):
        Trail(str(tmp_path / "missing"))
