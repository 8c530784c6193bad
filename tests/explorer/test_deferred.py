"""Expensive questions: a page does not wait for them, older answers are shown meanwhile, and too many do not begin."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, IndexedGraph, UnknownPackage

from scoop_explorer import deferred as deferred_module
from scoop_explorer import questions
from scoop_explorer.deferred import QUEUE_MAX, THREADS, Answer, Deferred

from tests.support.data_directory import create_directory
from tests.support.explorer import ScriptedSource, exploring
from tests.support.process import WAIT_SECONDS
from tests.support.waiting import wait_until


class SettableIndex:
    """The part of a live index that questions need."""

    def __init__(self) -> None:
        self.batch = self.epoch = 0
        self.graph = IndexedGraph.from_mapping({"gmp": []})

    def ask_at_length(self, question: object) -> object:
        assert callable(question)
        return question(self.graph, self.batch)

    ask_beside_changes = ask_at_length


@pytest.fixture
def waits_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a question end, however busy the machine is."""
    monkeypatch.setattr(deferred_module, "WAIT_SECONDS", WAIT_SECONDS)


def make_deferred() -> tuple[Deferred, SettableIndex]:
    index = SettableIndex()
    return Deferred(index), index  # type: ignore[arg-type]  # only a part of it is used


@pytest.mark.usefixtures("waits_for_answers")
def test_an_answer_is_kept_until_the_graph_changes() -> None:
    async def run() -> None:
        deferred, index = make_deferred()
        asked: list[int] = []

        def question(_graph: DependencyGraph, batch: int) -> str:
            asked.append(batch)
            return f"answer {batch}"

        assert await deferred.ask("key", question) == Answer("answer 0", 0)
        await asyncio.sleep(0)
        assert await deferred.ask("key", question) == Answer("answer 0", 0)
        index.batch = 2
        assert await deferred.ask("key", question) == Answer("answer 2", 2)
        assert asked == [0, 2]
        deferred.close()

    asyncio.run(run())


def test_a_long_question_returns_none_and_later_its_answer() -> None:
    async def run() -> None:
        deferred, index = make_deferred()
        may_end = threading.Event()

        def question(_graph: DependencyGraph, batch: int) -> int:
            assert may_end.wait(60)
            return batch

        assert await deferred.ask("key", question) == Answer(None, 0)
        assert await deferred.ask("key", question) == Answer(None, 0)  # asked once
        assert deferred.waiting == 1
        may_end.set()
        while (found := await deferred.ask("key", question)).answer is None:
            pass
        assert found == Answer(0, 0)
        may_end.clear()
        index.batch = 2
        # The older answer is shown until the new one is there.
        assert await deferred.ask("key", question) == Answer(0, 0)
        may_end.set()
        deferred.close()

    asyncio.run(run())


def test_a_long_question_pauses_after_its_answer_while_changes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_module, "REST", 1e9)

    async def run() -> None:
        deferred, index = make_deferred()
        may_end = threading.Event()

        def question(_graph: DependencyGraph, batch: int) -> int:
            assert may_end.wait(60)
            return batch

        assert await deferred.ask("key", question) == Answer(None, 0)
        may_end.set()
        while (await deferred.ask("key", question)).answer is None:
            pass
        while deferred.waiting:
            await asyncio.sleep(0)
        index.batch = 2
        assert await deferred.ask("key", question) == Answer(0, 0)
        assert deferred.waiting == 0
        deferred.close()

    asyncio.run(run())


def test_an_answer_that_arrives_with_the_time_out_is_not_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_module, "WAIT_SECONDS", 0.0)

    async def run() -> None:
        deferred, _ = make_deferred()
        may_end, has_ended = threading.Event(), threading.Event()

        def question(_graph: DependencyGraph, batch: int) -> int:
            assert may_end.wait(60)
            has_ended.set()
            return batch

        assert await deferred.ask("key", question) == Answer(None, 0)
        may_end.set()
        assert has_ended.wait(60)
        while (found := await deferred.ask("key", question)).answer is None:
            pass
        assert found == Answer(0, 0)
        deferred.close()

    asyncio.run(run())


@pytest.mark.usefixtures("waits_for_answers")
def test_too_many_questions_do_not_begin_and_pages_appear_without_their_answers() -> None:
    async def run() -> None:
        deferred, _ = make_deferred()
        may_end = threading.Event()
        asking = [
            asyncio.ensure_future(deferred.ask(number, lambda _graph, _batch: may_end.wait(60)))
            for number in range(QUEUE_MAX)
        ]
        await asyncio.sleep(0)
        assert await deferred.ask("one more", lambda _graph, _batch: "answer") == Answer(None, 0)
        may_end.set()
        await asyncio.gather(*asking)
        while deferred.waiting:
            await asyncio.sleep(0)
        assert await deferred.ask("one more", lambda _graph, _batch: "answer") == Answer("answer", 0)
        deferred.close()

    asyncio.run(run())


@pytest.mark.usefixtures("waits_for_answers")
def test_the_names_of_all_answers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_module, "NAMES_MAX", 10)

    async def run() -> None:
        deferred, _ = make_deferred()
        asked: list[str] = []

        async def ask(key: str) -> None:
            def question(_graph: DependencyGraph, _batch: int) -> list[int]:
                asked.append(key)
                return [0] * 6

            await deferred.ask(key, question)
            await asyncio.sleep(0)

        for key in ("a", "a", "b", "c", "c", "a"):
            await ask(key)
        assert asked == ["a", "b", "c", "a"]
        deferred.close()

    asyncio.run(run())


