"""The index in memory: its state while a source changes, breaks and recovers."""

import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import pytest

from scoop_core import Changes, DependencyGraph, IndexedGraph, LoggedBatch, UnknownPackage

from scoop_explorer import live_index
from scoop_explorer.answers import Reach
from scoop_explorer.live_index import CHANGES_KEPT, LiveIndex
from scoop_explorer.questions import reach
from scoop_explorer.sources import DumpFile, SourceError
from scoop_server.ports import Loaded

from tests.support.explorer import ScriptedSource, exploring, exploring_unloaded
from tests.support.waiting import wait_until


@contextmanager
def following(source: ScriptedSource) -> Iterator[LiveIndex]:
    index = LiveIndex(source)
    index.start()
    try:
        yield index
    finally:
        index.stop()


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}))


def test_changes_are_listed_with_what_they_changed_the_newest_first(source: ScriptedSource) -> None:
    source.commit("INDEX|cloog|isl,gmp", "INDEX|make|")
    source.commit("INDEX|isl|make", "REMOVE|cloog|")
    with following(source) as index:
        wait_until(lambda: index.batch == 2)
        found = [(each.batch, each.kind, each.package, each.added, each.dropped) for each in index.changes]
    assert found == [
        (2, "removed", "cloog", (), ()),
        (2, "changed", "isl", ("make",), ("gmp",)),
        (1, "indexed", "make", (), ()),
        (1, "indexed", "cloog", ("isl", "gmp"), ()),
    ]


def test_of_many_dependencies_of_a_change_some_are_listed(source: ScriptedSource) -> None:
    source.commit(*(f"INDEX|p{number}|" for number in range(7)), "INDEX|all|p0,p1,p2,p3,p4,p5,p6", "INDEX|all|p6")
    with following(source) as index:
        wait_until(lambda: index.batch == 1)
        dropped, added = index.changes[:2]
    assert (len(added.added), added.more_added, added.more_dropped) == (5, 2, 0)
    assert (dropped.dropped, dropped.more_dropped) == (("p0", "p1", "p2", "p3", "p4"), 1)


def test_an_index_is_loaded_once_its_source_has_been_read_to_the_end(source: ScriptedSource) -> None:
    source.is_current, source.has_more = False, True
    with exploring_unloaded(source) as explored:
        wait_until(lambda: explored.application.index.status().packages == 2)
        assert explored.client.get("/readyz").status_code == 503
        assert "Loading the index" in explored.client.get("/packages/gmp").text
        source.has_more = False
        source.commit("INDEX|cloog|gmp")
        wait_until(lambda: explored.client.get("/readyz").status_code == 200)
        assert "2 packages need" in explored.page("/packages/gmp")


def test_only_changes_that_were_seen_at_once_have_their_time(source: ScriptedSource) -> None:
    source.commit("INDEX|before|")
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        source.commit("INDEX|after|")
        wait_until(lambda: index.batch == 2)
        assert [(each.package, each.is_older) for each in index.changes] == [("after", False), ("before", True)]


def test_the_changes_and_answers_of_an_index_vanish_with_it(source: ScriptedSource) -> None:
    source.commit("INDEX|cloog|gmp")
    with exploring(source) as explored:
        assert "cloog" in explored.page("/dependents/gmp")
        assert "cloog" in explored.page("/changes")
        source.load(DependencyGraph.from_mapping({"gmp": [], "other": ["gmp"]}))
        wait_until(lambda: explored.application.index.status().packages == 2)
        assert "cloog" not in explored.client.get("/changes").text
        assert "cloog" not in explored.client.get("/dependents/gmp").text
        assert explored.application.surveyor.survey is None or explored.application.surveyor.survey.packages == 2


def test_only_the_latest_changes_are_kept(source: ScriptedSource) -> None:
    source.commit(*(f"INDEX|p{number}|" for number in range(CHANGES_KEPT + 50)))
    with following(source) as index:
        wait_until(lambda: len(index.changes) == CHANGES_KEPT)
        assert index.changes[0].package == f"p{CHANGES_KEPT + 49}"


def test_new_names_are_found_and_removed_ones_are_not(source: ScriptedSource) -> None:
    source.commit("INDEX|gmp-doc|", "REMOVE|isl|")
    with following(source) as index:
        wait_until(lambda: index.batch == 1)
        assert index.ask(lambda graph: index.names.find("gmp", 10, graph)).names == ("gmp", "gmp-doc")
        assert index.ask(lambda graph: index.names.find("isl", 10, graph)).names == ()


def test_a_source_that_breaks_keeps_its_last_state_and_the_lag_grows(source: ScriptedSource) -> None:
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        source.problem = "the disk is gone"
        wait_until(lambda: index.status().problem == "the disk is gone")
        wait_until(lambda: index.status().lag_seconds > 0)
        assert index.status().packages == 2
        source.problem = ""
        source.commit("INDEX|make|")
        wait_until(lambda: index.batch == 1)
        assert index.status().problem == ""
        wait_until(lambda: index.status().lag_seconds == 0)


