"""The forms in which packages are read, recognised by their content: request lines, lists, JSON, DOT and GraphML."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from scoop_core import DependencyGraph, ScoopError, decode_dot, decode_graphml, decode_node_link

from scoop_client.errors import InvalidInput

LINES: Final = "lines"

_SHOWN_CHARACTERS: Final = 80

GRAPH_DECODERS: Final[Mapping[str, Callable[[str], DependencyGraph]]] = {
    "dot": decode_dot,
    "graphml": decode_graphml,
}

FORMS: Final = (LINES, "list", "json", *GRAPH_DECODERS)
"""The names of the forms: protocol lines, ``name: dependency ...`` lines, JSON in three shapes, DOT and GraphML."""

_is_dot: Final = re.compile(
    r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)*(?:strict\s+)?digraph\b[^:|]*?\{", re.DOTALL | re.IGNORECASE
).match
_FIRST_LINE: Final = re.compile(r"^(?!#|\s*$).*", re.MULTILINE)


def recognise(text: str) -> str:
    r"""Return the name of the form of ``text``; a list, if it is none of the others.

    >>> recognise("#scoop dump 1\nINDEX|gmp|\n"), recognise("isl: gmp"), recognise("digraph {a -> b}")
    ('lines', 'list', 'dot')
    """
    start = text.lstrip()[:2]
    if start[:1] in {"{", "["}:
        return "json"
    if start[:1] == "<":
        return "graphml"
    if start == "/*" or _is_dot(text):
        return "dot"
    first = _FIRST_LINE.search(text)
    return LINES if first is not None and "|" in first[0] else "list"


def parse_packages(text: str, source: str, form: str | None = None) -> Mapping[str, Iterable[str]]:
    """Return the packages of any form but request lines. Raises :exc:`InvalidInput`."""
    form = form or recognise(text)
    if form == "list":
        return parse_list(text, source)
    if form == "json":
        return parse_json(text, source)
    try:
        return GRAPH_DECODERS[form](text).to_mapping()
    except ScoopError as error:
        raise InvalidInput(source, str(error)) from error


def parse_list(text: str, source: str) -> dict[str, list[str]]:
    r"""Return the packages of lines ``name: dep dep``; the colon and the dependencies may be missing.

    Separators are spaces, tabs and commas; ``#`` begins a comment. A name may contain colons, but not end with one.

    >>> parse_list("isl: gmp, mpfr  # comment\n\ngmp\n", "list")
    {'isl': ['gmp', 'mpfr'], 'gmp': []}
    """
    packages: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0]
        name, *dependencies = re.split(r"[\s,]+", content.strip()) if content.strip() else [""]
        if not name:
            continue
        if dependencies and not name.endswith(":"):
            expected = "expected 'name: dependency ...'"
            raise InvalidInput(source, f"line {number}: {expected}, got {line!r:.{_SHOWN_CHARACTERS}}")
        _add(packages, name.removesuffix(":"), [each for each in dependencies if each], f"line {number}", source)
    return packages


def parse_json(text: str, source: str) -> Mapping[str, Iterable[str]]:
    """Return the packages of ``{"name": ["dep"]}``, ``[{"name": "...", "dependencies": ["dep"]}]`` or a graph.

    >>> parse_json('[{"name": "isl", "dependencies": ["gmp"]}, {"name": "gmp"}]', "list")
    {'isl': ['gmp'], 'gmp': []}
    >>> parse_json('{"nodes": [{"id": "isl"}, {"id": "gmp"}], "links": [{"source": "isl", "target": "gmp"}]}', "graph")
    mappingproxy({'isl': ('gmp',), 'gmp': ()})
    """
    try:
        value: object = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(source, f"invalid JSON: {error}") from error
    packages: dict[str, list[str]] = {}
    match value:
        case {"nodes": [{"id": _}, *_] | [], **others} if "links" in others or "edges" in others:
            try:
                return decode_node_link(text).to_mapping()
            except ScoopError as error:
                raise InvalidInput(source, str(error)) from error
        case dict():
            for name, names in value.items():
                _add(packages, str(name), _texts(names, str(name), source), "", source)
        case list():
            for number, entry in enumerate(value, 1):
                _add_entry(packages, entry, f"item {number}", source)
        case _:
            raise InvalidInput(source, f"expected a JSON object or array, got {value!r:.{_SHOWN_CHARACTERS}}")
    return packages


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in value if names.count(name) > 1)!r} is there twice")
    return value


def _add_entry(packages: dict[str, list[str]], entry: object, place: str, source: str) -> None:
    if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
        raise InvalidInput(source, f"{place}: expected an object with a name, got {entry!r:.{_SHOWN_CHARACTERS}}")
    if unknown := entry.keys() - {"name", "dependencies"}:
        raise InvalidInput(source, f"{place} ({name}): expected name and dependencies, got {min(unknown)!r}")
    _add(packages, name, _texts(entry.get("dependencies", []), f"{place} ({name})", source), place, source)


def _add(packages: dict[str, list[str]], name: str, dependencies: list[str], place: str, source: str) -> None:
    if name in packages:
        raise InvalidInput(source, f"{place}: {name!r:.{_SHOWN_CHARACTERS}} is there twice")
    packages[name] = dependencies


def _texts(value: object, place: str, source: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidInput(source, f"{place}: expected a list of names, got {value!r:.{_SHOWN_CHARACTERS}}")
    return value