def test_an_answer_that_is_always_older_than_the_index_is_one_as_of_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API answers 200 with the batch, so that a program need not ask for ever while the index changes."""
    create = {"isl": ["gmp"], "gmp": []}
    monkeypatch.setattr(deferred_module, "REST", 1e9)
    monkeypatch.setattr(deferred_module, "WAIT_SECONDS", 0.0)
    source = ScriptedSource(DependencyGraph.from_mapping(create))
    with exploring(source) as explored:
        explored.json("/removal/gmp")
        source.commit("INDEX|cloog|gmp")
        wait_until(lambda: explored.application.index.batch == 1)
        response = explored.client.get("/api/v1/removal/gmp")
        found = response.json()
        assert (response.status_code, found["status"]["batch"], found["as_of_batch"]) == (200, 1, 0)
        assert found["answer"]["requests"]["names"] == ["REMOVE|isl|", "REMOVE|gmp|"]
        page = explored.client.get("/removal/gmp").text
        assert "As of batch 0" in page
        assert "data-pending" in page


def test_a_long_list_is_computed_once_for_all_its_parts_and_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"hub": [], **{f"w{number:04}": ["hub"] for number in range(1_200)}}
    create_directory(tmp_path / "data", DependencyGraph.from_mapping(wide))
    calls: list[str] = []
    original = questions.removal_order

    def count(graph: DependencyGraph, names: tuple[str, ...]) -> questions.RemovalOrder:
        calls.append(names[0])
        return original(graph, names)

    monkeypatch.setattr(questions, "removal_order", count)
    with exploring(tmp_path / "data") as explored:
        for url in ("/removal/hub", "/removal/hub?offset=500", "/removal/hub?offset=1000", "/packages/hub"):
            explored.page(url)
        assert explored.client.get("/removal/hub?format=text").text.count("\n") == 1_201
    assert calls == ["hub"]


@pytest.mark.usefixtures("waits_for_answers")
def test_the_error_of_a_question_reaches_its_caller() -> None:
    async def run() -> None:
        deferred, _ = make_deferred()
        for _attempt in range(2):
            with pytest.raises(UnknownPackage):
                await deferred.ask("key", lambda graph, _batch: graph.dependencies("nowhere"))
        deferred.close()

    asyncio.run(run())


def test_the_end_of_the_process_does_not_wait_for_a_question() -> None:
    program = """\
import asyncio, threading
from types import SimpleNamespace
from scoop_explorer.deferred import Deferred, Answer

has_begun = threading.Event()

def ponder(question):
    has_begun.set()
    threading.Event().wait()

async def main():
    deferred = Deferred(SimpleNamespace(batch=0, epoch=0, ask_at_length=ponder, ask_beside_changes=ponder))
    assert await deferred.ask("key", None) == Answer(None, 0)
    has_begun.wait()
    deferred.close()

asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=WAIT_SECONDS, check=False).returncode == 0


@pytest.mark.usefixtures("waits_for_answers")
def test_questions_that_have_not_begun_are_cancelled_at_the_end() -> None:
    async def run() -> None:
        deferred, _ = make_deferred()
        has_begun, may_end = threading.Semaphore(0), threading.Event()

        def question(_graph: DependencyGraph, _batch: int) -> bool:
            has_begun.release()
            return may_end.wait(60)

        asking = [asyncio.ensure_future(deferred.ask(number, question)) for number in range(THREADS + 1)]
        await asyncio.sleep(0)
        for _ in range(THREADS):
            assert has_begun.acquire(timeout=60)
        deferred.close()
        may_end.set()
        assert await asyncio.gather(*asking[:THREADS]) == [Answer(answer=True, batch=0)] * THREADS
        with pytest.raises(asyncio.CancelledError):
            await asking[THREADS]

    asyncio.run(run())


def test_a_package_that_is_not_indexed_is_a_404_also_while_questions_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"gmp": []}))
    monkeypatch.setattr(deferred_module, "QUEUE_MAX", 0)
    with exploring(tmp_path / "data") as explored:
        assert "Still counting" in explored.client.get("/removal/gmp").text
        for url in ("/removal/isl", "/rebuild/isl", "/dependents/isl", "/dependencies/isl", "/path?from=gmp&to=isl"):
            response = explored.client.get(url)
            assert response.status_code == 404
            assert "data-pending" in response.text  # for the names that may have been meant


def test_pages_appear_while_an_expensive_question_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}))
    has_begun, may_end = threading.Event(), threading.Event()

    def ponder(graph: IndexedGraph, *packages: str) -> tuple[str, ...]:
        has_begun.set()
        assert may_end.wait(60)
        return original(graph, *packages)

    with exploring(tmp_path / "data") as explored:
        original = IndexedGraph.transitive_dependents
        monkeypatch.setattr(IndexedGraph, "transitive_dependents", ponder)
        page = explored.client.get("/packages/gmp").text
        assert has_begun.wait(60)
        assert "No.</strong>" in page
        assert "Still counting" in page
        assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
        response = explored.client.get("/api/v1/packages/gmp")
        assert (response.status_code, response.json()["answer"]["reach"]) == (202, None)
        assert response.headers["retry-after"] == "1"
        link = '<a href="/packages/gmp">gmp</a>'
        for url, heading in (
            ("/rebuild/gmp", "What a change of gmp rebuilds"),
            ("/removal/gmp", "How to remove gmp"),
            ("/dependents/gmp?scope=all", "What needs gmp"),
        ):
            page = explored.client.get(url).text
            assert "Still counting" in page
            assert f"<title>{heading} · Scoop explorer</title>" in page
            assert f"<h1>{heading.replace('gmp', link)}</h1>" in page
        for url in ("/", "/search?q=g", "/cycles", "/changes", "/livez"):
            assert explored.client.get(url).status_code == 200
        may_end.set()
        assert "What would have to go first" in explored.page("/packages/gmp")
