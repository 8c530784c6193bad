"""The comparison of the forms repeats a seed, makes every kind of call, and finds a difference."""

import pytest

from scoop_core import DependencyGraph

from tests.forms import run, trace

pytestmark = pytest.mark.any_python


def test_a_seed_has_the_same_outcomes_each_time() -> None:
    assert run.trace(trace.FORM, "--seeds", 3, "--outcomes") == run.trace(trace.FORM, "--seeds", 3, "--outcomes")


def test_most_calls_have_an_answer_and_some_an_exception() -> None:
    outcomes = [outcome for seed in range(20) for outcome in trace.outcomes_of(seed)]
    kinds = {outcome.partition(":")[0] for outcome in outcomes if outcome.startswith("_")}
    failed = [outcome for outcome in outcomes if " caused by " in outcome]
    assert kinds >= {"_ask", "_change", "_copy", "_encode", "_search", "_undo"}
    assert 0.05 < len(failed) / len(outcomes) < 0.4


def test_another_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(trace.outcomes_of(1))
    monkeypatch.setattr(trace.NamedGraph, "__len__", lambda _: 7)
    monkeypatch.setattr(trace, "IndexedGraph", trace.NamedGraph)
    monkeypatch.setattr(trace, "DependencyGraph", type("Other", (DependencyGraph,), {"__len__": lambda _: 7}))
    with pytest.raises(run.DifferentError, match="seed 1, call "):
        run.report("1", before, list(trace.outcomes_of(1)))
