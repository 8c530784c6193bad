"""Package graphs from files: snapshots, dumps, data directories, and the forms of packages.

Everything is read only, also a data directory beside its server.
"""

import codecs
import io
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from scoop_core import (
    ENCODING,
    Command,
    DependencyGraph,
    JournalReader,
    MalformedRequest,
    Request,
    ScoopError,
    decode_dump,
    decode_graphml,
    decode_snapshot,
    parse_request,
)

from scoop_client.errors import InvalidInput
from scoop_client.forms import LINES, parse_packages, recognise

STDIN: Final = "-"

_GENERATION: Final = re.compile(r"(snapshot|journal)-([1-9][0-9]{0,17})")
_DUMP_HEADER: Final = b"#scoop dump "
_SNAPSHOT_HEADER: Final = b"#scoop snapshot "

_READ_ATTEMPTS: Final = 5
"""A server that compacts deletes files that have just been listed; it does not do so again for a while."""


def read_graph(source: str | Path, form: str | None = None) -> DependencyGraph:
    """Return the graph in ``source``: a data directory, also beside its server, a file, or ``-`` for standard input.

    The content shows the form, unless ``form`` names one: ``lines``, ``list``, ``json``, ``dot`` or ``graphml``.
    Dependencies that are no packages of a list become packages. Raises :exc:`~scoop_client.InvalidInput`.
    """
    source = str(source)
    try:
        if source != STDIN and Path(source).is_dir():
            return _read_directory(Path(source))
        return _decode(read_bytes(source), source, form)
    except (ScoopError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(source, str(error)) from error


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
        raise InvalidInput(source, f"invalid JSON: {error}") from error
    return value


def load_toml(data: bytes, source: str) -> dict[str, object]:
    """Return the table of a TOML text. Raises :exc:`InvalidInput`."""
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(source, f"invalid TOML: {error}") from error


def lines_of(stream: TextIO, source: str) -> Iterator[str]:
    """Yield the lines of ``stream``. Raises :exc:`InvalidInput`."""
    try:
        yield from stream
    except OSError as error:
        raise cannot_read(source, error) from error


def cannot_read(source: str, error: OSError) -> InvalidInput:
    """Return the error of a file or of standard input that cannot be read."""
    return InvalidInput(source, (error.strerror or str(error)).lower())


def open_stdin() -> TextIO:
    """Return standard input as text of the protocol, in which no byte is invalid."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=ENCODING, newline="\n")
    return sys.stdin


def _decode(data: bytes, source: str, form: str | None) -> DependencyGraph:
    if data.startswith(_SNAPSHOT_HEADER):
        return decode_snapshot(data)
    if data.startswith(_DUMP_HEADER):
        return decode_dump(data)
    text = data.decode(ENCODING)
    form = form or recognise(text)
    if form == LINES:
        return _decode_lines(text)
    if form == "graphml":
        return decode_graphml(data)  # which may name an encoding
    return DependencyGraph.from_mapping(parse_packages(data.decode(), source, form), add_missing=True)


def _decode_lines(text: str) -> DependencyGraph:
    """Return the graph of request lines. Where only INDEX lines are, their order does not matter."""
    requests: list[Request] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if line and not line.startswith("#"):
            try:
                requests.append(parse_request(line))
            except MalformedRequest as error:
                error.line = number
                raise
    if any(request.command is not Command.INDEX for request in requests):
        graph = DependencyGraph()
        for request in requests:
            graph.apply(request)
        return graph
    return DependencyGraph.from_mapping(
        {request.package: request.dependencies for request in requests}, add_missing=True
    )


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
