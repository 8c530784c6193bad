"""The search in names, against the plainest definition of it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoop_explorer import names as names_module
from scoop_explorer.names import NameIndex

NAMES = st.sets(st.text("abAB-.", min_size=1, max_size=5))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an index that merges early, into blocks of few names."""
    monkeypatch.setattr(names_module, "BLOCK", 2)
    monkeypatch.setattr(names_module, "CHANGES_MAX", 3)
    monkeypatch.setattr(names_module, "MERGED_AT_ONCE", 2)


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    NAMES,
    st.lists(st.tuples(NAMES, st.integers(0, 3)), max_size=4),
    st.text("abAB-.\n", max_size=3),
    st.integers(1, 30),
)
def test_a_search_finds_each_name_once_prefixes_first(
    first: set[str], changes: list[tuple[set[str], int]], query: str, limit: int
) -> None:
    """Each change indexes the names that are missing and removes the others; a few merges follow it."""
    index, present = NameIndex(first), set(first)
    for names, merges in changes:
        present ^= names
        index.update(names)
        for _ in range(merges):
            index.merge(present)
    found = index.find(query, 1_000, present)
    wanted = {name for name in present if query.lower() in name.lower()}
    assert set(found.names) == wanted
    assert len(found.names) == len(wanted)
    begins = [name.lower().startswith(query.lower()) for name in found.names]
    assert begins == sorted(begins, reverse=True)
    prefixes = index.find(query, 1_000, present, only_prefixes=True)
    assert prefixes.names == found.names[: sum(begins)]
    few = index.find(query, limit, present)
    assert few.names == found.names[:limit]
    assert few.has_more is (len(found.names) > limit)


def test_many_changes_are_merged_a_few_blocks_at_a_time() -> None:
    present = {f"p{number:05}" for number in range(100 * names_module.BLOCK)}
    index = NameIndex(present)
    new = {f"{name}-new" for name in sorted(present)[:: len(present) // names_module.CHANGES_MAX]}
    gone = set(sorted(present)[1::7])
    present = present - gone | new
    index.update(new | gone)
    counts: list[int] = []
    while not counts or counts[-1]:
        index.merge(present)
        counts.append(len(index._changed))
    assert len(counts) == 2  # of 64 blocks, and of the other 36
    assert index.find("", len(present), present) == (tuple(sorted(present)), False)
    assert sum(len(block.names) for block in index._blocks.blocks) == len(present)


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    NAMES,
    st.lists(st.tuples(NAMES, st.integers(0, 3)), max_size=4),
    st.text("abAB-.\n", max_size=3),
    st.dictionaries(st.text("abAB-.", min_size=1, max_size=5), st.integers(1, 1_000)),
)
def test_a_ranking_has_each_match_once_the_name_itself_first(
    first: set[str], changes: list[tuple[set[str], int]], query: str, counts: dict[str, int]
) -> None:
    index, present = NameIndex(first), set(first)
    for names, merges in changes:
        present ^= names
        index.update(names)
        for _ in range(merges):
            index.merge(present)
    found = index.rank(query, present, lambda name: counts.get(name, 0))
    wanted = sorted(name for name in present if query.lower() in name.lower())
    assert sorted(found.names) == wanted
    assert found.total == len(wanted)
    if query in present:
        assert found.names[0] == query
    if not query:
        assert list(found.names) == wanted


def test_of_many_matches_the_popular_ones_and_those_at_the_start_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "RANKED_MAX", 3)
    names = {"lib", "liba", "libb", *(f"x{number}-lib" for number in range(10))}
    found = NameIndex(names).rank("lib", names, lambda name: 500 * (name == "x7-lib"), ["x7-lib", "gone-lib"])
    assert found.total == 13
    assert found.names[:3] == ("lib", "x7-lib", "liba")


@pytest.mark.parametrize("typed", ["opnessl", "penssl", "openssll", "OPENSSK", "0penssl", "kpenssl"])
def test_a_typing_mistake_is_found(typed: str) -> None:
    names = {f"{letter}{number}" for letter in "abcdefghijklmnopqrstuvwxyz" for number in range(100)} | {"openssl"}
    assert NameIndex(names).similar(typed, 3, names, lambda _: 0) == ["openssl"]


def test_of_short_queries_none_or_one_character_may_be_wrong() -> None:
    names = {"ab", "abc", "abcd"}
    index = NameIndex(names)
    assert list(index.similar("ax", 3, names, lambda _: 0)) == []
    assert list(index.similar("abx", 3, names, lambda _: 0)) == ["ab", "abc"]