def test_the_lag_does_not_grow_while_each_poll_leaves_the_last_batch(source: ScriptedSource) -> None:
    source.is_current = False
    with following(source) as index:
        wait_until(lambda: index.status().lag_seconds > 0)

        def is_shown_in_time() -> bool:
            source.commit("QUERY|gmp|")
            return index.status().lag_seconds == 0

        wait_until(is_shown_in_time)


def test_the_lag_grows_while_there_is_more_than_a_poll_reads(source: ScriptedSource) -> None:
    source.is_current, source.has_more = False, True
    with following(source) as index:
        wait_until(lambda: index.epoch)

        def is_late() -> bool:
            source.commit("QUERY|gmp|")
            return index.status().lag_seconds > 0

        wait_until(is_late)


def test_the_log_has_a_line_when_the_source_breaks_and_one_when_it_is_back(
    source: ScriptedSource, caplog: pytest.LogCaptureFixture
) -> None:
    source.problem = "cannot follow scripted: the disk is gone; plug it in"
    with following(source) as index:
        wait_until(lambda: index.status().problem)
        polled_at = index.polled_at
        wait_until(lambda: index.polled_at > polled_at)  # a second poll, which logs nothing
        source.problem = ""
        wait_until(lambda: index.is_loaded)
    assert caplog.messages == [
        "cannot follow scripted: the disk is gone; plug it in",
        "following scripted again, at batch 0",
    ]


def test_a_source_that_starts_again_replaces_everything(source: ScriptedSource) -> None:
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        source.load(DependencyGraph.from_mapping({"other": []}))
        wait_until(lambda: index.status().packages == 1)
        assert index.ask(list) == ["other"]
        assert index.ask(lambda graph: index.names.find("gmp", 10, graph)).names == ()


def test_a_quick_answer_never_mixes_two_states(source: ScriptedSource) -> None:
    """Each batch indexes a pair or removes it; a question of several steps sees both or neither."""
    with following(source) as index:
        wait_until(lambda: index.is_loaded)

        def write() -> None:
            for _ in range(150):
                source.commit("INDEX|left|", "INDEX|right|left")
                source.commit("REMOVE|right|", "REMOVE|left|")

        writer = threading.Thread(target=write)
        writer.start()

        def look(graph: IndexedGraph) -> tuple[bool, bool]:
            return "left" in graph, "right" in graph

        while index.batch < 300:
            left, right = index.ask(look)
            assert left is right
        writer.join()


def test_a_quick_question_does_not_wait_for_a_long_one(source: ScriptedSource) -> None:
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        has_begun, may_end = threading.Event(), threading.Event()

        def ponder(_graph: IndexedGraph, _batch: int) -> None:
            has_begun.set()
            assert may_end.wait(60)

        thread = threading.Thread(target=index.ask_at_length, args=(ponder,))
        thread.start()
        assert has_begun.wait(60)
        assert index.ask(len) == 2
        may_end.set()
        thread.join()


def test_changes_do_not_wait_for_a_long_question_which_then_sees_one_state(
    source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_index, "HELD_SECONDS_MAX", 0.0)
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        seen: list[tuple[type, int, int]] = []

        def ponder(graph: DependencyGraph, batch: int) -> tuple[int, int]:
            before = len(graph)
            if isinstance(graph, IndexedGraph):
                source.commit(f"INDEX|p{batch}|")
                wait_until(lambda: index.batch > batch)
            seen.append((type(graph), before, len(graph)))
            return before, len(graph)

        assert index.ask_at_length(ponder) == (4, 4)
        assert seen == [(IndexedGraph, 2, 3), (IndexedGraph, 3, 4), (DependencyGraph, 4, 4)]


def test_a_question_that_has_shown_to_be_short_is_asked_while_changes_wait(
    source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_index, "HELD_SECONDS_MAX", float("inf"))
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        seen: list[tuple[type, int]] = []

        def ponder(graph: DependencyGraph, batch: int) -> int:
            source.commit(f"INDEX|p{batch}|")
            if batch < 2:
                wait_until(lambda: index.batch > batch)
            seen.append((type(graph), batch))
            return len(graph)

        assert index.ask_at_length(ponder) == 4
        assert seen == [(IndexedGraph, 0), (IndexedGraph, 1), (IndexedGraph, 2)]
        wait_until(lambda: index.batch == 3)


def test_one_long_question_at_a_time_has_a_copy_of_the_graph(
    source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_index, "HELD_SECONDS_MAX", 0.0)
    with following(source) as index, ThreadPoolExecutor(2) as threads:
        wait_until(lambda: index.is_loaded)
        both = threading.Barrier(2)

        def ponder(graph: DependencyGraph, batch: int) -> bool:
            if isinstance(graph, IndexedGraph):
                source.commit("QUERY|gmp|")
                wait_until(lambda: index.batch > batch)
                return False
            try:
                both.wait(0.1)
            except threading.BrokenBarrierError:
                return False
            return True

        met = [threads.submit(index.ask_at_length, ponder) for _ in range(2)]
        assert not any(each.result() for each in met)


