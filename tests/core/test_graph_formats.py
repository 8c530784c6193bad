"""The formats of other programs: round trips, exchange with networkx, and errors."""

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import networkx as nx  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import (
    DependencyGraph,
    FormatError,
    IndexedGraph,
    InvalidName,
    MissingDependencies,
    RequestRefused,
    ScoopError,
    decode_dot,
    decode_graphml,
    decode_node_link,
    encode_dot,
    encode_graphml,
    encode_mermaid,
    encode_node_link,
)
from scoop_core.graph_classes import Made

from tests.support.graph_strategies import graph_of, graphs

ODD_NAMES = DependencyGraph.from_mapping(
    {"node": ["a:~b", "gtk+3"], "a:~b": ["@scope/x.y"], "gtk+3": [], "@scope/x.y": []}
)


class Decoder(Protocol):
    """A function that decodes a text of a format, or its pieces."""

    __name__: str

    def __call__(
        self,
        source: str | Iterable[str],
        *,
        add_missing: bool = False,
        reject_cycles: bool = False,
        graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
    ) -> Made:
        """Return the graph."""


READERS: dict[Decoder, Callable[[DependencyGraph], Iterator[str]]] = {
    decode_dot: encode_dot,
    decode_graphml: encode_graphml,
    decode_node_link: encode_node_link,
}
FORMATS = pytest.mark.parametrize("decode", READERS, ids=lambda decode: decode.__name__)


