"""The search in names, against the plainest definition of it."""

from hypothesis import given
from hypothesis import strategies as st

from scoop_core import IndexedGraph

from scoop_explorer import names as names_module
from scoop_explorer.names import NameIndex

NAMES = st.lists(st.text("abAB-.", min_size=1, max_size=5), unique=True, max_size=12)


@given(NAMES, NAMES, NAMES, st.text("abAB-.\n", max_size=3), st.integers(1, 30))
def test_a_search_finds_each_name_once_prefixes_first(
    first: list[str], added: list[str], removed: list[str], query: str, limit: int
) -> None:
    index = NameIndex(first)
    index.add(added)
    graph = IndexedGraph.from_mapping({name: [] for name in {*first, *added} - {*removed}})
    found = index.find(query, 1_000, graph)
    wanted = {name for name in graph if query.lower() in name.lower()}
    assert set(found.names) == wanted
    assert len(found.names) == len(wanted)
    begins = [name.lower().startswith(query.lower()) for name in found.names]
    assert begins == sorted(begins, reverse=True)
    few = index.find(query, limit, graph)
    assert few.names == found.names[:limit]
    assert few.has_more is (len(found.names) > limit)


def test_many_new_names_are_merged() -> None:
    index = NameIndex(["a"])
    names = [f"p{number}" for number in range(names_module.CHANGES_MAX + 1)]
    index.add(names)
    index.add(["q"])
    graph = IndexedGraph.from_mapping({name: [] for name in ["a", "q", *names]})
    assert index.find("q", 10, graph).names == ("q",)
    assert index.find("p4096", 10, graph).names == ("p4096",)
