"""The keys of an index in etcd, and the format of a log entry.

============================  =========================================================================
key under the prefix          value
============================  =========================================================================
``config``                    the rules that all nodes share; created by the first node
``log/<node>/<seq>``          an entry: request lines of one node, in order; its revision is its place
``head``                      written with each entry, so its revision is that of the last entry
``snapshot/<revision>/<n>``   chunk ``n`` of the snapshot that holds all entries up to ``revision``
``snapshot/current``          the pointer to the newest complete snapshot
``nodes/<node>``              the record of a node that runs, under its lease
``compactor``                 the node that writes snapshots, under its lease
============================  =========================================================================

An entry is text::

    #scoop entry 2 lines 2 time 1764668400123 by 0 CN=builder by 1 anonymous crc32 1f00aa5d
    INDEX|gmp|
    INDEX|isl|gmp

The header holds the version of the format, the number of lines, the time of its node in milliseconds since 1970, the
identities of clients with the index of their first line, and the checksum of the key's last two parts, the header
before its own digits, and the lines. The lines are those that clients have sent, so no line can be a note.
"""

import re
from typing import Final, NamedTuple
from zlib import crc32

from scoop_core import ENCODING, Authors

from scoop_etcd.errors import FormatVersionError, ReplicationError

ENTRY_VERSION: Final = 2

ENTRY_BYTES_MAX: Final = 512 * 1024
"""Lines of one entry, unless a single client sends more. An entry of 1 MB takes etcd 25 times as long as one of 10 kB,
and its default limit of a request is 1.5 MiB."""

_NUMBER_DIGITS: Final = 20
"""Numbers in keys have leading zeros, so that the order of the keys is that of the numbers."""

_ENTRY_KEY: Final = re.compile(rb"([0-9a-f]{1,64})/([0-9]{20})")
_HEADER: Final = re.compile(
    rb"#scoop entry ([0-9]{1,9})"
    rb"(?: lines ([0-9]{1,18}) time ([0-9]{1,18})((?: by [0-9]{1,18} [!-~]+)*) crc32 ([0-9a-f]{8})(?=\n))?[^\n]*\n"
)
_AUTHOR: Final = re.compile(r" by ([0-9]+) (\S+)")


class KeyRange(NamedTuple):
    """The keys from ``key`` to before ``range_end``."""

    key: bytes
    range_end: bytes

    @classmethod
    def of_prefix(cls, prefix: bytes) -> "KeyRange":
        """Return the range of all keys that begin with ``prefix``, which ends with a slash."""
        return cls(prefix, prefix[:-1] + b"0")  # the character after the slash


class Keys:
    """The keys of one index. ``prefix`` ends with a slash, and no other program writes keys under it."""

    def __init__(self, prefix: str) -> None:
        root = self._root = prefix.encode()
        self.everything: Final = KeyRange.of_prefix(root)
        self.config: Final = root + b"config"
        self.head: Final = root + b"head"
        self.compactor: Final = root + b"compactor"
        self.pointer: Final = root + b"snapshot/current"
        self.entries: Final = KeyRange.of_prefix(root + b"log/")
        self.nodes: Final = KeyRange.of_prefix(root + b"nodes/")

    def node(self, node: str) -> bytes:
        """Return the key of a node's record."""
        return self.nodes.key + node.encode()

    def node_of(self, key: bytes) -> str:
        """Return the node of a record's key."""
        return key[len(self.nodes.key) :].decode(ENCODING)

    def entry(self, node: str, seq: int) -> bytes:
        """Return the key of the entry ``seq`` of a node; the first one is 1."""
        return self.entries.key + b"%s/%020d" % (node.encode(), seq)

    def entries_up_to(self, node: str, seq: int) -> KeyRange:
        """Return the range of a node's entries up to ``seq``."""
        return KeyRange(self.entry(node, 0), self.entry(node, seq + 1))

    def parse_entry(self, key: bytes) -> tuple[str, int]:
        """Return node and sequence number of an entry's key. Raises ReplicationError for another program's key."""
        match = _ENTRY_KEY.fullmatch(key, len(self.entries.key))
        if match is None:
            raise ReplicationError(
                f"cannot read the entry log in etcd: {key.decode(ENCODING)!r} is no entry; choose a prefix of your own"
            )
        return match[1].decode(), int(match[2])

    def chunks(self, revision: int, first: int, count: int) -> KeyRange:
        """Return the range of the chunks ``first`` to before ``count`` of a snapshot."""
        return KeyRange(self.chunk(revision, first), self.chunk(revision, count))

    def chunk(self, revision: int, number: int) -> bytes:
        """Return the key of one chunk."""
        return self._snapshot(revision) + b"%020d" % number

    def other_chunks(self, previous: int, current: int) -> tuple[KeyRange, KeyRange]:
        """Return the ranges of all chunks older than ``current``, except those of ``previous``.

        Never the newer ones: a deletion may take effect late, when there is a newer snapshot.
        """
        return (
            KeyRange(self._snapshot(0), self._snapshot(previous)),
            KeyRange(self._snapshot(previous + 1), self._snapshot(current)),
        )

    def _snapshot(self, revision: int) -> bytes:
        return self._root + b"snapshot/%020d/" % revision


