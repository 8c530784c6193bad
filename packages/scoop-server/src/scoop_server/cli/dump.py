"""``scoop-server dump DIR``: print an index as protocol lines.

A dump starts with ``#scoop dump 1`` and ends with ``#end packages N crc32 C``, where the checksum covers everything
before that line. So a dump that was cut off cannot be mistaken for a smaller index.
"""

import contextlib
from itertools import islice
from typing import BinaryIO, Final
from zlib import crc32

from scoop_core import ENCODING, DependencyGraph

from scoop_server.cli.check import READ_ATTEMPTS, no_index, require_directory
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.recovery import RecoveredState, recover

HEADER: Final = "#scoop dump 1\n"

_LINES_PER_WRITE: Final = 4_096


def trailer(packages: int, checksum: int) -> str:
    """Return the last line of a dump."""
    return f"#end packages {packages} crc32 {checksum:08x}\n"


def dump(path: str, out: BinaryIO) -> int:
    """Write the index of the data directory ``path`` to ``out``, dependencies first, and return the exit status 0.

    A server may be using the directory; then the dump is the index at some moment during the call.
    Raises DataDirectoryError if the directory cannot be read or holds no index.
    """
    require_directory(path)
    with DataDirectory(path) as directory:
        state = _recover_beside_a_server(directory)
    if state is None:
        raise no_index(path)  # a wrong path must not result in an empty backup
    write_dump(state.graph, out)
    return 0


def write_dump(graph: DependencyGraph, out: BinaryIO) -> None:
    """Write the dump of ``graph``."""
    checksum = 0
    lines = graph.to_lines()
    text = HEADER
    while text:
        data = text.encode(ENCODING)
        checksum = crc32(data, checksum)
        out.write(data)
        text = "".join(f"{line}\n" for line in islice(lines, _LINES_PER_WRITE))
    out.write(trailer(len(graph), checksum).encode(ENCODING))
    out.flush()


def _recover_beside_a_server(directory: DataDirectory) -> RecoveredState | None:
    for _ in range(READ_ATTEMPTS - 1):
        with contextlib.suppress(DataDirectoryError):
            return recover(directory)
    return recover(directory)
