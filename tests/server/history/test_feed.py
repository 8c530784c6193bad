"""The history as a library: batches that are read and followed, and the index at a moment."""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Never

import pytest

from scoop_core import BEGINNING, LoggedBatch

from scoop_server.errors import ConfigurationError, DataDirectoryError
from scoop_server.history import END, HistoryGoneError, Moment, batches, follow, log
from scoop_server.storage.history import NO_HISTORY, Retention

from tests.support.storage import Bench, Opened

KEPT = Retention(seconds=1e6)
PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "library.md"


class Stopped(Exception):
    """Ends following."""


class Steps:
    """Runs steps, one at each moment at which a follower has read everything; then it ends."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def __call__(self) -> None:
        if not self._steps:
            raise Stopped
        self._steps.pop(0)()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "data")


def followed(path: Path, *steps: Callable[[], object], since: Moment = BEGINNING) -> list[LoggedBatch]:
    found: list[LoggedBatch] = []
    with contextlib.suppress(Stopped):
        for batch in follow(str(path), since, Steps(*steps)):
            found.append(batch)  # noqa: PERF402  # it ends with an exception
    return found


def numbers(found: list[LoggedBatch]) -> list[int]:
    return [batch.seal.number for batch in found]


def rotate(bench: Bench, opened: Opened) -> None:
    """Write a new snapshot, and give up what it supersedes or make it history."""
    bench.compact_on_request(opened).complete()
    opened.tick()


def test_new_batches_are_followed_through_rotations_and_compactions(bench: Bench) -> None:
    with bench.open(retention=KEPT) as opened:

        def commit(names: str) -> None:
            for name in names:
                opened.commit(f"INDEX|{name}|")
                if name in "cd":
                    rotate(bench, opened)

        commit("a")
        found = followed(bench.path, *(partial(commit, names) for names in ["b", "cd", "", "e"]))
    assert [batch.lines for batch in found] == [f"INDEX|{name}|\n" for name in "abcde"]


@pytest.mark.parametrize("since", [Moment(batch=1), END])
def test_following_begins_after_a_batch_or_with_new_ones(bench: Bench, since: Moment) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        found = followed(bench.path, lambda: opened.commit("INDEX|b|"), lambda: rotate(bench, opened), since=since)
    assert numbers(found) == [2]


def test_a_directory_that_is_still_empty_is_followed_from_its_first_batch(bench: Bench) -> None:
    bench.path.mkdir()

    def fill() -> None:
        with bench.open() as opened:
            opened.commit("INDEX|a|")

    assert numbers(followed(bench.path, fill, since=END)) == [1]


def test_restarts_are_followed(bench: Bench) -> None:
    def restart(name: str) -> None:
        with bench.open(retention=KEPT) as opened:
            opened.commit(f"INDEX|{name}|")
        with max(bench.path.glob("journal-*")).open("ab") as file:
            file.write(b"INDEX|half|")  # an interrupted write, which the next start drops

    restart("a")
    assert numbers(followed(bench.path, lambda: restart("b"), lambda: restart("c"))) == [1, 2, 3]


def test_batches_that_were_given_up_meanwhile_are_reported(bench: Bench) -> None:
    with bench.open(retention=NO_HISTORY) as opened:
        opened.commit("INDEX|a|")

        def lose() -> None:
            opened.commit("INDEX|b|")
            rotate(bench, opened)

        with pytest.raises(HistoryGoneError, match=r"the history in .* has a gap after batch 1 .* and up to batch 2 "):
            followed(bench.path, lose, since=END)
        with pytest.raises(HistoryGoneError, match=r"the history in .* begins after batch 2 "):
            followed(bench.path, since=Moment(batch=1))


def test_another_index_at_the_path_is_noticed(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.commit("INDEX|b|")

    def replace() -> None:
        shutil.rmtree(bench.path)
        with bench.open() as opened:
            for name in "xyz":
                opened.commit(f"INDEX|{name}|")

    with pytest.raises(HistoryGoneError, match=r"has another batch 2 now; begin again"):
        followed(bench.path, replace)


def test_an_older_index_at_the_path_is_noticed(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        rotate(bench, opened)

    def replace() -> None:
        shutil.rmtree(bench.path)
        with bench.open() as opened:
            opened.commit("INDEX|other|")

    with pytest.raises(HistoryGoneError, match=r"ends before batch 1"):
        followed(bench.path, replace)


def test_what_looks_damaged_once_is_read_again_and_twice_is_reported(bench: Bench) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")
        opened.commit("INDEX|b|")
    journal = bench.path / "journal-1"
    intact = journal.read_bytes()
    journal.write_bytes(intact.replace(b"|a|", b"|x|"))
    assert numbers(followed(bench.path, lambda: journal.write_bytes(intact))) == [1, 2]
    journal.write_bytes(intact.replace(b"|a|", b"|x|"))
    with pytest.raises(DataDirectoryError, match="batch 1 is damaged") as raised:
        followed(bench.path, lambda: None)
    assert not isinstance(raised.value, HistoryGoneError)


def test_a_batch_is_on_disk_before_it_is_followed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.open() as opened:
        opened.commit("INDEX|a|")

    def fail(_descriptor: int) -> Never:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("scoop_server.storage.files.OperatingSystem.fdatasync", staticmethod(fail))
    with pytest.raises(DataDirectoryError, match="Input/output error"):
        followed(bench.path, lambda: None)


def test_the_end_of_following_cannot_be_given(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="expected --until or --follow, got both"):
        log(str(bench.path), {"until": "1", "follow": True}, io.StringIO())


def test_the_examples_of_the_library_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.now = 1_796_200_000.0
    with bench.open(retention=KEPT) as opened:
        opened.commit("INDEX|gmp|", authors=[(0, "CN=builder")])
        opened.commit("INDEX|isl|gmp", authors=[(0, "CN=builder")])
        opened.commit("REMOVE|isl|", authors=[(0, "CN=cleaner")])
    os.rename(bench.path, bench.path.parent / "scoop-data")
    monkeypatch.chdir(bench.path.parent)
    shutil.make_archive("scoop-data", "tar", base_dir="scoop-data")
    section = PAGE.read_text("utf-8").partition("## The history of a server's index")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", section, re.DOTALL)
    names: dict[str, object] = {"Path": Path}
    for code, expected in examples:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        assert printed.getvalue() == expected
    assert len(examples) == 2


def test_batches_end_at_a_moment(bench: Bench) -> None:
    with bench.open() as opened:
        for name in "abc":
            opened.commit(f"INDEX|{name}|")
    assert numbers([*batches(str(bench.path), Moment(batch=1), Moment(batch=2))]) == [2]
