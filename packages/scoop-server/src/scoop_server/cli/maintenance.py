"""What an operator does with a data directory while no server runs on it, or beside one that does.

``scoop-server check DIR``            verify every file, and change nothing
``scoop-server dump DIR``             print the index as protocol lines; a server may be running on it
``scoop-server restore DIR < lines``  make a new data directory from such lines
"""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import BinaryIO, Final, TextIO

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

from scoop_server.cli.stdio import flush_output, let_go_of_output, standard_input, standard_output, standard_output_text
from scoop_server.config.options import OneLineParser
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.lock import DirectoryLock, locked_for_reading
from scoop_server.storage.recovery import RecoveredState, recover
from scoop_server.storage.store import begin
from scoop_server.text import counted

EXIT_SOUND: Final = 0
EXIT_BROKEN: Final = 1
EXIT_WOULD_DROP: Final = 3

_DUMP_ATTEMPTS: Final = 5
"""A running server may replace its files while they are read; it does so rarely."""

_LINES_AT_ONCE: Final = 4_096

_OK: Final = encode_response(Response.OK)


def check(path: str, out: TextIO) -> int:
    """Verify every file in the data directory ``path``, say on ``out`` what is there, and return an exit status.

    0: all is sound. 1: something is broken. 3: sound, but for an interrupted write at the end, which a server
    would drop. Nothing is changed, but no server may be running.
    Raises :exc:`DataDirectoryError` where the directory cannot be looked at.
    """
    directory = _existing(path)
    with locked_for_reading(path):
        try:
            files = {kind: directory.generations(kind) for kind in ("snapshot", "journal")}
        except OSError as error:
            raise DataDirectoryError(f"cannot look into {path}: {error.strerror}; see to its permissions") from error
        broken = [number for kind in files for number in files[kind] if not _check_file(directory, kind, number, out)]
        try:
            state = recover(directory)
        except DataDirectoryError as error:
            print(f"a server would refuse to start: {error}", file=out)
            return EXIT_BROKEN
        superfluous = directory.superfluous(state.snapshot_generation if state else 1)
    if state is None:
        if not any(files.values()) and not superfluous:
            raise _no_index(path)
        print(f"{path}: begun, and never finished; a server would start with no package", file=out)
    else:
        print(
            f"a server would start with {counted(len(state.graph), 'package')}: snapshot {state.snapshot_generation} "
            f"and {counted(state.batches, 'batch', 'batches')} after it, up to batch {state.head.number}",
            file=out,
        )
    for file in superfluous:
        print(f"it would delete {file}, which is superfluous or was never finished", file=out)
    if state is not None and state.unsealed_bytes:
        file = directory.file("journal", state.journal_generation)
        print(
            f"it would drop the last {counted(state.unsealed_bytes, 'byte')} of {file}, not known to be on disk",
            file=out,
        )
        return EXIT_BROKEN if broken else EXIT_WOULD_DROP
    return EXIT_BROKEN if broken else EXIT_SOUND


def _check_file(directory: DataDirectory, kind: str, generation: int, out: TextIO) -> bool:
    """Look at a file by itself, and say on ``out`` what it holds; return whether it is whole."""
    describe = _describe_snapshot if kind == "snapshot" else _describe_journal
    try:
        found, is_whole = describe(directory.read(kind, generation)), True
    except OSError as error:
        found, is_whole = f"BROKEN: {error.strerror}", False
    except TranscriptError as error:
        found, is_whole = f"BROKEN: {error}", False
    print(f"{directory.file(kind, generation)}: {found}", file=out)
    return is_whole


def _describe_snapshot(data: bytes) -> str:
    graph = decode_snapshot(data)
    start = data.index(b"\n") + 1
    body = data[start : data.index(b"#", start)].decode(ENCODING)
    rebuilt = DependencyGraph()
    answers = rebuilt.apply_lines(body, Changes())
    if answers != _OK * body.count("\n") or rebuilt != graph:
        raise TranscriptError(start, "its lines, indexed one by one, do not lead to the same index")
    if any(graph.dependent_count(package) != rebuilt.dependent_count(package) for package in rebuilt):
        raise TranscriptError(start, "its numbers of dependents are wrong")
    return f"{counted(len(graph), 'package')}, {len(data)} bytes, crc32 {data[-9:-1].decode(ENCODING)}"


def _describe_journal(data: bytes) -> str:
    reader = JournalReader(data)
    first, changes = reader.head.number + 1, sum(text.count("\n") for text in reader)
    found = f"batches {first} to {reader.head.number}, {counted(changes, 'change')}" if changes else "no batch"
    tail = f", and {counted(reader.unsealed_bytes, 'byte')} not sealed" if reader.unsealed_bytes else ""
    return f"{found}, {reader.sealed_bytes} bytes, crc32 {reader.head.checksum:08x}{tail}"


