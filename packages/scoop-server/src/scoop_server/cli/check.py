"""``scoop-server check DIR``: verify every file of a data directory, and change nothing."""

import os
from typing import Final, TextIO

from scoop_core import (
    ENCODING,
    Changes,
    DependencyGraph,
    JournalReader,
    Response,
    TranscriptError,
    decode_snapshot,
    encode_response,
)

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.lock import locked_for_reading
from scoop_server.storage.recovery import RecoveredState, recover
from scoop_server.text import counted

EXIT_INTACT: Final = 0
EXIT_DAMAGED: Final = 1
EXIT_UNSEALED: Final = 3
"""Intact except for an interrupted write at the end, which the next start drops."""

_OK: Final = encode_response(Response.OK)


def existing_directory(path: str) -> DataDirectory:
    """Return the data directory ``path``. Raises DataDirectoryError if there is none."""
    if not os.path.isdir(path):
        raise DataDirectoryError(f"cannot read {path}: no such directory; name a data directory")
    return DataDirectory(path)


def no_index(path: str) -> DataDirectoryError:
    """Return the error for a directory without an index."""
    return DataDirectoryError(f"cannot read {path}: it holds no index; name a data directory")


def check(path: str, out: TextIO) -> int:
    """Verify every file of the data directory ``path``, report on ``out``, and return the exit status.

    Raises DataDirectoryError if the directory cannot be read or a server is using it.
    """
    directory = existing_directory(path)
    with locked_for_reading(path):
        try:
            files = [(kind, number) for kind in ("snapshot", "journal") for number in directory.generations(kind)]
        except OSError as error:
            raise DataDirectoryError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        intact = [_check_file(directory, kind, number, out) for kind, number in files]
        try:
            state = recover(directory)
        except DataDirectoryError as error:
            print(f"a server would refuse to start: {error}", file=out)
            return EXIT_DAMAGED
        superfluous = directory.superfluous(state.snapshot_generation if state else 1)
    if state is None and not files and not superfluous:
        raise no_index(path)
    _report_start(path, state, superfluous, out)
    if not all(intact):
        return EXIT_DAMAGED
    if state is None or not state.unsealed_bytes:
        return EXIT_INTACT
    file = directory.file("journal", state.journal_generation)
    print(f"it would drop the last {counted(state.unsealed_bytes, 'byte')} of {file}: not known to be synced", file=out)
    return EXIT_UNSEALED


def _report_start(path: str, state: RecoveredState | None, superfluous: list[str], out: TextIO) -> None:
    if state is None:
        print(f"{path}: initialisation was interrupted; a server would start with no packages", file=out)
    else:
        print(
            f"a server would start with {counted(len(state.graph), 'package')}: snapshot {state.snapshot_generation} "
            f"and {counted(state.batches, 'batch', 'batches')} after it, up to batch {state.head.number}",
            file=out,
        )
    for file in superfluous:
        print(f"it would delete {file}: superseded or unfinished", file=out)


def _check_file(directory: DataDirectory, kind: str, generation: int, out: TextIO) -> bool:
    """Verify a file by itself, report its contents on ``out``, and tell whether it is intact."""
    describe = _describe_snapshot if kind == "snapshot" else _describe_journal
    is_intact = True
    try:
        found = describe(directory.read(kind, generation))
    except OSError as error:
        found, is_intact = f"DAMAGED: {error.strerror}", False
    except TranscriptError as error:
        found, is_intact = f"DAMAGED: {error}", False
    print(f"{directory.file(kind, generation)}: {found}", file=out)
    return is_intact


def _describe_snapshot(data: bytes) -> str:
    graph = decode_snapshot(data)
    # The server trusts the order of the lines and the numbers of dependents: rebuild the index, and compare.
    start = data.index(b"\n") + 1
    body = data[start : data.index(b"#", start)].decode(ENCODING)
    rebuilt = DependencyGraph()
    answers = rebuilt.apply_lines(body, Changes())
    if answers != _OK * body.count("\n") or rebuilt != graph:
        raise TranscriptError(start, "indexing its lines one by one leads to a different index")
    if any(graph.dependent_count(package) != rebuilt.dependent_count(package) for package in rebuilt):
        raise TranscriptError(start, "its numbers of dependents are wrong")
    return f"{counted(len(graph), 'package')}, {len(data)} bytes, crc32 {data[-9:-1].decode(ENCODING)}"


def _describe_journal(data: bytes) -> str:
    reader = JournalReader(data)
    first, changes = reader.head.number + 1, sum(text.count("\n") for text in reader)
    found = f"batches {first} to {reader.head.number}, {counted(changes, 'change')}" if changes else "no batches"
    tail = f", and {counted(reader.unsealed_bytes, 'byte')} not sealed" if reader.unsealed_bytes else ""
    return f"{found}, {reader.sealed_bytes} bytes, crc32 {reader.head.checksum:08x}{tail}"
