"""Snapshots: encoding, decoding, and the rejection of anything but one complete snapshot."""

import re
from collections.abc import Iterable
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    SNAPSHOT_VERSION,
    Command,
    DependencyGraph,
    IndexedGraph,
    TranscriptError,
    UnsupportedFormat,
    decode_snapshot,
    encode_snapshot,
    parse_request,
)

from tests.support.graph_strategies import NAMES, Edges, edges


def snapshot_of(graph: DependencyGraph) -> bytes:
    return b"".join(encode_snapshot(graph))


def crafted(body: bytes, packages: int, lines: int, header: bytes = b"#scoop snapshot 1\n") -> bytes:
    """Return any body between a header and a trailer with the right checksum; zeros are its notes if it has none."""
    if body and b"#" not in body:
        body += b"#dependents" + b" 0" * lines + b"\n"
    data = header + body + b"#end packages %d lines %d crc32 " % (packages, lines)
    return data + b"%08x\n" % crc32(data)


def graph_of(dependencies: dict[str, list[str]], order: Iterable[str] | None = None) -> DependencyGraph:
    """Return the graph with these dependencies, cycles included, indexed in this order."""
    graph = DependencyGraph()
    for package in order or dependencies:
        graph.index(package)
    for package in order or dependencies:
        graph.index(package, dependencies[package])
    return graph


SMALL = graph_of({"gmp": [], "isl": ["gmp"], "cloog": ["isl", "gmp"], "a": ["b"], "b": ["a", "b"]})
SMALL_SNAPSHOT = (
    b"#scoop snapshot 1\n"
    b"INDEX|gmp|\n"
    b"INDEX|isl|gmp\n"
    b"INDEX|cloog|isl,gmp\n"
    b"INDEX|a|\n"
    b"INDEX|b|a\n"
    b"INDEX|b|a,b\n"
    b"INDEX|a|b\n"
    b"#dependents 2 1 0 1 1 1 1\n"
    b"#end packages 5 lines 7 crc32 %08x\n"
)


# These names sort differently as text than by length, and some are parts of others.
_ODD_NAMES = dict(zip(NAMES, ["a", "b", "aa", "a.b", "B", "0", "~", "n" * 255], strict=True))


def dependencies() -> st.SearchStrategy[dict[str, list[str]]]:
    return edges().map(
        lambda edges: {_ODD_NAMES[name]: [_ODD_NAMES[each] for each in names] for name, names in edges.items()}
    )


bodies = st.lists(
    st.sampled_from(
        ["INDEX|a|\n", "INDEX|b|a\n", "INDEX|a|b,a\n", "INDEX|", "\nINDEX|", "a", "b", "|", ",", "\n", "REMOVE|", "="]
    ),
    max_size=6,
).map("".join)