def dump(path: str, out: BinaryIO) -> int:
    """Write the index in the data directory ``path`` to ``out`` as INDEX lines, dependencies first; return 0.

    A server may be running on it: then it is the index of this moment, or of one shortly before.
    Raises :exc:`DataDirectoryError` where it cannot be read or holds no index.
    """
    state = _recover_beside_a_server(_existing(path))
    if state is None:
        raise _no_index(path)  # rather than a backup of nothing
    lines = state.graph.to_lines()
    while some := list(islice(lines, _LINES_AT_ONCE)):
        out.write(("\n".join(some) + "\n").encode(ENCODING))
    out.flush()
    return EXIT_SOUND


def _recover_beside_a_server(directory: DataDirectory) -> RecoveredState | None:
    for _ in range(_DUMP_ATTEMPTS - 1):
        with contextlib.suppress(DataDirectoryError):
            return recover(directory)
    return recover(directory)


def restore(path: str, lines: BinaryIO) -> int:
    """Make the data directory ``path``, new or empty, hold the index that ``lines`` lead to; return 0.

    ``lines`` are requests as :func:`dump` writes them; each must be answered OK. Lines that begin with ``#``
    are passed over. Nothing is written before all have been read, and input without a request is refused, because it
    is more likely a dump that failed than an index of nothing.
    Raises :exc:`DataDirectoryError` where a line is not OK, or the directory is not empty.
    """
    _refuse_to_overwrite(path)
    graph = DependencyGraph()
    changes = Changes()
    is_empty = True
    for number, line in enumerate(lines, 1):
        text = line.decode(ENCODING)
        if not text.endswith("\n"):
            raise DataDirectoryError(f"line {number} breaks off; nothing was restored, so get the input whole")
        if text.startswith("#"):
            continue
        is_empty = False
        answer = graph.apply_lines(text.replace("\r\n", "\n"), changes)
        if answer != _OK:
            raise DataDirectoryError(
                f"line {number} is answered {answer.strip()}: {text.rstrip()[:80]!a}; nothing was restored, "
                "so mend the input"
            )
        changes.clear()
    if is_empty:
        raise DataDirectoryError("there was not one request to restore from; give the output of: scoop-server dump")
    with closing(DirectoryLock(path)):
        _refuse_to_overwrite(path)
        try:
            begin(DataDirectory(path), graph)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot write {error.filename or path}: {error.strerror}; delete {path}, and restore elsewhere"
            ) from error
    print(f"restored {counted(len(graph), 'package')} into {path}", file=sys.stderr)
    return EXIT_SOUND


def _refuse_to_overwrite(path: str) -> None:
    """Raise where ``path`` is there and holds anything but a lock."""
    try:
        names = set(os.listdir(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(f"cannot look into {path}: {error.strerror}; name a directory") from error
    if names - {"lock"}:
        raise DataDirectoryError(f"{path} is not empty; restore into a new directory")


def _no_index(path: str) -> DataDirectoryError:
    return DataDirectoryError(f"{path} holds no index; name a data directory")


def _existing(path: str) -> DataDirectory:
    if not os.path.isdir(path):
        raise DataDirectoryError(f"there is no directory {path}; name a data directory")
    return DataDirectory(path)


_COMMANDS: Final[dict[str, tuple[Callable[[str], int], str]]] = {
    "check": (
        lambda path: check(path, standard_output_text()),
        (
            "Verify every file of a data directory on which no server runs, and change nothing. Exit status: 0 sound, "
            "1 broken, 3 sound but for the rest of an interrupted write, which the next start drops."
        ),
    ),
    "dump": (
        lambda path: dump(path, standard_output()),
        "Print the index in a data directory as protocol lines, dependencies first. A server may be running on it.",
    ),
    "restore": (
        lambda path: restore(path, standard_input()),
        "Make a new data directory from protocol lines on standard input, as 'scoop-server dump' prints them.",
    ),
}

COMMAND_NAMES: Final = frozenset(_COMMANDS)


def build_parser(name: str) -> OneLineParser:
    """Return the parser of one of the commands."""
    parser = OneLineParser(prog=f"scoop-server {name}", description=_COMMANDS[name][1])
    parser.add_argument("directory", metavar="DIR", help="the data directory")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run ``scoop-server check``, ``dump`` or ``restore``; return the exit status.

    Raises :exc:`DataDirectoryError` with the line for the operator.
    """
    run, _ = _COMMANDS[arguments[0]]
    path: str = build_parser(arguments[0]).parse_args(arguments[1:]).directory
    try:
        status = run(path)
        flush_output()
    except BrokenPipeError:
        let_go_of_output()  # whoever read it has heard enough
        return EXIT_BROKEN
    except OSError as error:
        let_go_of_output()
        raise DataDirectoryError(
            f"cannot {arguments[0]} {path}: {error.strerror}; see to what standard input and output are"
        ) from error
    return status
