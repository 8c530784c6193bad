"""Verifying files: the verdict about each, and its description."""

import errno
import os
from zlib import crc32

import pytest

from scoop_core import (
    JOURNAL_VERSION,
    SNAPSHOT_VERSION,
    ArchivedFiles,
    DependencyGraph,
    FileReport,
    Verdict,
    encode_snapshot,
    verify_files,
)

from tests.support.journals import written

JOURNAL = written([["INDEX|gmp|", "INDEX|isl|gmp"], ["REMOVE|isl|"]])
SNAPSHOT = b"".join(encode_snapshot(DependencyGraph.from_mapping({"gmp": ()})))


def report(file: str, data: bytes) -> FileReport:
    """Return the report about a file between two others, which it does not affect."""
    [before, found, after] = verify_files(
        ArchivedFiles({"snapshot-1": SNAPSHOT, file: data, "journal-9": JOURNAL.data})
    )
    assert before.verdict is after.verdict is Verdict.INTACT
    assert found.file == file
    return found


@pytest.mark.parametrize(
    ("file", "data", "contents"),
    [
        ("snapshot-7", SNAPSHOT, f"1 package, {len(SNAPSHOT)} bytes, crc32 {SNAPSHOT[-9:-1].decode()}"),
        ("journal-1", JOURNAL.data, f"batches 1 to 2, 3 changes, {len(JOURNAL.data)} bytes, crc32 "),
        ("journal-1", JOURNAL.data + b"I", f"{JOURNAL.head.checksum:08x}, and 1 byte not sealed"),
        ("journal-1", JOURNAL.header, f"no batches, {len(JOURNAL.header)} bytes, crc32 {JOURNAL.header_checksum:08x}"),
    ],
)
def test_an_intact_file_is_described(file: str, data: bytes, contents: str) -> None:
    found = report(file, data)
    assert found.verdict is Verdict.INTACT
    assert contents in found.description


@pytest.mark.parametrize(
    ("file", "data", "problem"),
    [
        ("snapshot-3", b"", "byte 0: the snapshot is empty"),
        ("snapshot-3", SNAPSHOT[:-3], f"byte {len(SNAPSHOT) - 3}: the snapshot is truncated"),
        ("journal-1", b"\0" * 9, "byte 0: "),
        ("journal-1", JOURNAL.data.replace(b"isl", b"osl", 1), f"byte {JOURNAL.ends[0]}: batch 1 is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_the_byte(file: str, data: bytes, problem: str) -> None:
    found = report(file, data)
    assert found.verdict is Verdict.DAMAGED
    assert found.description.startswith(f"DAMAGED: {problem}")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"INDEX|b|a\nINDEX|a|\n#dependents 0 1\n", "indexing its lines one by one leads to a different index"),
        (b"INDEX|a|x\nINDEX|b|a\n#dependents 1 0\n", "a list has a name that is no package or is repeated"),
        (b"INDEX|a|\nINDEX|b|a\n#dependents 2 0\n", "a list has a name that is no package or is repeated"),
    ],
)
def test_a_snapshot_with_a_valid_checksum_and_wrong_contents_is_damaged(lines: bytes, reason: str) -> None:
    data = b"#scoop snapshot 1\n" + lines + b"#end packages 2 lines 2 crc32 "
    found = report("snapshot-5", data + b"%08x\n" % crc32(data))
    assert found.verdict is Verdict.DAMAGED
    assert found.description.startswith(f"DAMAGED: byte 18: {reason}")


@pytest.mark.parametrize(
    ("file", "data", "formats"),
    [("snapshot-2", SNAPSHOT, (9, SNAPSHOT_VERSION)), ("journal-1", JOURNAL.data, (9, JOURNAL_VERSION))],
)
def test_a_newer_format_is_not_damage(file: str, data: bytes, formats: tuple[int, int]) -> None:
    found = report(file, data.replace(b" %d" % formats[1], b" 9", 1))
    reason = "the {} has format {}; this version reads format {}".format(file.partition("-")[0], *formats)
    assert found.verdict is Verdict.NEWER_FORMAT
    assert found.description == f"NEWER FORMAT: {reason}; use the version that wrote it, or a later one"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"), (FileNotFoundError(), "FileNotFoundError()")],
)
def test_a_file_that_cannot_be_read_is_not_damaged(error: OSError, reason: str) -> None:
    class Failing(ArchivedFiles):
        def read(self, *_: object, **__: object) -> bytes:
            raise error

    assert [*verify_files(Failing({"journal-1": b""}))] == [("journal-1", Verdict.UNREADABLE, f"cannot read: {reason}")]
