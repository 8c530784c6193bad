"""The codec of dumps: an index as request lines that a person, another indexer or a later version can read.

::

    #scoop dump 1
    INDEX|gmp|
    INDEX|isl|gmp
    #end packages 2 crc32 d1adcdd3

The lines are those of :meth:`DependencyGraph.to_lines`. The last line has the number of packages, and the CRC-32 of all
bytes before it. So a dump that was cut off cannot be mistaken for a smaller index.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final
from zlib import crc32

from scoop_core.errors import DumpError, ScoopError, shown
from scoop_core.graph import DependencyGraph
from scoop_core.graph_classes import Made
from scoop_core.messages import ENCODING, OK, Command, parse_request

_HEADER: Final = b"#scoop dump 1\n"
_PREFIX: Final = b"#scoop dump "
_is_trailer: Final = re.compile(rb"#end packages [0-9]+ crc32 [0-9a-f]{8}\n").fullmatch
"""Without its header too: the beginning of a dump may be missing."""

_LINES_PER_CHUNK: Final = 4_096
"""The lines of one chunk, as in a snapshot: about 200 kB."""


def encode_dump(graph: DependencyGraph) -> Iterator[bytes]:
    r"""Yield the dump of ``graph`` in chunks of about 200 kB. Equal graphs have equal dumps.

    The graph must not change meanwhile.

    >>> print(b"".join(encode_dump(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}))).decode(), end="")
    #scoop dump 1
    INDEX|gmp|
    INDEX|isl|gmp
    #end packages 2 crc32 d1adcdd3
    """
    checksum = 0
    lines = graph.to_lines()
    chunk = _HEADER
    while chunk:
        checksum = crc32(chunk, checksum)
        yield chunk
        chunk = "".join(f"{line}\n" for line in islice(lines, _LINES_PER_CHUNK)).encode(ENCODING)
    yield _trailer(graph, checksum)


def _trailer(graph: DependencyGraph, checksum: int) -> bytes:
    return b"#end packages %d crc32 %08x\n" % (len(graph), checksum)


def decode_dump(
    source: bytes | Iterable[bytes],
    *,
    add_missing: bool = False,
    reject_cycles: bool = False,
    graph_class: type[Made] = DependencyGraph,  # type: ignore[assignment]  # the default of the variable
) -> Made:
    r"""Return the graph of a dump, or of other request lines, each of which must be answered OK.

    ``source`` is the text or its pieces, as a binary file yields them. A line that begins with ``#`` is a comment;
    ``\r\n`` counts as ``\n``. Raises :exc:`DumpError` if a line is not answered OK, a dump is damaged or incomplete, or
    input that is no dump has no requests: more likely the program that should have written some failed. With
    ``add_missing``, a dependency that is not indexed yet becomes a package.

    >>> decode_dump(b"INDEX|gmp|\n# a comment\nINDEX|isl|gmp\n")
    <DependencyGraph: 2 packages: gmp, isl>
    >>> decode_dump(b"#scoop dump 1\nINDEX|gmp|\n")
    Traceback (most recent call last):
    scoop_core.errors.DumpError: line 3: the dump is incomplete: its last line is missing
    """
    graph = graph_class.empty(reject_cycles=reject_cycles)
    lines = _complete_lines((source,) if isinstance(source, bytes) else source)
    is_dump = has_requests = False
    checksum, number = 0, 1
    for number, line in lines:
        if number == 1 and line.startswith(_PREFIX):
            _check_header(line)
            is_dump = True
        elif _is_trailer(line):
            if line != _trailer(graph, checksum):  # with a cycle there are more lines than packages
                raise DumpError(number, "the dump is damaged: its count or checksum is wrong")
            if next(lines, None) is not None:
                raise DumpError(number + 1, "the dump ends before this line")
            return graph
        elif not line.startswith(b"#"):
            has_requests = True
            _apply(graph, line.decode(ENCODING), number, add_missing=add_missing)
        checksum = crc32(line, checksum)
    if is_dump:
        raise DumpError(number + 1, "the dump is incomplete: its last line is missing")
    if not has_requests:
        raise DumpError(number, "the input has no requests")
    return graph


def _complete_lines(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its newline and its number."""
    number, rest = 0, b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for number, line in enumerate(lines, number + 1):  # noqa: B020  # continues to count
            yield number, line.removesuffix(b"\r") + b"\n"
    if rest:
        raise DumpError(number + 1, "the input ends within this line")


def _check_header(line: bytes) -> None:
    if line != _HEADER:
        raise DumpError(1, f"expected {_HEADER.decode().rstrip()}, got {shown(line.decode(ENCODING).rstrip())}")


def _apply(graph: DependencyGraph, line: str, number: int, *, add_missing: bool) -> None:
    """Apply a line. Raises :exc:`DumpError` unless it is answered OK."""
    if graph.apply_lines(line) == OK:
        return
    try:
        request = parse_request(line[:-1])
        if add_missing and request.command is Command.INDEX:
            for name in graph.missing_dependencies(request.package, request.dependencies):
                graph.index(name)
        refusal = graph.explain(request)
        if refusal is None:
            graph.apply(request)
            return
        reason = str(refusal)
    except ScoopError as error:
        reason = str(error)
    raise DumpError(number, reason)
