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
