"""Plans: what would follow from changes, by example, and by a property against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import (
    ClosesCycle,
    DependencyGraph,
    IndexedGraph,
    InvalidName,
    MissingDependencies,
    Plan,
    RequestRefused,
    UnknownPackage,
)

from tests.support.graph_strategies import NAMES, Edges, closure, edges, graph_of

names = st.sampled_from(NAMES)
changes = st.dictionaries(names, st.none() | st.frozensets(names, max_size=3), max_size=4)


def needed_from_outside(after: Edges, some: set[str]) -> set[str]:
    return {name for name in some if any(name in after[other] for other in after.keys() - some)}


@given(edges(), changes, st.sets(names, max_size=2), st.booleans())
def test_what_follows_is_what_follows_by_definition(
    before: Edges, changed: dict[str, frozenset[str] | None], keep: set[str], has_index: bool
) -> None:
    graph = (IndexedGraph if has_index else DependencyGraph).from_mapping(before)
    plan = Plan(graph)
    after = dict(before)
    planned = set[str]()
    for name, dependencies in changed.items():
        if dependencies is not None:
            plan.index(name, dependencies)
            after[name] = dependencies
        elif name in before:
            plan.remove(name)
            del after[name]
        else:
            continue
        planned.add(name)
    reached = {name: closure({**dict.fromkeys(NAMES, frozenset()), **after}, name) for name in after}

    missing = {name: tuple(sorted(after[name] - after.keys())) for name in after if after[name] - after.keys()}
    assert dict(plan.missing_dependencies()) == missing
    assert list(plan.missing_dependencies()) == sorted(missing)
    broken = {name for name in after if reached[name] - after.keys()}
    assert set(plan.broken()) == broken
    rebuilt = {name for name in after if ({name} | reached[name]) & planned} - broken
    assert set(plan.rebuilt()) == rebuilt
    orphans = set().union(*(closure(before, name) for name in planned & before.keys())) - planned - keep
    while needed := needed_from_outside(after, orphans):
        orphans -= needed
    assert set(plan.orphans(keep)) == orphans
    for order in (plan.broken(), plan.rebuilt(), plan.orphans(keep)[::-1]):
        assert len(set(order)) == len(order)
        for place, name in enumerate(order):
            later = after[name] & set(order[place + 1 :])
            assert all(name in reached[other] for other in later), "only a cycle can be in another order"

    assert graph == DependencyGraph.from_mapping(before), "the graph has not changed"
    if missing:
        with pytest.raises(RequestRefused) as refused:
            plan.to_graph()
        assert isinstance(refused.value.refusal, MissingDependencies)
        return
    made = plan.to_graph()
    assert type(made) is type(graph)
    assert made == DependencyGraph.from_mapping(after)
    for name in made:
        assert made.dependent_count(name) == sum(name in after[other] for other in after if other != name)
        assert set(made.dependents(name)) == {other for other in after if name in after[other]}


def test_the_last_of_several_changes_counts() -> None:
    plan = Plan(graph_of("a:b b:"))
    plan.remove(["b", "b"])
    with pytest.raises(UnknownPackage):
        plan.remove("b")
    assert plan.broken() == ("a",)
    plan.index("b")
    assert (plan.broken(), plan.rebuilt()) == ((), ("b", "a"))
    plan.index("x", ["y", "y"])
    plan.remove("x")
    assert (plan.broken(), plan.rebuilt()) == ((), ("b", "a"))


def test_a_cycle_that_only_needs_itself_is_an_orphan() -> None:
    plan = Plan(graph_of("a:b b:cd c:b d: e:d"))
    plan.remove("a")
    assert plan.orphans() == ("b", "c")
    assert plan.orphans(keep="c") == ()


def test_the_plan_of_a_graph_that_has_changed_meanwhile() -> None:
    graph = graph_of("a:b b:")
    plan = Plan(graph)
    plan.remove("b")
    graph.index("c", ["a"])
    assert plan.broken() == ("a", "c")


def test_a_forbidden_cycle_is_no_graph() -> None:
    graph = graph_of("a:b b:", reject_cycles=True)
    plan = Plan(graph)
    plan.index("b", ["a"])
    with pytest.raises(RequestRefused) as refused:
        plan.to_graph()
    assert isinstance(refused.value.refusal, ClosesCycle)
    graph = graph_of("a:b b:a c:")
    graph.reject_cycles = True
    plan = Plan(graph)
    plan.remove("c")
    made = plan.to_graph()
    assert (list(made), made.reject_cycles) == (["a", "b"], True)


@pytest.mark.parametrize(("package", "dependencies"), [("a b", []), ("a", ["a b"]), ("", []), ("a", [""])])
def test_an_invalid_name_changes_nothing(package: str, dependencies: list[str]) -> None:
    plan = Plan(graph_of("a:"))
    with pytest.raises(InvalidName):
        plan.index(package, dependencies)
    assert plan.rebuilt() == ()


def test_a_string_is_not_a_list_of_dependencies() -> None:
    with pytest.raises(TypeError, match="got the string 'gmp'"):
        Plan(graph_of("a:")).index("a", "gmp")
