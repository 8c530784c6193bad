"""Package graphs from files: snapshots, dumps, data directories, protocol lines, lists and graph formats.

Everything is read only, also a data directory beside its server.
"""

import codecs
import io
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TextIO

from scoop_core import (
    ENCODING,
    DependencyGraph,
    JournalReader,
    ScoopError,
    decode_dot,
    decode_dump,
    decode_graphml,
    decode_node_link,
    decode_snapshot,
    parse_request,
)

from scoop_client.errors import InvalidInput

STDIN: Final = "-"

_GENERATION: Final = re.compile(r"(snapshot|journal)-([1-9][0-9]{0,17})")
_DUMP_HEADER: Final = b"#scoop dump "
_SNAPSHOT_HEADER: Final = b"#scoop snapshot "

_READ_ATTEMPTS: Final = 5
"""A server that compacts deletes files that have just been listed; it does not do so again for a while."""

_READERS_BY_SUFFIX: Final[Mapping[str, Callable[[str], DependencyGraph]]] = {
    ".dot": decode_dot,
    ".gv": decode_dot,
    ".graphml": decode_graphml,
}


def read_graph(source: str) -> DependencyGraph:
    """Return the graph in ``source``: a data directory, a file, or ``-`` for standard input.

    Dependencies that are no packages of a list become packages. Raises :exc:`InvalidInput`.
    """
    try:
        if source != STDIN and Path(source).is_dir():
            return _read_directory(Path(source))
        return _decode(read_bytes(source), source)
    except (ScoopError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(_name_of(source), str(error)) from error


def read_bytes(source: str) -> bytes:
    """Return the bytes of a file or of standard input, without a byte order mark. Raises :exc:`InvalidInput`."""
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise cannot_read(source, error) from error
    return data.removeprefix(codecs.BOM_UTF8)


def load_json(text: str | bytes, source: str) -> object:
    """Return the value of a JSON text. Raises :exc:`InvalidInput`."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(_name_of(source), f"invalid JSON: {error}") from error
    return value


def load_toml(data: bytes, source: str) -> dict[str, object]:
    """Return the table of a TOML text. Raises :exc:`InvalidInput`."""
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(_name_of(source), f"invalid TOML: {error}") from error


def lines_of(stream: TextIO, source: str) -> Iterator[str]:
    """Yield the lines of ``stream``. Raises :exc:`InvalidInput`."""
    try:
        yield from stream
    except OSError as error:
        raise cannot_read(source, error) from error


def cannot_read(source: str, error: OSError) -> InvalidInput:
    """Return the error of a file or of standard input that cannot be read."""
    return InvalidInput(_name_of(source), (error.strerror or str(error)).lower())


def open_stdin() -> TextIO:
    """Return standard input as text of the protocol, in which no byte is invalid."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=ENCODING, newline="\n")
    return sys.stdin


def _name_of(source: str) -> str:
    return "standard input" if source == STDIN else source


def _decode(data: bytes, source: str) -> DependencyGraph:
    if data.startswith(_SNAPSHOT_HEADER):
        return decode_snapshot(data)
    if data.startswith(_DUMP_HEADER):
        return decode_dump(data)
    if read := _READERS_BY_SUFFIX.get(Path(source).suffix):
        return read(data.decode())
    text = data.decode(ENCODING)
    if _is_json(text):
        return _decode_json(data.decode(), source)
    if is_protocol(text):
        return _decode_protocol(text)
    return DependencyGraph.from_mapping(parse_list(text, source), add_missing=True)


def is_protocol(text: str) -> bool:
    r"""Return whether the first line that is no comment looks like a request.

    >>> is_protocol("#scoop dump 1\nINDEX|gmp|\n"), is_protocol("isl: gmp")
    (True, False)
    """
    first = re.search(r"^(?!#|\s*$).*", text, re.MULTILINE)
    return first is not None and "|" in first[0] and not _is_json(first[0])


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in {"{", "["}


def _decode_protocol(text: str) -> DependencyGraph:
    """Return the graph of request lines. Where only INDEX lines are, their order does not matter."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line and not line.startswith("#")]
    requests = map(parse_request, lines)
    if not all(line.startswith("INDEX|") for line in lines):
        graph = DependencyGraph()
        for request in requests:
            graph.apply(request)
        return graph
    return DependencyGraph.from_mapping(
        {request.package: request.dependencies for request in requests}, add_missing=True
    )


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
            raise InvalidInput(_name_of(source), f"line {number}: expected 'name: dependency ...', got {line!r:.80}")
        packages[name.removesuffix(":")] = [each for each in dependencies if each]
    return packages


def parse_json(text: str, source: str) -> dict[str, list[str]]:
    """Return the packages of ``{"name": ["dep"]}`` or ``[{"name": "...", "dependencies": ["dep"]}]``.

    >>> parse_json('[{"name": "isl", "dependencies": ["gmp"]}, {"name": "gmp"}]', "list")
    {'isl': ['gmp'], 'gmp': []}
    """
    value = load_json(text, source)
    if isinstance(value, list):
        value = {_text(_field(each, "name"), source): _field(each, "dependencies") or [] for each in value}
    if not isinstance(value, dict):
        raise InvalidInput(_name_of(source), "expected a JSON object or array")
    return {name: [_text(each, source) for each in _list(names, source)] for name, names in value.items()}


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: object, source: str) -> list[object]:
    if not isinstance(value, list):
        raise InvalidInput(_name_of(source), f"expected a list of names, got {value!r:.80}")
    return value


def _text(value: object, source: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(_name_of(source), f"expected a name, got {value!r:.80}")
    return value


def _decode_json(text: str, source: str) -> DependencyGraph:
    if '"nodes"' in text and ('"links"' in text or '"edges"' in text):
        return decode_node_link(text)
    return DependencyGraph.from_mapping(parse_json(text, source), add_missing=True)


def parse_packages(text: str, source: str) -> dict[str, list[str]]:
    """Return the packages of a list or of JSON."""
    return parse_json(text, source) if _is_json(text) else parse_list(text, source)


def _read_directory(directory: Path) -> DependencyGraph:
    """Return the index in a data directory, also while its server writes there."""
    for attempt in range(_READ_ATTEMPTS):
        try:
            return _read_generations(directory)
        except FileNotFoundError as error:
            if attempt == _READ_ATTEMPTS - 1:
                raise InvalidInput(str(directory), f"{error.filename} has disappeared") from error
        except OSError as error:
            raise cannot_read(str(directory), error) from error
    raise AssertionError  # the last attempt raises


def _read_generations(directory: Path) -> DependencyGraph:
    found = [match for path in directory.iterdir() if (match := _GENERATION.fullmatch(path.name))]
    snapshots = [int(match[2]) for match in found if match[1] == "snapshot"]
    if not snapshots:
        raise InvalidInput(str(directory), "no snapshot: it is not a data directory of a server")
    base = max(snapshots)
    graph = decode_snapshot((directory / f"snapshot-{base}").read_bytes())
    journals = sorted(int(match[2]) for match in found if match[1] == "journal" and int(match[2]) >= base)
    head = None
    for expected, generation in enumerate(journals, base):
        if generation != expected:
            raise FileNotFoundError(2, "missing", str(directory / f"journal-{expected}"))
        reader = JournalReader((directory / f"journal-{generation}").read_bytes())
        if head is not None and reader.after != head:
            raise InvalidInput(str(directory), f"journal-{generation} does not continue the one before it")
        for batch in reader:
            graph.apply_lines(batch)
        head = reader.head
    return graph