class TestRoundTrip:
    def test_the_format(self) -> None:
        before_checksum = SMALL_SNAPSHOT[: SMALL_SNAPSHOT.index(b"%")]
        assert snapshot_of(SMALL) == SMALL_SNAPSHOT % crc32(before_checksum)
        assert SNAPSHOT_VERSION == 1

    @given(dependencies())
    @example({"a": ["a"]})
    @example({"a": ["b"], "b": ["c"], "c": ["a"]})
    def test_decoding_reverses_encoding(self, wanted: dict[str, list[str]]) -> None:
        graph = graph_of(wanted)
        twin = decode_snapshot(snapshot_of(graph), graph_class=IndexedGraph)
        assert twin == graph
        assert twin.dependents_by_package() == graph.dependents_by_package()
        assert twin._dependent_counts == graph._dependent_counts
        assert {name: set(twin.dependencies(name)) for name in twin} == {name: set(wanted[name]) for name in wanted}

    @given(wanted=dependencies(), data=st.data())
    def test_equal_graphs_give_equal_lines(self, wanted: dict[str, list[str]], data: st.DataObject) -> None:
        order = data.draw(st.permutations(list(wanted)))
        shuffled = {name: data.draw(st.permutations(names)) for name, names in wanted.items()}
        assert list(graph_of(wanted).to_lines()) == list(graph_of(shuffled, order).to_lines())

    def test_a_snapshot_keeps_the_order_of_the_packages_and_of_their_dependencies(self) -> None:
        lines = ["INDEX|b|", "INDEX|a|", "INDEX|d|b,a", "INDEX|c|d,b,a"]
        graph = DependencyGraph.from_lines(lines)
        assert snapshot_of(graph).decode().splitlines()[1:5] == lines
        assert snapshot_of(decode_snapshot(snapshot_of(graph))) == snapshot_of(graph)

    def test_a_package_that_got_a_later_dependency_is_written_after_it(self) -> None:
        graph = DependencyGraph.from_lines(["INDEX|a|", "INDEX|b|a", "INDEX|c|", "INDEX|d|", "INDEX|a|d", "INDEX|e|d"])
        lines = ["INDEX|d|", "INDEX|a|d", "INDEX|b|a", "INDEX|c|", "INDEX|e|d"]
        assert snapshot_of(graph).decode().splitlines()[1:6] == lines
        assert snapshot_of(decode_snapshot(snapshot_of(graph))) == snapshot_of(graph)

    @given(edges(), st.booleans())
    @example({"a": frozenset("b"), "b": frozenset()}, False)
    def test_each_package_comes_after_its_dependencies(self, wanted: Edges, is_copied: bool) -> None:
        graph = IndexedGraph.from_mapping(wanted)
        graph = graph.copy() if is_copied else IndexedGraph.from_graph(graph)
        lines = snapshot_of(graph).decode().splitlines()
        assert DependencyGraph.from_lines(lines) == graph  # so no line is refused
        assert (len(lines) == len(graph) + 2 + (len(graph) > 0)) == (graph.cyclic_components() == ())
        again = snapshot_of(decode_snapshot(snapshot_of(graph))).decode().splitlines()
        assert DependencyGraph.from_lines(again) == graph

    def test_packages_that_change_often_leave_no_trace(self) -> None:
        graph = DependencyGraph.from_lines(["INDEX|a|", "INDEX|b|", "INDEX|a|b", "INDEX|a|", "REMOVE|a|", "INDEX|a|"])
        assert graph._late == set()

    @given(dependencies())
    def test_a_package_is_written_once_and_again_only_on_a_cycle(self, wanted: dict[str, list[str]]) -> None:
        graph = graph_of(wanted)
        requests = list(graph.to_requests())
        written: dict[str, tuple[str, ...]] = {}
        for request in requests:
            assert request.command is Command.INDEX
            if request.package in written:
                # It closes a cycle: the first line lacked a dependency, the second one lacks none.
                assert set(written[request.package]) < set(wanted[request.package]) == set(request.dependencies)
                assert request.package in graph.find_path(request.package, request.package)
            written[request.package] = request.dependencies
        assert {name: sorted(names) for name, names in wanted.items()} == {n: list(d) for n, d in written.items()}

    def test_a_long_chain_needs_no_recursion(self) -> None:
        length = 20_000
        # The first name depends on all others, so the search goes to the end of the chain at once.
        packages = [f"{number:06}" for number in range(length)]
        graph = DependencyGraph.from_lists(packages, [*packages[1:], ""])
        data = snapshot_of(graph)
        assert data.startswith(b"#scoop snapshot 1\nINDEX|019999|\nINDEX|019998|019999\n")
        assert decode_snapshot(data) == graph
        graph.index(packages[-1], packages[:1])
        data = snapshot_of(graph)
        assert len(re.findall(rb"^INDEX", data, re.MULTILINE)) == length + 1
        assert decode_snapshot(data) == graph

    def test_a_snapshot_is_encoded_in_chunks(self) -> None:
        packages = [f"package-{number:05}" for number in range(20_000)]
        graph = DependencyGraph.from_lists(packages, [""] * len(packages))
        chunks = list(encode_snapshot(graph))
        assert max(map(len, chunks)) < 200_000
        assert len(chunks) > 5
        assert decode_snapshot(b"".join(chunks)) == graph

    def test_a_graph_that_rejects_cycles_loads_existing_ones(self) -> None:
        graph = decode_snapshot(snapshot_of(SMALL), reject_cycles=True)
        assert graph == SMALL
        assert graph.reject_cycles
        assert not decode_snapshot(snapshot_of(SMALL)).reject_cycles
        assert decode_snapshot(snapshot_of(DependencyGraph()), reject_cycles=True).reject_cycles