class TestRoundTrips:
    @given(graphs(), st.sampled_from(list(READERS)))
    def test_a_graph_is_read_as_it_was_written(self, graph: DependencyGraph, decode: Decoder) -> None:
        pieces = list(READERS[decode](graph))
        assert decode("".join(pieces)) == decode(iter(pieces)) == graph
        assert list(decode(pieces)) == list(graph)

    @FORMATS
    def test_every_name_can_be_written(self, decode: Decoder) -> None:
        assert decode(READERS[decode](ODD_NAMES)) == ODD_NAMES

    @FORMATS
    def test_a_large_graph_is_encoded_in_pieces(self, decode: Decoder) -> None:
        chance, names = random.Random(3), [f"p{number}" for number in range(9_000)]
        graph = DependencyGraph.from_mapping({name: chance.sample(names, 2) for name in names})
        pieces = list(READERS[decode](graph))
        assert len(pieces) == 7
        assert max(map(len, pieces)) < 250_000
        assert decode(io.StringIO("".join(pieces))) == graph

    def test_networkx_reads_encoded_graphs(self) -> None:
        expected = nx.DiGraph(dict(ODD_NAMES.to_mapping()))
        graphml = nx.parse_graphml("".join(encode_graphml(ODD_NAMES)))
        node_link = nx.node_link_graph(json.loads("".join(encode_node_link(ODD_NAMES))), edges="edges")
        for found in (graphml, node_link):
            assert found.is_directed()
            assert (set(found.nodes), set(found.edges)) == (set(expected.nodes), set(expected.edges))

    def test_graphs_that_networkx_encodes_are_read(self) -> None:
        oracle = nx.DiGraph(dict(ODD_NAMES.to_mapping()))
        oracle.nodes["gtk+3"]["colour"] = "red"
        assert decode_graphml(nx.generate_graphml(oracle)) == ODD_NAMES
        for edges in ("edges", "links"):
            assert decode_node_link(json.dumps(nx.node_link_data(oracle, edges=edges))) == ODD_NAMES

    def test_mermaid_has_a_label_for_each_package(self) -> None:
        assert "".join(encode_mermaid(graph_of("a:b b:b"))) == (
            'flowchart TD\nn0["a"]\nn1["b"]\nn0 --> n1\nn1 --> n1\n'
        )

    @pytest.mark.parametrize(
        "text",
        [
            "digraph { a -> b -> c; a -> c; d }",
            'strict digraph "my graph" { rankdir=LR; node [shape=box]; a -> {b, c;} [label="->"][x=1] b:n -> c d }',
            "DIGRAPH G {// one\n /* two\n */ a->b a, b->c # three\n d;; edge [style=dashed]; graph [label=x] }",
            'digraph { "\\"" = x "a" -> "b"; {a} -> {b c}; b -> c; d [x=1, y=2]; }',
            '\ufeffdigraph { URL="x" + "y"; a:"p" + "q" -> "" + "b" [k="a"+"b"]; a->c b -> "c" + "" d }',
            "digraph { a -> b\na -> c\nb -> c\nd\n}",
            'digraph { label=<x<b>-</b>> subgraph s { {rank=same a:n} -> {b -> "\\\nc"} } {} -> subgraph {d} }',
        ],
    )
    def test_dot_that_other_programs_write_is_read(self, text: str) -> None:
        assert decode_dot(text) == graph_of("a:bc b:c c: d:")


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "expected 'digraph', got ''"),
            ("graph { a -- b }", "expected 'digraph', got 'graph'"),
            ("digraph", "expected '{', got ''"),
            ("digraph { a", "expected a node, got ''"),
            ("digraph { a -> }", "expected a node, got '}'"),
            ("digraph { a -> ; b }", "expected a node, got ';'"),
            ("digraph {" + "{" * 100_000, "expected a node, got ''"),
            ("digraph { a [x", "expected ']', got the end"),
            ("digraph { a } digraph { b }", "expected one graph, got 'digraph' after it"),
            ("digraph { a -- b }", "expected DOT, got '-- b }' at character 12"),
            ('digraph { "a }', "expected DOT, got '\"a }' at character 10"),
        ],
    )
    def test_dot(self, text: str, reason: str) -> None:
        with pytest.raises(FormatError) as caught:
            decode_dot(text)
        assert caught.value.reason == str(caught.value) == reason

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("<graph edgedefault='undirected'/>", "expected directed edges, got undirected ones"),
            ("<!-- no graph -->", "expected GraphML, got no graph"),
            ("<node id='\ud800'/>", "expected GraphML, got "),
            ("<graph/>", "expected 'graph' with the attribute 'edgedefault', got none"),
            ("<node/>", "expected 'node' with the attribute 'id', got none"),
            ("<node id='a'/><edge source='a'/>", "expected 'edge' with the attribute 'target', got none"),
            (
                "<node id='a'/><edge source='a' target='a' directed='false'/>",
                "expected directed edges, got undirected ones",
            ),
            ("<hyperedge/>", "expected edges between two nodes, got a hyperedge"),
            ("<node id='a'>", "expected GraphML, got mismatched tag: line 1, column 24"),
            (
                "<graph edgedefault='directed'><node id='a'/><edge source='b' target='a'/></graph>",
                "expected edges between nodes, got an edge from 'b', which is no node",
            ),
        ],
    )
    def test_graphml(self, body: str, reason: str) -> None:
        with pytest.raises(FormatError) as caught:
            decode_graphml(f"<graphml>{body}</graphml>")
        assert caught.value.reason.startswith(reason)

    def test_graphml_with_a_namespace_prefix_is_read(self) -> None:
        nodes = '<g:node id="a"/><g:node id="b"/><g:edge source="a" target="b" directed="1"/>'
        document = f'<g:graphml xmlns:g="http://x"><g:graph edgedefault="directed">{nodes}</g:graph></g:graphml>'
        assert decode_graphml(document) == graph_of("a:b b:")

    def test_graphml_in_bytes_has_the_encoding_that_it_names(self) -> None:
        text = "".join(encode_graphml(ODD_NAMES))
        for data in (text.encode(), text.replace("UTF-8", "UTF-16").encode("utf-16"), b"\xef\xbb\xbf" + text.encode()):
            assert decode_graphml(data) == decode_graphml([data[:99], data[99:]]) == ODD_NAMES

    @FORMATS
    def test_every_decoder_has_the_same_options(self, decode: Decoder) -> None:
        graph = graph_of("a:b b:a")
        indexed = decode(READERS[decode](graph), graph_class=IndexedGraph)
        assert type(indexed) is IndexedGraph
        assert indexed.dependents("a") == ("b",)
        with pytest.raises(RequestRefused, match="cannot index a: it would close the cycle a -> b -> a"):
            decode(READERS[decode](graph), reject_cycles=True)
        assert decode(READERS[decode](graph_of("a:")), reject_cycles=True, graph_class=IndexedGraph).reject_cycles
        text = "".join(READERS[decode](graph_of("a:b b:")))
        for node in ('"b";\n', '<node id="b"/>\n', ',\n{"id": "b"}', '"a";\n', '<node id="a"/>\n', '{"id": "a"},\n'):
            assert decode(text.replace(node, "", 1), add_missing=True) == graph_of("a:b b:")

    def test_a_byte_order_mark_is_no_json(self) -> None:
        assert decode_node_link("\ufeff" + "".join(encode_node_link(ODD_NAMES))) == ODD_NAMES

    def test_graphml_that_is_cut_short_is_an_error(self) -> None:
        with pytest.raises(FormatError, match=r"^expected GraphML, got no element found: line 1, column "):
            decode_graphml('<graphml><graph edgedefault="directed"><node id="a"/>')

    def test_graphml_with_a_document_type_is_refused_because_entities_expand(self) -> None:
        reason = "expected no document type, got one; its entities could expand without a limit"
        with pytest.raises(FormatError, match=f"^{reason}$"):
            decode_graphml('<!DOCTYPE x [<!ENTITY a "b">]><graphml><node id="&a;"/></graphml>')

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("{", "expected JSON, got an error at line 1 column 2"),
            ("[" * 100_000, "expected JSON, got "),
            ("[]", "expected a graph with nodes and edges, got other JSON"),
            ('{"directed": false, "nodes": [], "edges": []}', "expected directed edges, got undirected ones"),
            ('{"nodes": [1], "links": []}', "expected an object with a text 'id', got '1'"),
            ('{"directed": true, "nodes": [{"id": 1}], "edges": []}', "expected an object with a text 'id'"),
            ('{"nodes": [{"id": "a"}, {}], "edges": []}', "expected an object with a text 'id', got '{}'"),
            ('{"directed": true, "nodes": [], "edges": [{}]}', "expected an object with a text 'source', got '{}'"),
        ],
    )
    def test_node_link(self, text: str, reason: str) -> None:
        with pytest.raises(FormatError) as caught:
            decode_node_link(text)
        assert caught.value.reason.startswith(reason)

    def test_names_are_checked_and_edges_need_their_nodes(self) -> None:
        documents = {
            decode_dot: 'digraph { "a b" }',
            decode_graphml: "<graph edgedefault='directed'><node id='a b'/></graph>",
            decode_node_link: '{"directed": true, "nodes": [{"id": "a b"}], "edges": []}',
        }
        for decode, text in documents.items():
            with pytest.raises(InvalidName):
                decode(text)
        with pytest.raises(RequestRefused) as caught:
            decode_graphml("<graph edgedefault='directed'><node id='a'/><edge source='a' target='b'/></graph>")
        assert caught.value.refusal == MissingDependencies("a", ("b",))

    @given(st.sampled_from(list(READERS)), st.text(), st.integers(0, 60), st.integers(0, 10))
    def test_a_damaged_text_raises_nothing_but_errors_of_the_library(
        self, decode: Decoder, added: str, place: int, dropped: int
    ) -> None:
        text = "".join(READERS[decode](ODD_NAMES))
        with contextlib.suppress(ScoopError):
            decode(text[:place] + added + text[place + dropped :])
