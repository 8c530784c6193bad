"""Verifying the files of an index, each by itself."""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from scoop_core.errors import TranscriptError, UnsupportedFormat
from scoop_core.graph import DependencyGraph
from scoop_core.messages import ENCODING, OK
from scoop_core.trail import TrailFiles
from scoop_core.transcript import JournalReader, decode_snapshot


class Verdict(Enum):
    """The result of verifying a file.

    >>> Verdict("newer format")
    <Verdict.NEWER_FORMAT: 'newer format'>
    """

    INTACT = "intact"
    DAMAGED = "damaged"
    NEWER_FORMAT = "newer format"
    """Not damaged, but in a format that this version does not support."""
    UNREADABLE = "unreadable"
    """Reading it failed, so it is unknown whether it is intact."""


class FileReport(NamedTuple):
    """The result of verifying a file.

    >>> print(FileReport("journal-7", Verdict.DAMAGED, "DAMAGED: byte 0: invalid journal header"))
    journal-7: DAMAGED: byte 0: invalid journal header
    """

    file: str
    """Its name, such as ``journal-7``."""
    verdict: Verdict
    description: str
    """The contents of an intact file, or why it is not, in one line."""

    def __str__(self) -> str:
        return f"{self.file}: {self.description}"


def verify_files(files: TrailFiles) -> Iterator[FileReport]:
    r"""Return the reports about all snapshots and journals; each file is read when its report is asked for.

    Unlike :meth:`Trail.recover`, it also indexes the lines of a snapshot one by one, and does not check whether the
    files belong together. An unsealed end of a journal is no damage. Raises what :meth:`TrailFiles.generations` raises;
    an OSError of :meth:`TrailFiles.read` becomes a verdict.

    >>> from scoop_core import NO_BATCH, ArchivedFiles, encode_journal_header
    >>> header, _ = encode_journal_header(1, after=NO_BATCH)
    >>> print(*verify_files(ArchivedFiles({"journal-1": header, "journal-2": b"damaged"})), sep="\n")
    journal-1: no batches, 75 bytes, crc32 2aea1716
    journal-2: DAMAGED: byte 0: not a journal: the first line is not a header
    """
    found = [(kind, number) for kind in ("snapshot", "journal") for number in files.generations(kind)]
    return (_verify(files, kind, generation) for kind, generation in found)


def _verify(files: TrailFiles, kind: str, generation: int) -> FileReport:
    describe = _describe_snapshot if kind == "snapshot" else _describe_journal
    try:
        verdict, description = Verdict.INTACT, describe(files.read(kind, generation))
    except OSError as error:
        verdict, description = Verdict.UNREADABLE, f"cannot read: {error.strerror or repr(error)}"
    except UnsupportedFormat as error:
        verdict = Verdict.NEWER_FORMAT
        description = f"NEWER FORMAT: {error.reason}; use the version that wrote it, or a later one"
    except TranscriptError as error:
        verdict, description = Verdict.DAMAGED, f"DAMAGED: {error}"
    return FileReport(f"{kind}-{generation}", verdict, description)


def _describe_snapshot(data: bytes) -> str:
    graph = decode_snapshot(data)
    # A server trusts the order of the lines: rebuild the index, and compare.
    start = data.index(b"\n") + 1
    body = data[start : data.index(b"#", start)].decode(ENCODING)
    rebuilt = DependencyGraph()
    if rebuilt.apply_lines(body) != OK * body.count("\n") or rebuilt != graph:
        raise TranscriptError(start, "indexing its lines one by one leads to a different index")
    return f"{_counted(len(graph), 'package')}, {len(data)} bytes, crc32 {data[-9:-1].decode(ENCODING)}"


def _describe_journal(data: bytes) -> str:
    reader = JournalReader(data)
    first, changes = reader.head.number + 1, sum(text.count("\n") for text in reader)
    found = f"batches {first} to {reader.head.number}, {_counted(changes, 'change')}" if changes else "no batches"
    tail = f", and {_counted(reader.unsealed_bytes, 'byte')} not sealed" if reader.unsealed_bytes else ""
    return f"{found}, {reader.sealed_bytes} bytes, crc32 {reader.head.checksum:08x}{tail}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