class TestRejection:
    DATA = snapshot_of(SMALL)

    def test_every_truncation_is_rejected(self) -> None:
        for length in range(len(self.DATA)):
            with pytest.raises(TranscriptError):
                decode_snapshot(self.DATA[:length])

    def test_every_change_of_one_byte_is_rejected(self) -> None:
        for position, original in enumerate(self.DATA):
            changed = bytearray(self.DATA)
            for byte in range(256):
                if byte != original:
                    changed[position] = byte
                    with pytest.raises(TranscriptError):
                        decode_snapshot(bytes(changed))

    def test_a_dropped_doubled_or_swapped_byte_is_rejected(self) -> None:
        data = self.DATA
        for position in range(len(data)):
            before, byte, after = data[:position], data[position : position + 1], data[position + 1 :]
            for changed in (before + after, before + byte + byte + after, before + after[:1] + byte + after[1:]):
                if changed != data:
                    with pytest.raises(TranscriptError):
                        decode_snapshot(changed)

    @pytest.mark.parametrize("more", [b"\n", b"\0", b"\0" * 4_096, b"INDEX|x|\n", DATA])
    def test_bytes_before_or_after_are_rejected(self, more: bytes) -> None:
        for data in (self.DATA + more, more + self.DATA):
            with pytest.raises(TranscriptError):
                decode_snapshot(data)

    @given(body=bodies, packages=st.integers(0, 3), counts=st.lists(st.integers(0, 2), max_size=3))
    @example(body="", packages=0, counts=[])
    @example(body="INDEX|a|\nINDEX|b|a\n", packages=2, counts=[1, 0])
    @example(body="INDEX|a|\nINDEX|b|a\n", packages=2, counts=[0, 1])
    @example(body="INDEX|b|a\nINDEX|a|\n", packages=2, counts=[0, 1])
    @example(body="INDEX|a|\nINDEX|b|a,a\n", packages=2, counts=[1, 0])
    @example(body="INDEX|a|\nINDEX|b|a,a\n", packages=2, counts=[2, 0])
    @example(body="INDEX|a|,\n", packages=1, counts=[0])
    @example(body="INDEX|a|\nINDEX|b|a,\n", packages=2, counts=[1, 0])
    @example(body="INDEX|a|\nINDEX|b|a\nINDEX|a|b,a\n", packages=2, counts=[1, 1, 1])
    def test_a_body_with_a_right_checksum_is_loaded_exactly_or_rejected(
        self, body: str, packages: int, counts: list[int]
    ) -> None:
        notes = f"#dependents {' '.join(map(str, counts))}\n" if counts else ""
        try:
            graph = decode_snapshot(crafted(f"{body}{notes}".encode(), packages, body.count("\n")))
        except TranscriptError:
            return
        rebuilt = DependencyGraph.from_mapping(graph.to_mapping())  # so each name is a package
        assert graph._dependent_counts == rebuilt._dependent_counts
        assert graph.edge_count() == rebuilt.edge_count()  # and none is repeated
        assert DependencyGraph.from_lines(snapshot_of(graph).decode().splitlines()) == graph
        assert len(graph) == packages
        assert body == "" or body.endswith("\n")
        requests = [parse_request(line) for line in body.splitlines()]
        assert all(request.command is Command.INDEX for request in requests)
        last = {request.package: set(request.dependencies) for request in requests}
        assert {name: set(graph.dependencies(name)) for name in graph} == last

    @pytest.mark.parametrize(
        ("data", "offset", "reason"),
        [
            (b"", 0, "the snapshot is empty"),
            (b"INDEX|a|\n", 0, "not a snapshot: the first line is not a header"),
            (b"#scoop snapshot 1", 0, "not a snapshot: the first line is not a header"),
            (b"#scoop snapshot one\n", 0, "not a snapshot: the first line is not a header"),
            (b"#scoop snapshot 1\n", 18, "the snapshot is truncated: its last line is not a trailer"),
            (DATA[:60], 60, "the snapshot is truncated: its last line is not a trailer"),
            (
                b"#scoop snapshot 1\n#end packages 0 lines 0 crc32 00000000\n",
                48,
                "checksum mismatch: expected 00000000, got f179932a",
            ),
        ],
    )
    def test_the_error_has_the_offset_and_the_reason(self, data: bytes, offset: int, reason: str) -> None:
        with pytest.raises(TranscriptError) as caught:
            decode_snapshot(data)
        assert type(caught.value) is TranscriptError
        assert (caught.value.offset, caught.value.reason) == (offset, reason)

    @pytest.mark.parametrize("version", [b"0", b"2", b"10", b"999999999"])
    def test_another_version_is_an_error_of_its_own(self, version: bytes) -> None:
        data = b"#scoop snapshot " + version + b"\nanything"
        with pytest.raises(UnsupportedFormat) as caught:
            decode_snapshot(data)
        assert caught.value.reason == f"the snapshot has format {version.decode()}; this version reads format 1"

    @pytest.mark.parametrize(
        ("body", "packages", "lines", "offset", "reason"),
        [
            (b"INDEX|a|\n", 1, 2, 18, "expected 2 lines, got 1"),
            (b"INDEX|a|\n", 1, 0, 18, "expected 0 lines, got 1"),
            (b"#dependents 0\n", 0, 1, 18, "expected 1 lines, got 0"),
            (b"", 0, 1, 18, "expected 1 numbers of dependents, got 0"),
            (b"INDEX|a|\n", 2, 1, 41, "expected 2 packages, got 1"),
            (b"INDEX|a|\n", 0, 1, 41, "expected 0 packages, got 1"),
            (b"INDEX|a|\nINDEX|a|\n", 2, 2, 52, "expected 2 packages, got 1"),
            (b"", 1, 0, 18, "expected 1 packages, got 0"),
            (b"INDEX|a|\n#dependents\n", 1, 1, 27, "expected 1 numbers of dependents, got 0"),
            (b"INDEX|a|\n#dependents 0 0\n", 1, 1, 27, "expected 1 numbers of dependents, got 2"),
            (b"INDEX|a|\n#dependents -1\n", 1, 1, 27, "a note is not a list of numbers"),
            (b"INDEX|a|\n#dependents dd\n", 1, 1, 27, "a note is not a list of numbers"),
            (b"INDEX|a|\n#dependents " + b"9" * 5_000 + b"\n", 1, 1, 27, "a note is not a list of numbers"),
            (b"INDEX|a|\n#anote\n", 1, 1, 27, "a note is not a list of numbers"),
            (b"INDEX|a|\n#dependents 0\nINDEX|b|\n", 2, 2, 27, "a note is not a list of numbers"),
        ],
    )
    def test_the_counts_must_match(self, body: bytes, packages: int, lines: int, offset: int, reason: str) -> None:
        with pytest.raises(TranscriptError) as caught:
            decode_snapshot(crafted(body, packages, lines))
        assert (caught.value.offset, caught.value.reason) == (offset, reason)

    @pytest.mark.parametrize(
        "body",
        [
            b"REMOVE|a|\n",
            b"QUERY|a|\n",
            b"index|a|\n",
            b"INDEX|a\n",
            b"INDEX|a||\n",
            b"INDEX|a|\nREMOVE|a|\n",
            b"INDEX|a|\n\n",
            b"\nINDEX|a|\n",
            b"INDEX||\n",
            b"INDEX||a\n",
            b"INDEX|a b|\n",
            b"INDEX|a,b|\n",
            b"INDEX|a=|\n",
            b"INDEX|a|\r\n",
            b"INDEX|a\xff|\n",
            b"INDEX|" + b"n" * 256 + b"|\n",
            b"INDEX|a|\nINDEX|b|a b\n",
            b"INDEX|a|\nINDEX|b|a\0\n",
            b"INDEX|a\n|\n",
            b"|a|\nINDEX\n",
            b"INDEX|a|INDEX\n|b|\n",
            b"junk",
            b"INDEX|a|",
            b"INDEX|a\n|X",
            b"INDEX|a|\nINDEX|b|a",
            b"INDEX|a|\nINDEX|b\n|aX",
        ],
    )
    def test_a_line_that_is_not_an_index_request_is_rejected(self, body: bytes) -> None:
        for packages in range(3):
            with pytest.raises(TranscriptError) as caught:
                decode_snapshot(crafted(body, packages, body.count(b"\n")))
            assert (caught.value.offset, caught.value.reason) == (18, "a line is not INDEX|package|dependencies")

    @pytest.mark.parametrize(
        ("body", "counts"),
        [
            (b"INDEX|a|,\n", b"0"),
            (b"INDEX|a|missing\n", b"0"),
            (b"INDEX|a|\nINDEX|b|a,\n", b"1 0"),
            (b"INDEX|a|\nINDEX|b|a,a\n", b"2 0"),
            (b"INDEX|a|\nINDEX|b|" + b"n" * 256 + b"\n", b"1 0"),
            (b"INDEX|a|\nINDEX|b|a\n", b"0 0"),
            (b"INDEX|a|\nINDEX|b|a\n", b"0 1"),
            (b"INDEX|a|a\n", b"1"),
        ],
    )
    def test_lists_that_a_method_could_not_rely_on_are_rejected(self, body: bytes, counts: bytes) -> None:
        lines = body.count(b"\n")
        data = crafted(body + b"#dependents " + counts + b"\n", lines, lines)
        with pytest.raises(TranscriptError, match="a list has a name that is no package or is repeated, or a note is"):
            decode_snapshot(data)
        assert len(decode_snapshot(data, trust_checksum=True)) == lines

    def test_packages_in_another_order_are_written_in_order(self) -> None:
        graph = decode_snapshot(crafted(b"INDEX|b|a\nINDEX|a|\n#dependents 0 1\n", 2, 2))
        assert list(graph) == ["b", "a"]
        assert snapshot_of(graph).splitlines()[1:3] == [b"INDEX|a|", b"INDEX|b|a"]

    def test_a_wrong_header_is_rejected_despite_a_right_checksum(self) -> None:
        for header in (b"#scoop snapshot\n", b"#scoop journal 1\n", b"\n#scoop snapshot 1\n", b"#scoop snapshot 1\r\n"):
            with pytest.raises(TranscriptError, match="not a header"):
                decode_snapshot(crafted(b"INDEX|a|\n", 1, 1, header))
