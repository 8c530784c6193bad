"""Formats of other programs: DOT, Mermaid, GraphML and node-link JSON, written in pieces and read back.

An edge leads from a package to its dependency. A writer yields some 4,000 lines at a time, a reader takes a text or its
pieces, as an open file yields them. Mermaid is only written: its diagrams have no names, only labels.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Final

from scoop_core.errors import FormatError, shown
from scoop_core.graph import DependencyGraph

_LINES_AT_ONCE: Final = 4_096
"""The lines of one chunk, as in a snapshot: about 200 kB."""


def _in_pieces(lines: Iterable[str]) -> Iterator[str]:
    remaining = iter(lines)
    while some := list(islice(remaining, _LINES_AT_ONCE)):
        yield "\n".join(some) + "\n"


def _pieces_of(source: str | Iterable[str]) -> Iterable[str]:
    return (source,) if isinstance(source, str) else source


# DOT


def encode_dot(graph: DependencyGraph) -> Iterator[str]:
    """Yield ``graph`` in the DOT language of Graphviz. The graph must not change meanwhile.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> print("".join(encode_dot(graph)), end="")
    digraph {
    "isl";
    "gmp";
    "isl" -> "gmp";
    }
    """
    nodes = (f'"{name}";' for name in graph)
    edges = (f'"{name}" -> "{dependency}";' for name, dependency in graph.edges())
    return _in_pieces(chain(("digraph {",), nodes, edges, ("}",)))


_DOT_TOKEN: Final = re.compile(
    r"""\s+ | //[^\n]* | \#[^\n]* | /\*.*?\*/  # white space and comments
    | (?P<token> -> | [\[\]{};,=:]
      | "(?:[^"\\]|\\.)*"
      | <[^<>]*(?:<[^<>]*>[^<>]*)*>  # HTML
      | [^\0-@\[-^`{-\x7f][^\0-/:-@\[-^`{-\x7f]*  # letters, digits and _, and all beyond ASCII
      | -?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?) )""",
    re.VERBOSE | re.DOTALL,
)


def decode_dot(source: str | Iterable[str]) -> DependencyGraph:
    """Return the graph of a directed graph in the DOT language.

    Attributes are ignored, and so are the borders of subgraphs. An edge between two groups means one from each node of
    the first to each of the second, so a short text can make a large graph. Raises :exc:`FormatError` for an undirected
    graph or a syntax error, and :exc:`InvalidName` for a node that is no package name.

    >>> decode_dot('digraph { cloog -> {isl gmp} [color=red]; isl -> gmp }').to_mapping()
    mappingproxy({'cloog': ('isl', 'gmp'), 'isl': ('gmp',), 'gmp': ()})
    """
    reader = _DotReader(_dot_tokens("".join(_pieces_of(source))))
    return DependencyGraph.from_mapping(reader.read())


def _dot_tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _DOT_TOKEN.match(text, position)
        if match is None:
            raise FormatError(f"expected DOT, got {shown(text[position : position + 20])} at character {position}")
        position = match.end()
        if token := match["token"]:
            yield token


class _DotReader:
    """Reads the statements of a graph in DOT, token by token."""

    def __init__(self, tokens: Iterator[str]) -> None:
        self._tokens = tokens
        self._following = next(tokens, "")  # the next one, empty at the end
        self._dependencies: dict[str, dict[str, None]] = {}
        self._members: dict[str, None] = {}
        """The nodes of the innermost open group: the graph, a subgraph or braces."""
        self._sources: dict[str, None] = {}
        """The nodes before an arrow, if one precedes the next token."""
        self._outer: list[tuple[dict[str, None], dict[str, None]]] = []
        """Both of these, in each group around the innermost one."""

    def read(self) -> Mapping[str, Iterable[str]]:
        """Return the dependencies of each node."""
        if self._following.lower() == "strict":
            self._advance()
        self._expect("digraph")
        if self._following != "{":
            self._advance()  # the name of the graph
        self._expect("{")
        while (word := self._advance()) != "}" or self._outer or self._sources:
            self._read(word)
        if self._following:
            raise FormatError(f"expected one graph, got {shown(self._following)} after it")
        return self._dependencies

    def _read(self, word: str) -> None:
        if word == "{":
            self._outer.append((self._members, self._sources))
            self._members, self._sources = {}, {}
        elif word.lower() == "subgraph":
            if self._following != "{":
                self._advance()  # its name
        elif self._sources:
            self._add(self._nodes(word))
        elif word == "}":
            group = self._members
            self._members, self._sources = self._outer.pop()
            self._add(group)
        elif word.lower() in {"graph", "node", "edge"}:
            self._skip_attributes()
        elif self._following == "=":  # an attribute of the graph
            self._advance()
            self._advance()
        elif word != ";":
            self._add(self._nodes(word))

    def _advance(self) -> str:
        word, self._following = self._following, next(self._tokens, "")
        return word

    def _expect(self, wanted: str) -> None:
        if self._following.lower() != wanted:
            raise FormatError(f"expected {wanted!r}, got {shown(self._following)}")
        self._advance()

    def _nodes(self, word: str) -> dict[str, None]:
        nodes = {self._name(word): None}
        while self._following == ",":
            self._advance()
            nodes[self._name(self._advance())] = None
        return nodes

    def _name(self, word: str) -> str:
        if word in "{}[]=;,:->":  # or empty
            raise FormatError(f"expected a node, got {shown(word)}")
        while self._following == ":":  # a port
            self._advance()
            self._advance()
        return word[1:-1].replace("\\\n", "") if word[0] == '"' else word

    def _add(self, nodes: dict[str, None]) -> None:
        """Add a node or the nodes of a group, and the edges that lead to them."""
        for name in nodes:
            self._dependencies.setdefault(name, {})
        for name in self._sources:
            self._dependencies[name] |= nodes
        self._members |= nodes
        self._sources = {}
        if self._following == "->":
            self._advance()
            self._sources = nodes
        else:
            self._skip_attributes()

    def _skip_attributes(self) -> None:
        while self._following == "[":
            while self._following != "]":
                if not self._following:
                    raise FormatError("expected ']', got the end")
                self._advance()
            self._advance()


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
    return _in_pieces(chain(("flowchart TD",), nodes, edges))


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
    return _in_pieces(chain(head, nodes, edges, ("</graph>", "</graphml>")))


def decode_graphml(source: str | Iterable[str]) -> DependencyGraph:
    """Return the graph of a directed graph in GraphML, read piece by piece.

    Data of nodes and edges is ignored. Raises :exc:`FormatError` for an undirected graph, a hyperedge, a document
    type, a syntax error or other XML, :exc:`InvalidName` for a node that is no package name, and :exc:`RequestRefused`
    for an edge to a node that is not there.

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
        for piece in _pieces_of(source):
            parser.Parse(piece, False)
        parser.Parse("", True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise FormatError(f"expected GraphML, got {error}") from None
    if not reader.has_graph:
        raise FormatError("expected GraphML, got no graph")
    return _graph_of(reader.dependencies, reader.edges)


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
    return _in_pieces(chain((head,), nodes, ('], "edges": [',), edges, ("]}",)))


def _separated(items: Iterator[str]) -> Iterator[str]:
    """Yield ``items`` with a comma after each but the last."""
    last = next(items, None)
    for item in items:
        yield f"{last},"
        last = item
    if last is not None:
        yield last


def decode_node_link(source: str | Iterable[str]) -> DependencyGraph:
    """Return the graph of node-link JSON, whose edges are called ``edges`` or ``links``.

    Without ``directed``, they are directed, as in D3. Raises :exc:`FormatError` for any other text, :exc:`InvalidName`
    for a node that is no package name, and :exc:`RequestRefused` for an edge to a node that is not there.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> decode_node_link(encode_node_link(graph)) == graph
    True
    """
    import json  # noqa: PLC0415  # it would add a tenth to the time of importing this package

    try:
        document: object = json.loads("".join(_pieces_of(source)))
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
    return _graph_of({name: [] for name in _fields(nodes, "id")}, pairs)


def _fields(items: list[object], field: str) -> Iterator[str]:
    for item in items:
        value = item.get(field) if isinstance(item, dict) else None
        if not isinstance(value, str):
            raise FormatError(f"expected an object with a text {field!r}, got {shown(str(item))}")
        yield value


def _graph_of(dependencies: dict[str, list[str]], edges: Iterable[tuple[str, str]]) -> DependencyGraph:
    """Return the graph of declared nodes and edges."""
    for name, dependency in edges:
        if name not in dependencies:
            raise FormatError(f"expected edges between nodes, got an edge from {shown(name)}, which is no node")
        dependencies[name].append(dependency)
    return DependencyGraph.from_mapping(dependencies)
