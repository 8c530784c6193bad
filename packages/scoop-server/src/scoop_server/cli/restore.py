"""``scoop-server restore DIR``: create a data directory from protocol lines."""

import os
import re
import sys
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, Final
from zlib import crc32

from scoop_core import ENCODING, Changes, DependencyGraph, Response, encode_response

from scoop_server.cli.dump import HEADER, trailer
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.text import counted

_OK: Final = encode_response(Response.OK)

_DUMP_PREFIX: Final = HEADER.rpartition(" ")[0]

_TRAILER: Final = re.compile(r"#end packages [0-9]+ crc32 [0-9a-f]{8}\n")
"""Found without its header too, where the beginning of a dump is missing."""

_SHOWN_CHARACTERS_MAX: Final = 80


def restore(path: str, lines: BinaryIO) -> int:
    """Create the data directory ``path`` with the index that ``lines`` lead to, and return the exit status 0.

    ``lines`` are the output of ``dump`` or other requests, each of which must be answered OK; lines that begin with
    ``#`` are comments. Nothing is written before everything has been read. Input without a request is rejected, unless
    it is a complete dump, because more likely the program before the pipe failed.
    Raises DataDirectoryError if a line is not answered OK, a dump is incomplete, or the directory is not empty.
    """
    _reject_other_files(path)
    graph = read_index(lines)
    with DataDirectory.lock(path) as directory:
        _reject_other_files(path)
        Generations.create(directory, graph).journal.close()
    print(f"restored {counted(len(graph), 'package')} into {path}", file=sys.stderr)
    return 0


def read_index(lines: BinaryIO, *, reject_cycles: bool = False) -> DependencyGraph:
    """Return the index that ``lines`` lead to. Raises DataDirectoryError."""
    graph, changes = DependencyGraph.empty(reject_cycles=reject_cycles), Changes()
    for number, line in _requests(_complete_lines(lines), graph):
        answer = graph.apply_lines(line, changes)
        if answer != _OK:
            shown = f"{line.rstrip()[:_SHOWN_CHARACTERS_MAX]!a}"
            raise _rejected(number, f"{shown} is answered {answer.strip()}", "correct the input")
        changes.clear()
    return graph


def _requests(lines: Iterator[str], graph: DependencyGraph) -> Iterator[tuple[int, str]]:
    """Yield the lines that are no comments, with their numbers.

    Each is applied to ``graph`` before the next one. Raises DataDirectoryError if a dump is not complete.
    """
    first = next(lines, "")
    is_dump = first.startswith(_DUMP_PREFIX)
    if is_dump and first != HEADER:
        raise _rejected(1, f"expected {HEADER.rstrip()}, got {first.rstrip()!a}", "use the version that wrote it")
    checksum = number = 0
    has_requests = False
    for number, line in enumerate(chain([first], lines), 1):
        if _TRAILER.fullmatch(line):
            if line != trailer(len(graph), checksum):  # with a cycle there are more lines than packages
                raise _rejected(number, "the dump is damaged: its count or checksum is wrong", "use another dump")
            if next(lines, None) is not None:
                raise _rejected(number + 1, "the dump ends before this line", "remove the rest")
            return
        checksum = crc32(line.encode(ENCODING), checksum)
        if line and not line.startswith("#"):
            has_requests = True
            yield number, line
    if is_dump:
        raise _rejected(number + 1, "the dump is incomplete: its last line is missing", "transfer it completely")
    if not has_requests:
        raise DataDirectoryError("cannot restore: the input has no requests; pipe in the output of scoop-server dump")


def _complete_lines(lines: BinaryIO) -> Iterator[str]:
    r"""Yield the lines as text, with ``\n`` for ``\r\n``. Raises DataDirectoryError if the last one is incomplete."""
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            raise _rejected(number, "the input ends within this line", "transfer it completely")
        yield line.decode(ENCODING).replace("\r\n", "\n")


def _rejected(number: int, reason: str, way_out: str) -> DataDirectoryError:
    return DataDirectoryError(f"cannot restore line {number}: {reason}; nothing was written, {way_out}")


def _reject_other_files(path: str) -> None:
    """Raise DataDirectoryError if ``path`` exists and holds anything but a lock file."""
    try:
        names = set(os.listdir(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(f"cannot restore into {path}: {error.strerror}; name a directory") from error
    if names - {"lock"}:
        raise DataDirectoryError(f"cannot restore into {path}: it is not empty; name a new directory")
