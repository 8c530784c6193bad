"""The DOT language of Graphviz, written in pieces and read back. An edge leads from a package to its dependency."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from scoop_core.errors import FormatError, shown
from scoop_core.graph import DependencyGraph
from scoop_core.graph_classes import Made
from scoop_core.graph_formats import in_pieces, text_of


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
    return in_pieces(chain(("digraph {",), nodes, edges, ("}",)))


_SPACE: Final = r"\s+ | //[^\n]* | \#[^\n]* | /\*.*?\*/"
_WORD: Final = r""""[^"\\]*(?:\\.[^"\\]*)*"
      | -> | [\[\]{};,=:+]
      | <[^<>]*(?:<[^<>]*>[^<>]*)*>  # HTML
      | [^\0-@\[-^`{-\x7f][^\0-/:-@\[-^`{-\x7f]*  # letters, digits and _, and all beyond ASCII
      | -?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)"""
_find_tokens: Final = re.compile(f"(?:{_SPACE})*({_WORD} | . | \\Z)", re.VERBOSE | re.DOTALL).findall
_is_word: Final = re.compile(_WORD, re.VERBOSE | re.DOTALL).fullmatch
_next_word: Final = re.compile(f"{_SPACE} | {_WORD}", re.VERBOSE | re.DOTALL).match

_MARKS: Final = frozenset({"", "{", "}", "[", "]", ";", ",", "=", ":", "+", "->"})
_CONTINUING: Final = frozenset({"[", ",", "=", ":", "+", "->"})
"""Those that can follow a name in its statement."""
_KEYWORDS: Final = frozenset({"graph", "node", "edge", "subgraph"})


def decode_dot(
    source: str | Iterable[str],
    *,
    add_missing: bool = False,  # noqa: ARG001  # as for the other formats; each name in an edge is a node
    reject_cycles: bool = False,
    graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
) -> Made:
    """Return the graph of a directed graph in the DOT language.

    Attributes are ignored, and so are the borders of subgraphs. An edge between two groups means one from each node of
    the first to each of the second, so a short text can make a large graph. The options are those of
    :func:`decode_node_link`; a name in an edge is a node. Raises :exc:`FormatError` for an undirected graph or a syntax
    error, and :exc:`InvalidName` for a node that is no package name.

    >>> decode_dot('digraph { cloog -> {isl gmp} [color=red]; isl -> gmp }').to_mapping()
    mappingproxy({'cloog': ('isl', 'gmp'), 'isl': ('gmp',), 'gmp': ()})
    """
    return graph_class.from_mapping(_DotReader(text_of(source)).read(), reject_cycles=reject_cycles)


class _DotReader:
    """Reads the statements of a graph in DOT."""

    def __init__(self, text: str) -> None:
        self._text = text
        # One call for all tokens takes a third of the time of a call for each.
        self._tokens: list[str] = list(filter(None, _find_tokens(text)))
        self._tokens += ["", "", ""]  # so that none of the next three is beyond the end
        self._place = 0
        self._names: dict[str, str] = {}  # of the tokens that are names by themselves; empty for others
        self._dependencies: dict[str, dict[str, None]] = {}
        self._members: dict[str, None] = {}
        """The nodes of the innermost open group: the graph, a subgraph or braces."""
        self._sources: dict[str, None] = {}
        """The nodes before an arrow, if one precedes the next token."""
        self._outer: list[tuple[dict[str, None], dict[str, None]]] = []
        """Both of these, in each group around the innermost one."""

    @property
    def _following(self) -> str:
        return self._tokens[self._place]

    def read(self) -> Mapping[str, Iterable[str]]:
        """Return the dependencies of each node."""
        if self._following.lower() == "strict":
            self._advance()
        self._expect("digraph")
        if self._following != "{":
            self._advance()  # the name of the graph
        self._expect("{")
        self._check_tokens()
        while True:
            if not self._outer and not self._sources:
                self._read_simple()
            word = self._advance()
            if word == "}" and not self._outer and not self._sources:
                break
            self._read(word)
        if self._following:
            raise FormatError(f"expected one graph, got {shown(self._following)} after it")
        return self._dependencies

    def _check_tokens(self) -> None:
        if all(map(_is_word, set(self._tokens) - {""})):
            return
        position = 0
        while match := _next_word(self._text, position):
            position = match.end()
        raise FormatError(f"expected DOT, got {shown(self._text[position : position + 20])} at character {position}")

    def _read_simple(self) -> None:
        """Read the statements that are a node or an edge between two, up to another: in half of the time of others."""
        tokens, names, dependencies, place = self._tokens, self._names, self._dependencies, self._place
        while name := names.get(tokens[place]) or self._plain_name(tokens[place]):
            after = tokens[place + 1]
            if after == "->":
                target = names.get(tokens[place + 2]) or self._plain_name(tokens[place + 2])
                if not target or tokens[place + 3] in _CONTINUING:
                    break
                dependencies.setdefault(name, {})[target] = None
                dependencies.setdefault(target, {})
                place += 3
            elif after in _CONTINUING:
                break
            else:
                dependencies.setdefault(name, {})
                place += 1
            if tokens[place] == ";":
                place += 1
        self._place = place

    def _plain_name(self, word: str) -> str:
        """Return the name that ``word`` means, empty for a mark or a keyword."""
        name = self._names[word] = "" if word in _MARKS or word.lower() in _KEYWORDS else _unquoted(word)
        return name

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
        elif word.lower() in _KEYWORDS:
            self._skip_attributes()
        elif self._following == "=":  # an attribute of the graph
            self._skip_value()
        elif word != ";":
            self._add(self._nodes(word))

    def _advance(self) -> str:
        word = self._following
        self._place += bool(word)
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
        if word in _MARKS:
            raise FormatError(f"expected a node, got {shown(word)}")
        name = _unquoted(word)
        while self._following == "+":  # a text in parts
            self._advance()
            name += _unquoted(self._advance())
        while self._following == ":":  # a port
            self._skip_value()
        return name

    def _skip_value(self) -> None:
        """Skip a mark and the value after it."""
        self._advance()
        self._advance()
        while self._following == "+":
            self._advance()
            self._advance()

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


def _unquoted(word: str) -> str:
    return word[1:-1].replace("\\\n", "") if word[:1] == '"' else word