def test_while_a_long_batch_is_applied_pages_wait_and_everything_else_goes_on(
    source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    apply_lines = IndexedGraph.apply_lines

    def apply_slowly(graph: IndexedGraph, lines: str, changes: Changes) -> str:
        has_begun.set()
        assert may_end.wait(60)
        return apply_lines(graph, lines, changes)

    with exploring(source) as explored, ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(IndexedGraph, "apply_lines", apply_slowly)
        monkeypatch.setattr(live_index, "LONG_BATCH", 0)
        source.commit("INDEX|make|")
        assert has_begun.wait(60)
        page = threads.submit(explored.client.get, "/packages/make")
        wait_until(lambda: page.running() and explored.application.asgi.requests)
        assert explored.client.get("/livez").status_code == 200
        assert not page.done()
        may_end.set()
        assert page.result().status_code == 200


def test_an_unknown_package_is_an_error_of_the_question(source: ScriptedSource) -> None:
    with following(source) as index:
        wait_until(lambda: index.is_loaded)
        with pytest.raises(UnknownPackage):
            index.ask(lambda graph: graph.dependencies("nowhere"))


class EagerSource(ScriptedSource):
    """A source that delivers one batch per poll, and always has more."""

    def poll(self) -> list[Loaded | LoggedBatch]:
        self.is_current, self.has_more = False, True
        with self._lock:
            return [self._deliveries.pop(0)] if self._deliveries else []


@pytest.mark.parametrize("seed", range(3))
def test_answers_beside_changes_are_those_of_one_batch(seed: int) -> None:
    """Batches change a random graph with cycles, while threads ask for what they know of the state after each batch."""
    chance = random.Random(seed)
    names = [f"p{number}" for number in range(12)]
    states = [DependencyGraph.from_mapping({name: chance.sample(names, 2) for name in names})]
    source = EagerSource(states[0])
    for _ in range(150):
        lines = [
            f"INDEX|{chance.choice(names)}|{','.join(chance.sample(names, chance.randrange(3)))}" for _ in range(3)
        ]
        lines += [f"REMOVE|{chance.choice(names)}|" for _ in range(3)]
        states.append(states[-1].copy())
        states[-1].apply_lines("".join(f"{line}\n" for line in lines))
        source.commit(*lines)

    def reach_of(graph: DependencyGraph, name: str) -> Reach | None:
        return reach(graph, name) if name in graph else None

    def look(index: LiveIndex) -> int:
        """Ask until the last batch is shown; return the number of answers."""
        count = 0
        is_last = False
        while not is_last:
            is_last = index.batch == len(states) - 1
            name = names[count % len(names)]
            batch, answer = index.ask_at_length(lambda graph, batch: (batch, reach_of(graph, name)))  # noqa: B023
            assert answer == reach_of(states[batch], name)
            mapping = dict(index.ask(lambda graph: graph.to_mapping()))
            assert any(mapping == state.to_mapping() for state in states[batch:])
            count += 1
        return count

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with following(source) as index, ThreadPoolExecutor(3) as threads:
            wait_until(lambda: index.epoch)
            assert all(each.result() for each in [threads.submit(look, index) for _ in range(3)])
    finally:
        sys.setswitchinterval(interval)


def make_dump(path: Path) -> Path:
    body = "#scoop dump 1\nINDEX|gmp|\nINDEX|isl|gmp\n"
    path.write_text(f"{body}#end packages 2 crc32 {crc32(body.encode()):08x}\n")
    return path


def test_a_dump_is_shown_and_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    path = make_dump(tmp_path / "index.dump")
    source = DumpFile(str(path))
    [loaded] = source.poll()
    assert isinstance(loaded, Loaded)
    assert list(loaded.graph) == ["gmp", "isl"]
    assert source.poll() == []
    assert source.is_current
    (tmp_path / "new").write_text("INDEX|make|\n")
    (tmp_path / "new").rename(path)
    [loaded] = source.poll()
    assert isinstance(loaded, Loaded)
    assert list(loaded.graph) == ["make"]


@pytest.mark.parametrize("change", [("gmp", "gmq"), ("#end", "#END"), ("isl|gmp", "isl|gnu"), ("INDEX", "BLINDEX")])
def test_a_damaged_dump_is_an_error(tmp_path: Path, change: tuple[str, str]) -> None:
    path = make_dump(tmp_path / "index.dump")
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(SourceError, match=r"cannot read .*index\.dump: .*; name another dump"):
        DumpFile(str(path)).poll()


def test_a_dump_can_be_explored(tmp_path: Path) -> None:
    with exploring(make_dump(tmp_path / "index.dump")) as explored:
        assert "isl" in explored.page("/packages/gmp")
