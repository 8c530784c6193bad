"""Strategies for lines of the protocol: well formed, damaged and malformed."""

from hypothesis import strategies as st

from scoop_core import Command

# Few, so that requests concern the same packages. Some contain others, so that a text search is not enough.
NAMES = ["a", "b", "c", "ab", "a.b", "B"]

names = st.sampled_from(NAMES)

dependency_lists = st.lists(names, max_size=5)
"""In any order, sometimes with a name twice."""

well_formed_lines = st.builds(
    lambda command, package, listed: f"{command}|{package}|{','.join(listed)}",
    st.sampled_from([*Command, Command.INDEX, Command.INDEX]),
    names,
    dependency_lists,
)

query_lines = names.map(lambda name: f"QUERY|{name}|")

_pieces = st.one_of(
    st.sampled_from([*Command, "|", "|", "|", ",", "", " ", "=", "\r", "\0", "\xff", "☃", "query", "n" * 256]),
    names,
)

malformed_lines = st.one_of(
    st.sampled_from(["", "|", "||", "QUERY", "QUERY|a", "QUERY||", "QUERY|a||", "QUERY|a|,", "query|a|", " QUERY|a|"]),
    st.sampled_from(["INDEX||", "INDEX|a|,", "INDEX|a|b,,c", "INDEX|a|b c", "INDEX|a=|", "INDEX|a", "INDEX|a|\r"]),
    st.sampled_from(["REMOVE||", "REMOVE|a|b c", "REMOVE|a,b|", "REMOVE|a|,", "REMOVE|a|\r", "REMOVES|a|b", "|a|"]),
    st.lists(_pieces, max_size=7).map("".join),
    st.text(st.characters(exclude_characters="\n"), max_size=20),
)
"""Mostly malformed: a few may be well formed by chance."""


@st.composite
def damaged_lines(draw: st.DrawFn) -> str:
    """A well-formed line in which a few characters were replaced, dropped or added."""
    line = draw(well_formed_lines | query_lines)
    start = draw(st.integers(0, len(line)))
    return line[:start] + draw(_pieces) + line[start + draw(st.integers(0, 2)) :]


lines = st.one_of(well_formed_lines, well_formed_lines, query_lines, malformed_lines, damaged_lines())


@st.composite
def runs_of_queries(draw: st.DrawFn) -> str:
    """A batch of QUERYs, mostly well formed, sometimes split or joined at any place."""
    run = "".join(f"{line}\n" for line in draw(st.lists(query_lines, min_size=1, max_size=6)))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(run)))
        added = draw(_pieces | st.sampled_from(["\n", "|\n", "QUERY|", "|\nQUERY|", "missing", ""]))
        run = run[:start] + added + run[start + draw(st.integers(0, 8)) :]
    return run if run.endswith("\n") else f"{run}\n"


batches = st.one_of(
    st.lists(lines, max_size=12).map(lambda some: "".join(f"{line}\n" for line in some)),
    runs_of_queries(),
)
"""Batches as a connection returns them: lines, each with its newline."""
