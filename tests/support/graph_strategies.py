"""Strategies for small graphs, as mappings and as DependencyGraph, and a reference for the closure."""

from collections.abc import Mapping

from hypothesis import strategies as st

from scoop_core import Command, DependencyGraph, Request

NAMES = tuple("abcdefgh")

Edges = Mapping[str, frozenset[str]]


def graph_of(text: str, **options: bool) -> DependencyGraph:
    """Return the graph that a text like ``"a:bc b:c c:"`` describes, whose names have one letter each."""
    pairs = (item.split(":") for item in text.split())
    return DependencyGraph.from_mapping({name: list(names) for name, names in pairs}, **options)


@st.composite
def edges(draw: st.DrawFn, *, acyclic: bool = False) -> Edges:
    """Return packages with their dependencies, self-dependencies and cycles included unless ``acyclic``."""
    packages = draw(st.permutations(sorted(draw(st.sets(st.sampled_from(NAMES))))))
    if acyclic:
        return {name: draw(_subsets(packages[:place])) for place, name in enumerate(packages)}
    return {name: draw(_subsets(packages)) for name in packages}


def _subsets(names: list[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names), max_size=4) if names else st.just(frozenset())


def graphs(*, acyclic: bool = False) -> st.SearchStrategy[DependencyGraph]:
    return edges(acyclic=acyclic).map(DependencyGraph.from_mapping)


def requests() -> st.SearchStrategy[Request]:
    """Return requests about the names of the random graphs."""
    names = st.sampled_from(NAMES)
    return st.builds(Request.of, st.sampled_from(Command), names, st.lists(names, max_size=4))


def closure(edges: Edges, start: str) -> set[str]:
    """Return the packages reachable from ``start`` by at least one edge."""
    found = set(edges[start])
    while True:
        wider = found.union(*(edges[name] for name in found))
        if wider == found:
            return found
        found = wider
