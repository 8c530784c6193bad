"""How a graph is written down: the codec of the snapshot, bytes to graph and back.

A snapshot is text that a person can read and grep, and that any package indexer can be fed::

    #scoop snapshot 1
    INDEX|gmp|
    INDEX|isl|gmp
    #end packages 2 lines 2 crc32 bf3a11ea

- The header holds the version of the format.
- Then come the lines of :meth:`DependencyGraph.rebuild_lines`: INDEX requests, dependencies
  first, the same bytes for equal graphs.
- The trailer holds the number of packages, the number of lines (larger where there are cycles), and the
  CRC-32 (as ``zlib.crc32`` computes it, eight hexadecimal digits) of all bytes before its own digits.

A line that begins with ``#`` is a note, not a request.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final
from zlib import crc32

from scoop_core.errors import TranscriptError, UnsupportedFormat
from scoop_core.graph import DependencyGraph
from scoop_core.messages import ENCODING, MAX_NAME_LENGTH, NAME_CHARACTERS

SNAPSHOT_VERSION: Final = 1

_HEADER: Final = re.compile(rb"#scoop snapshot ([0-9]{1,9})\n")
_TRAILER: Final = re.compile(rb"#end packages ([0-9]{1,18}) lines ([0-9]{1,18}) crc32 ([0-9a-f]{8})\n")
_MAX_TRAILER_LENGTH: Final = 100

_LINES_PER_CHUNK: Final = 4_096
"""How many lines a snapshot is encoded at a time: some 200 kB, so that writing needs little memory beside the graph."""

_WHITE: Final = NAME_CHARACTERS.encode(ENCODING) + b",|\n"


def encode_snapshot(graph: DependencyGraph) -> Iterator[bytes]:
    """Yield the snapshot of ``graph`` in chunks of some 100 kB. The graph must not change meanwhile.

    >>> graph = DependencyGraph()
    >>> graph.index("gmp")
    <Response.OK: 'OK'>
    >>> print(b"".join(encode_snapshot(graph)).decode(), end="")
    #scoop snapshot 1
    INDEX|gmp|
    #end packages 1 lines 1 crc32 e8c63b14
    """
    header = b"#scoop snapshot %d\n" % SNAPSHOT_VERSION
    checksum = crc32(header)
    yield header
    count = 0
    lines = graph.rebuild_lines()
    while some := list(islice(lines, _LINES_PER_CHUNK)):
        count += len(some)
        chunk = ("\n".join(some) + "\n").encode(ENCODING)
        checksum = crc32(chunk, checksum)
        yield chunk
    trailer = b"#end packages %d lines %d crc32 " % (len(graph), count)
    yield trailer + b"%08x\n" % crc32(trailer, checksum)


def decode_snapshot(data: bytes, *, reject_cycles: bool = False) -> DependencyGraph:
    """Return the graph whose snapshot is ``data``.

    Raises :exc:`UnsupportedFormat` for a version that is not known, and
    :exc:`TranscriptError` where ``data`` is anything but one whole snapshot.

    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> decode_snapshot(b"".join(encode_snapshot(graph))) == graph
    True
    """
    start = _read_header(data)
    end = data.rfind(b"#end packages ", max(start, len(data) - _MAX_TRAILER_LENGTH))
    trailer = _TRAILER.fullmatch(data, end) if end > 0 else None
    if trailer is None:
        raise TranscriptError(len(data), "the snapshot breaks off: its last line is not a trailer")
    computed = b"%08x" % crc32(memoryview(data)[: trailer.start(3)])
    if computed != trailer[3]:
        raise TranscriptError(
            trailer.start(3),
            f"the checksum of the bytes before it is {computed.decode()}, not {trailer[3].decode()}: one has changed",
        )
    packages, lines = int(trailer[1]), int(trailer[2])
    graph = _read_lines(data[start:end], start, lines, reject_cycles)
    if len(graph) != packages:
        raise TranscriptError(end, f"{len(graph)} packages, where the trailer says {packages}")
    return graph


def _read_header(data: bytes) -> int:
    """Return where the header ends."""
    header = _HEADER.match(data)
    if header is None:
        raise TranscriptError(0, "no snapshot: the first line is not a header" if data else "the snapshot is empty")
    version = int(header[1])
    if version != SNAPSHOT_VERSION:
        raise UnsupportedFormat(0, f"the snapshot has format {version}; this version reads format {SNAPSHOT_VERSION}")
    return header.end()


def _read_lines(data: bytes, offset: int, count: int, reject_cycles: bool) -> DependencyGraph:
    """Return the graph of ``count`` INDEX lines, which begin at ``offset`` of their file.

    A handful of passes in C instead of a look at each line: a million packages load in seconds.
    """
    text = data.decode(ENCODING)
    if text.count("\n") != count:
        raise TranscriptError(offset, f"{text.count(chr(10))} lines, where the trailer says {count}")
    if not text:
        return DependencyGraph(reject_cycles=reject_cycles)
    fields = text[len("INDEX|") : -1].replace("\nINDEX|", "|").split("|")
    packages = fields[0::2]
    is_sound = (
        text.startswith("INDEX|")
        and text.endswith("\n")
        and text.count("\nINDEX|") == count - 1
        and len(fields) == 2 * count
        and not data.translate(None, _WHITE)
        and min(map(len, packages)) > 0
        and max(map(len, packages)) <= MAX_NAME_LENGTH
        and "," not in "".join(packages)
    )
    if not is_sound:
        raise TranscriptError(offset, "a line is not INDEX|package|dependencies")
    try:
        return DependencyGraph.from_lists(packages, fields[1::2], reject_cycles=reject_cycles)
    except ValueError as error:
        raise TranscriptError(offset, str(error)) from error
