"""Dumps: encoding, and decoding of dumps and of other request lines, with the number of the line at fault."""

import re
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, DumpError, IndexedGraph, decode_dump, encode_dump

from tests.support.graph_strategies import graphs

LINES = b"INDEX|gmp|\nINDEX|isl|gmp\n"
GRAPH = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})


def complete(lines: bytes) -> bytes:
    """Return a dump with these lines."""
    data = b"#scoop dump 1\n" + lines
    return data + b"#end packages %d crc32 %08x\n" % (lines.count(b"\n"), crc32(data))


DUMP = complete(LINES)


def test_a_dump_has_its_lines_between_a_header_and_a_trailer() -> None:
    assert b"".join(encode_dump(GRAPH)) == DUMP
    assert b"".join(encode_dump(DependencyGraph())) == complete(b"")


def test_a_large_dump_comes_in_chunks() -> None:
    graph = DependencyGraph.from_mapping({f"p{number}": [] for number in range(10_000)})
    chunks = list(encode_dump(graph))
    assert len(chunks) == 5
    assert b"".join(chunks) == complete("".join(f"{line}\n" for line in graph.to_lines()).encode())


@given(graphs(), st.booleans(), st.integers(0, 30))
def test_a_dump_is_decoded_to_an_equal_graph(graph: DependencyGraph, is_whole: bool, place: int) -> None:
    data = b"".join(encode_dump(graph))
    decoded = decode_dump(data if is_whole else [data[:place], data[place:]], graph_class=IndexedGraph)
    assert decoded == graph
    assert decoded.dependents_by_package() == graph.dependents_by_package()


def test_a_dump_with_a_cycle_has_more_lines_than_packages() -> None:
    graph = DependencyGraph.from_mapping({"gcc": ["glibc"], "glibc": ["gcc"]})
    data = b"".join(encode_dump(graph))
    assert (data.count(b"INDEX"), b"#end packages 2 " in data) == (3, True)
    with pytest.raises(DumpError, match=r"^line 4: cannot index gcc: it would close the cycle gcc -> glibc -> gcc$"):
        decode_dump(data, reject_cycles=True)


def test_the_rule_about_cycles_holds_for_later_requests() -> None:
    assert decode_dump(DUMP, reject_cycles=True).reject_cycles


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (LINES, GRAPH),
        (complete(b""), DependencyGraph()),
        (DUMP.replace(b"\n", b"\r\n"), GRAPH),
        (b"#scoop snapshot 1\n" + LINES + b"#end packages 2 lines 2 crc32 00000000\n", GRAPH),
        (LINES + b"INDEX|make|\nQUERY|make|\nREMOVE|make|\n", GRAPH),
        (LINES + b"INDEX|gmp|isl\nINDEX|gmp|\n", GRAPH),
    ],
    ids=["without trailer", "empty dump", "CRLF", "a snapshot", "other requests", "a cycle in between"],
)
def test_input_whose_lines_are_all_answered_ok_is_decoded(lines: bytes, expected: DependencyGraph) -> None:
    assert decode_dump(lines) == expected


def test_missing_dependencies_are_added_on_request() -> None:
    lines = b"INDEX|cloog|isl,gmp\nINDEX|isl|gmp,isl\nINDEX|x|x\nREMOVE|y|z\n"
    expected = {"cloog": ("isl", "gmp"), "isl": ("gmp", "isl"), "gmp": (), "x": ("x",)}
    assert decode_dump(lines, add_missing=True).to_mapping() == expected
    assert decode_dump(DUMP, add_missing=True) == GRAPH
    for wrong in (b"QUERY|a|b\n", b"INDEX|a|b c\n", b"INDEX|a|\nINDEX|b|a\nREMOVE|a|c\n"):
        with pytest.raises(DumpError):
            decode_dump(wrong, add_missing=True)
    with pytest.raises(DumpError, match="would close the cycle"):
        decode_dump(lines, add_missing=True, reject_cycles=True)
    with pytest.raises(DumpError, match="the dump is damaged"):
        decode_dump(DUMP.replace(b"INDEX|gmp|\n", b""), add_missing=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", "line 1: the input has no requests"),
        (b"#scoop snapshot 1\n", "line 1: the input has no requests"),
        (LINES[:-1], "line 2: the input ends within this line"),
        (DUMP[:-1], "line 4: the input ends within this line"),
        (LINES + b"\n", "line 3: expected 2 bars, got 0: ''"),
        (b"#\nINDEX|a|b\n", "line 2: cannot index a: b is not indexed"),
        (b"REMOVE|b|\n" + LINES + b"REMOVE|gmp|\n", "line 4: cannot remove gmp: 1 package depends on it: isl"),
        (b"INDEX|\xff\0|\n", r"line 1: invalid '\xff' at column 7 of the line: 'INDEX|\xff\x00|'"),
        (b"#scoop dump 2\n" + LINES, "line 1: expected #scoop dump 1, got '#scoop dump 2'"),
        (DUMP + LINES, "line 5: the dump ends before this line"),
        (DUMP[len(b"#scoop dump 1\n") :], "line 3: the dump is damaged: its count or checksum is wrong"),
        (DUMP.replace(b"INDEX|isl|gmp\n", b""), "line 3: the dump is damaged: its count or checksum is wrong"),
        (DUMP.replace(b"isl", b"osl"), "line 4: the dump is damaged: its count or checksum is wrong"),
        (DUMP.replace(b"packages 2", b"packages 3"), "line 4: the dump is damaged: its count or checksum is wrong"),
    ],
)
def test_other_input_is_rejected_with_the_number_of_the_line(lines: bytes, message: str) -> None:
    for each in (lines, re.findall(rb"[^\n]*\n|[^\n]+", lines)):
        with pytest.raises(DumpError) as raised:
            decode_dump(each)
        assert str(raised.value) == message


@pytest.mark.parametrize("end", [match.end() for match in re.finditer(b"\n", DUMP)][:-1])
def test_a_dump_that_was_cut_off_after_any_line_is_rejected(end: int) -> None:
    with pytest.raises(DumpError, match=f"^line {DUMP[:end].count(b'|') // 2 + 2}: the dump is incomplete: "):
        decode_dump(DUMP[:end])
