"""The figures of the whole graph: a large one is counted by another process, which reads the source itself."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_explorer import survey_process, surveyor
from scoop_explorer.live_index import LiveIndex
from scoop_explorer.sources import open_source
from scoop_explorer.surveyor import Figures, Surveyor, count

from tests.support.data_directory import index_in, make_data_directory
from tests.support.process import WAIT_SECONDS
from tests.support.waiting import wait_until

COMMAND = (sys.executable, "-m", "scoop_explorer.survey_process")


def figures_of(surveyor: Surveyor) -> Figures | None:
    return surveyor._figures


def test_a_large_graph_is_counted_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveyor, "IN_THREAD_MAX", 1)
    path = make_data_directory(tmp_path / "data")
    index = LiveIndex(open_source(str(path)))
    counting = Surveyor(index, [*COMMAND, str(path)])
    index.on_change = counting.index_has_changed
    counting.start()
    index.start()
    wait_until(lambda: counting.survey and counting.survey.batch == 4)
    assert figures_of(counting) == count(index_in(path), 4)
    index.stop()
    counting.stop()


def test_a_process_that_fails_is_logged_and_one_that_is_stopped_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(surveyor, "IN_THREAD_MAX", 1)
    monkeypatch.setattr(surveyor, "REST", 0.0)
    index = LiveIndex(open_source(str(make_data_directory(tmp_path / "data"))))
    index.start()
    wait_until(lambda: len(index) > surveyor.IN_THREAD_MAX)
    began = tmp_path / "began"
    wait = f"import pathlib, signal; pathlib.Path({str(began)!r}).touch(); signal.pause()"
    for program, is_over in (("raise SystemExit(3)", lambda: caplog.messages), (wait, began.exists)):
        counting = Surveyor(index, [sys.executable, "-c", program])
        counting.start()
        counting.index_has_changed()
        wait_until(is_over)
        counting.stop()
        assert counting.survey is None
    index.stop()
    expected = "cannot count the packages: the process ended with status 3; the next change tries again"
    assert set(caplog.messages) == {expected}


def test_a_process_that_cannot_be_started_is_logged_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(surveyor, "IN_THREAD_MAX", 1)
    path, program = make_data_directory(tmp_path / "data"), tmp_path / "program"
    index = LiveIndex(open_source(str(path)))
    counting = Surveyor(index, [str(program), *COMMAND[1:], str(path)])
    index.on_change = counting.index_has_changed
    counting.start()
    index.start()
    reason = "cannot count the packages: No such file or directory; the next change tries again"
    wait_until(lambda: reason in caplog.messages)
    (tmp_path / "script").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "script").chmod(0o700)
    (tmp_path / "script").rename(program)
    index.revision += 2  # as a change does
    counting.index_has_changed()
    wait_until(lambda: counting.survey)
    index.stop()
    counting.stop()


def test_the_process_writes_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_data_directory(tmp_path / "data")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    monkeypatch.setattr(os, "nice", lambda _: 0)
    assert survey_process.main([str(path)]) == 0
    assert pickle.loads(written.getvalue()) == count(index_in(path), 4)
    assert survey_process.main([str(tmp_path / "missing")]) == 1


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-1"
    os.mkfifo(path)
    with (
        subprocess.Popen([*COMMAND, str(tmp_path)], stdin=subprocess.PIPE) as process,
        path.open("wb"),  # once the process opens it too; then it waits for the content
    ):
        assert process.stdin is not None
        process.stdin.close()  # as the end of the parent does
        assert process.wait(WAIT_SECONDS) == 1


def test_an_index_that_always_changes_is_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(str(make_data_directory(tmp_path / "data")))
    poll = source.poll

    def poll_and_change() -> object:
        delivered = poll()
        source.is_current = False
        return delivered

    monkeypatch.setattr(source, "poll", poll_and_change)
    monkeypatch.setattr(survey_process, "_PAUSE_SECONDS", 0.0)
    graph, batch = survey_process.load(source)
    assert (graph, batch) == (DependencyGraph.from_mapping({"a": [], "gmp": [], "isl": ["gmp"]}), 4)
    source.close()
