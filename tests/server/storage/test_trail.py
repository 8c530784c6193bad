"""The trail of a data directory with its history: its files, and the errors that are one line."""

import os
import shutil
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, Moment

from scoop_server.errors import DataDirectoryError, HistoryGoneError
from scoop_server.storage.history import Retention
from scoop_server.storage.trail import graph_at, open_trail

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


def test_a_directory_and_its_history_are_one_trail(bench: Bench, states: list[DependencyGraph]) -> None:
    with open_trail(str(bench.path)) as trail:
        batches = list(trail.batches())
    assert [each.seal.number for each in batches] == [*range(1, len(states))]
    assert [each.seal.time for each in batches] == [(1_000 + number) * SECOND for number in range(1, len(states))]
    assert batches[3].lines.endswith("\nINDEX|p4|\n")
    for number, state in enumerate(states):
        assert graph_at(str(bench.path), Moment(batch=number)) == state


def test_archived_files_alone_are_a_trail(bench: Bench, states: list[DependencyGraph], tmp_path: Path) -> None:
    shutil.copytree(bench.path / "history", tmp_path / "archive")
    assert graph_at(str(tmp_path / "archive"), Moment(batch=7)) == states[7]


def test_a_file_that_becomes_history_meanwhile_is_read_there(bench: Bench, states: list[DependencyGraph]) -> None:
    with open_trail(str(bench.path)) as trail:
        found = trail.batches()
        first = next(found)
        (bench.path / "journal-5").rename(bench.path / "history" / "journal-5")
        assert [first, *found][-1].seal.number == len(states) - 1


def test_an_error_of_the_trail_is_one_of_the_server(bench: Bench, states: list[DependencyGraph]) -> None:
    del states
    history = bench.path / "history"
    (history / "journal-2").unlink()
    with pytest.raises(HistoryGoneError, match=r"^the history in .* has a gap after batch 3 .* and up to batch 6 "):
        graph_at(str(bench.path), Moment(batch=6))
    (history / "journal-1").write_bytes(b"#scoop journal 2 damaged\n")
    with pytest.raises(DataDirectoryError, match=f"^cannot read {bench.path}/journal-1: byte 0: invalid journal"):
        graph_at(str(bench.path), Moment(batch=1))


def test_a_directory_that_cannot_be_read_is_one_line(bench: Bench, states: list[DependencyGraph]) -> None:
    del states
    with pytest.raises(DataDirectoryError, match="missing: No such file or directory; name a data directory"):
        graph_at(str(bench.path / "missing"), Moment())
    (journal := bench.path / "history" / "journal-1").unlink()
    os.mkfifo(journal)
    with pytest.raises(DataDirectoryError, match=rf"^cannot read {journal}: it is not a regular file; name a data "):
        graph_at(str(bench.path), Moment())