class LoggedEntry(NamedTuple):
    """The content of an entry."""

    lines: str
    """All lines that clients have sent, each with its newline, but for plain queries."""
    time_ms: int
    authors: Authors
    """The identities of the clients, each with the index of its first line."""


def encode_entry(node: str, seq: int, lines: str, time_ms: int = 0, authors: Authors = ()) -> bytes:
    r"""Return the entry that holds ``lines``, each with its newline.

    >>> print(encode_entry("a1", 1, "INDEX|gmp|\n", 1_764_668_400_123, [(0, "CN=builder")]).decode(), end="")
    #scoop entry 2 lines 1 time 1764668400123 by 0 CN=builder crc32 1a3f9325
    INDEX|gmp|
    """
    notes = "".join(f" by {start} {identity}" for start, identity in authors).encode(ENCODING)
    header = b"#scoop entry %d lines %d time %d%s crc32 " % (ENTRY_VERSION, lines.count("\n"), time_ms, notes)
    body = lines.encode(ENCODING)
    return b"%s%08x\n%s" % (header, _checksum(node, seq, header, body), body)


def decode_entry(node: str, seq: int, data: bytes) -> LoggedEntry:
    r"""Return the content of an entry. Raises ReplicationError, with one line for the operator, if it is not intact.

    >>> decode_entry("a1", 1, encode_entry("a1", 1, "INDEX|gmp|\n", 5, [(0, "CN=builder")]))
    LoggedEntry(lines='INDEX|gmp|\n', time_ms=5, authors=((0, 'CN=builder'),))
    """
    header = _HEADER.match(data)
    if header is None:
        raise ReplicationError(f"cannot read entry {seq} of node {node} in etcd: it has no header")
    check_version(f"entry {seq} of node {node}", int(header[1]), ENTRY_VERSION)
    body = data[header.end() :]
    if (
        header[5] is None
        or int(header[2]) != body.count(b"\n")
        or int(header[5], 16) != _checksum(node, seq, data[: header.start(5)], body)
    ):
        raise ReplicationError(f"cannot read entry {seq} of node {node} in etcd: it is damaged")
    authors = tuple((int(start), name) for start, name in _AUTHOR.findall(header[4].decode(ENCODING)))
    return LoggedEntry(body.decode(ENCODING), int(header[3]), authors)


def _checksum(node: str, seq: int, header: bytes, body: bytes) -> int:
    return crc32(body, crc32(header, crc32(b"%s/%d\n" % (node.encode(), seq))))


def check_version(name: str, version: int, known: int) -> None:
    """Raise FormatVersionError if ``version``, the format of the thing ``name``, is not ``known``."""
    if version != known:
        raise FormatVersionError(
            f"cannot read {name} in etcd: it has format {version}, this version reads format {known}; upgrade this node"
        )
