"""Formats of other programs: Mermaid, GraphML and node-link JSON, written in pieces and read back.

An edge leads from a package to its dependency. A writer yields some 4,000 lines at a time, a reader takes a text or its
pieces, as an open file yields them. Mermaid is only written: its diagrams have no names, only labels.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, cast

from scoop_core.errors import FormatError, shown
from scoop_core.graph import DependencyGraph
from scoop_core.graph_classes import Made

_LINES_AT_ONCE: Final = 4_096
"""The lines of one chunk, as in a snapshot: about 200 kB."""


def in_pieces(lines: Iterable[str]) -> Iterator[str]:
    """Yield the text of ``lines``, many at a time."""
    remaining = iter(lines)
    while some := list(islice(remaining, _LINES_AT_ONCE)):
        yield "\n".join(some) + "\n"


def text_of(source: str | Iterable[str]) -> str:
    """Return the whole text, without a byte order mark."""
    return (source if isinstance(source, str) else "".join(source)).removeprefix("\ufeff")


# Mermaid


def encode_mermaid(graph: DependencyGraph) -> Iterator[str]:
    """Yield ``graph`` as a Mermaid flowchart. The graph must not change meanwhile.

    Mermaid draws no more than 500 edges unless its ``maxEdges`` says otherwise: :meth:`DependencyGraph.subgraph`
    makes a graph small enough.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> print("".join(encode_mermaid(graph)), end="")
    flowchart TD
    n0["isl"]
    n1["gmp"]
    n0 --> n1
    """
    number_of = {name: number for number, name in enumerate(graph)}
    nodes = (f'n{number}["{name}"]' for name, number in number_of.items())
    edges = (f"n{number_of[name]} --> n{number_of[dependency]}" for name, dependency in graph.edges())
    return in_pieces(chain(("flowchart TD",), nodes, edges))


# GraphML


def encode_graphml(graph: DependencyGraph) -> Iterator[str]:
    """Yield ``graph`` as GraphML. The graph must not change meanwhile.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> print("".join(encode_graphml(graph)), end="")
    <?xml version="1.0" encoding="UTF-8"?>
    <graphml xmlns="http://graphml.graphdrawing.org/xmlns">
    <graph edgedefault="directed">
    <node id="isl"/>
    <node id="gmp"/>
    <edge source="isl" target="gmp"/>
    </graph>
    </graphml>
    """
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        '<graph edgedefault="directed">',
    )
    nodes = (f'<node id="{name}"/>' for name in graph)
    edges = (f'<edge source="{name}" target="{dependency}"/>' for name, dependency in graph.edges())
    return in_pieces(chain(head, nodes, edges, ("</graph>", "</graphml>")))


def decode_graphml(
    source: str | bytes | Iterable[str] | Iterable[bytes],
    *,
    add_missing: bool = False,
    reject_cycles: bool = False,
    graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
) -> Made:
    """Return the graph of a directed graph in GraphML, read piece by piece.

    Bytes are decoded as the document says. Data of nodes and edges is ignored. Raises :exc:`FormatError` for an
    undirected graph, a hyperedge, a document type, a syntax error or other XML, and with the options those errors that
    :func:`decode_node_link` raises.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> decode_graphml(encode_graphml(graph)) == graph
    True
    """
    from xml.parsers import expat  # noqa: PLC0415  # it would add a tenth to the time of importing this package

    reader = _GraphmlReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start_element
    parser.StartDoctypeDeclHandler = reader.start_document_type
    try:
        for piece in (source,) if isinstance(source, str | bytes) else source:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise FormatError(f"expected GraphML, got {error}") from None
    if not reader.has_graph:
        raise FormatError("expected GraphML, got no graph")
    return _graph_of(reader.dependencies, reader.edges, add_missing, reject_cycles, graph_class)


class _GraphmlReader:
    """Collects the nodes and edges of a document in GraphML, element by element."""

    def __init__(self) -> None:
        self.dependencies: dict[str, list[str]] = {}
        self.edges: list[tuple[str, str]] = []
        self.has_graph = False

    def start_element(self, tag: str, attributes: dict[str, str]) -> None:
        kind = tag.rpartition(" ")[2]  # without the namespace
        try:
            if kind == "graph":
                self.has_graph = True
                _expect_directed(attributes["edgedefault"] == "directed")
            elif kind == "node":
                self.dependencies.setdefault(attributes["id"], [])
            elif kind == "edge":
                _expect_directed(attributes.get("directed", "true") in {"true", "1"})
                self.edges.append((attributes["source"], attributes["target"]))
            elif kind == "hyperedge":
                raise FormatError("expected edges between two nodes, got a hyperedge")
        except KeyError as error:
            raise FormatError(f"expected {kind!r} with the attribute {error}, got none") from None

    def start_document_type(self, *_: object) -> None:
        raise FormatError("expected no document type, got one; its entities could expand without a limit")


def _expect_directed(is_directed: bool) -> None:
    if not is_directed:
        raise FormatError("expected directed edges, got undirected ones")


# Node-link JSON


def encode_node_link(graph: DependencyGraph) -> Iterator[str]:
    """Yield ``graph`` as node-link JSON, as networkx and D3 read it. The graph must not change meanwhile.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> print("".join(encode_node_link(graph)), end="")
    {"directed": true, "multigraph": false, "graph": {}, "nodes": [
    {"id": "isl"},
    {"id": "gmp"}
    ], "edges": [
    {"source": "isl", "target": "gmp"}
    ]}
    """
    nodes = _separated(f'{{"id": "{name}"}}' for name in graph)
    edges = _separated(f'{{"source": "{name}", "target": "{dependency}"}}' for name, dependency in graph.edges())
    head = '{"directed": true, "multigraph": false, "graph": {}, "nodes": ['
    return in_pieces(chain((head,), nodes, ('], "edges": [',), edges, ("]}",)))


def _separated(items: Iterator[str]) -> Iterator[str]:
    """Yield ``items`` with a comma after each but the last."""
    last = next(items, None)
    for item in items:
        yield f"{last},"
        last = item
    if last is not None:
        yield last


def decode_node_link(
    source: str | Iterable[str],
    *,
    add_missing: bool = False,
    reject_cycles: bool = False,
    graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
) -> Made:
    """Return the graph of node-link JSON, whose edges are called ``edges`` or ``links``.

    Without ``directed``, they are directed, as in D3. Raises :exc:`FormatError` for any other text, :exc:`InvalidName`
    for a node that is no package name, and :exc:`RequestRefused` for an edge to a node that is not there, unless
    ``add_missing`` adds it, and for a cycle if ``reject_cycles`` forbids it. The graph is a ``graph_class``.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> decode_node_link(encode_node_link(graph)) == graph
    True
    """
    import json  # noqa: PLC0415  # it would add a tenth to the time of importing this package

    try:
        document: object = json.loads(text_of(source))
    except json.JSONDecodeError as error:
        # Its position, not its message, which on PyPy may contain an invalid character.
        raise FormatError(f"expected JSON, got an error at line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError):
        raise FormatError("expected JSON, got a number or a nesting that is too long") from None
    match document:
        case {"directed": False}:
            raise FormatError("expected directed edges, got undirected ones")
        case {"nodes": [*nodes], "edges": [*edges]} | {"nodes": [*nodes], "links": [*edges]}:
            pass
        case _:
            raise FormatError("expected a graph with nodes and edges, got other JSON")
    pairs = zip(_fields(edges, "source"), _fields(edges, "target"), strict=True)
    lists: dict[str, list[str]] = {name: [] for name in _fields(nodes, "id")}
    return _graph_of(lists, pairs, add_missing, reject_cycles, graph_class)


def _fields(items: list[object], field: str) -> list[str]:
    if set(map(type, items)) == {dict}:
        values = [item.get(field) for item in cast("list[dict[str, object]]", items)]
        if set(map(type, values)) == {str}:
            return cast("list[str]", values)
    for item in items:
        value = item.get(field) if isinstance(item, dict) else None
        if not isinstance(value, str):
            raise FormatError(f"expected an object with a text {field!r}, got {shown(str(item))}")
    return []


def _graph_of(
    dependencies: dict[str, list[str]],
    edges: Iterable[tuple[str, str]],
    add_missing: bool,
    reject_cycles: bool,
    graph_class: type[Made],
) -> Made:
    """Return the graph of declared nodes and edges."""
    for name, dependency in edges:
        if name not in dependencies:
            if not add_missing:
                raise FormatError(f"expected edges between nodes, got an edge from {shown(name)}, which is no node")
            dependencies[name] = []
        dependencies[name].append(dependency)
    return graph_class.from_mapping(dependencies, add_missing=add_missing, reject_cycles=reject_cycles)
