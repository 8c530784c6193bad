"""The records in etcd that are not entries: configuration, snapshot pointer and chunks, nodes. Strict JSON, and chunks.

Each holds the version of its format. A reader refuses another version, and any field that is missing, of another type
or unknown: whatever it ignored might be what the writer relied on.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self
from zlib import crc32

from scoop_core import MAX_NAME_LENGTH

from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import check_version

CONFIG_VERSION: Final = 1
POINTER_VERSION: Final = 1
CHUNK_VERSION: Final = 1
NODE_VERSION: Final = 1

CHUNK_BYTES_MAX: Final = 1024 * 1024
"""The data of one chunk. With its header it fits into a request of etcd's default limit, 1.5 MiB."""

SEARCH_LIMIT: Final = 32_768
"""The packages and dependencies that the searches for cycles of one entry visit, in about 10 ms, for which all later
entries wait. The most that a package of Debian needs in all is 13,165."""

_CHUNK_HEADER: Final = re.compile(rb"#scoop chunk ([0-9]{1,9})(?: number ([0-9]{1,18}) crc32 ([0-9a-f]{8}))?[^\n]*\n")


class _Fields:
    """The fields of a JSON object, taken one by one."""

    def __init__(self, name: str, data: bytes, version: int) -> None:
        self._name = name
        try:
            fields: object = json.loads(data)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise ReplicationError(f"cannot read {name} in etcd: it is not a JSON object")
        self._fields: dict[str, object] = fields
        check_version(name, self.integer("format"), version)

    def _take(self, field: str, kind: str) -> object:
        if field not in self._fields:
            raise self._error(field, kind, "nothing")
        return self._fields.pop(field)

    def _error(self, field: str, kind: str, value: object) -> ReplicationError:
        return ReplicationError(f"cannot read {self._name} in etcd: {field}: expected {kind}, got {value!r}")

    def integer(self, field: str) -> int:
        value = self._take(field, "a number")
        if type(value) is not int or value < 0:
            raise self._error(field, "a number", value)
        return value

    def boolean(self, field: str) -> bool:
        value = self._take(field, "true or false")
        if not isinstance(value, bool):
            raise self._error(field, "true or false", value)
        return value

    def text(self, field: str) -> str:
        value = self._take(field, "a text")
        if not isinstance(value, str):
            raise self._error(field, "a text", value)
        return value

    def hexadecimal(self, field: str) -> int:
        value = self.text(field)
        if not re.fullmatch(r"[0-9a-f]{1,16}", value):
            raise self._error(field, "hexadecimal digits", value)
        return int(value, 16)

    def texts(self, field: str) -> tuple[str, ...]:
        value = self._take(field, "a list of texts")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._error(field, "a list of texts", value)
        return tuple(value)

    def numbers(self, field: str) -> dict[str, int]:
        value = self._take(field, "an object of numbers")
        if not isinstance(value, dict) or not all(type(each) is int for each in value.values()):
            raise self._error(field, "an object of numbers", value)
        return value

    def end(self) -> None:
        for field in self._fields:
            raise ReplicationError(f"cannot read {self._name} in etcd: unknown field {field!r}")


def _encode(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Config:
    """The rules that decide the response to a request, and so must be the same for all nodes."""

    reject_cycles: bool
    line_bytes_max: int
    search_limit: int = SEARCH_LIMIT
    """The most packages and dependencies that the searches for cycles of one entry visit."""

    def encode(self) -> bytes:
        """Return the value of the key ``config``.

        >>> Config(reject_cycles=False, line_bytes_max=65536).encode()
        b'{"format":1,"reject_cycles":false,"max_line":65536,"max_name":255,"max_search":32768}'
        """
        return _encode(
            {
                "format": CONFIG_VERSION,
                "reject_cycles": self.reject_cycles,
                "max_line": self.line_bytes_max,
                "max_name": MAX_NAME_LENGTH,
                "max_search": self.search_limit,
            }
        )

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """Return the rules in etcd, but the longest name, which is that of this version. Raises ReplicationError."""
        reject_cycles, line_bytes_max, search_limit, _ = _rules(stored)
        return cls(reject_cycles, line_bytes_max, search_limit)

    def check(self, stored: bytes) -> None:
        """Raise ReplicationError if the rules in etcd are not these."""
        found = _rules(stored)
        expected = (self.reject_cycles, self.line_bytes_max, self.search_limit, MAX_NAME_LENGTH)
        for option, theirs, ours in zip(
            ("--reject-cycles", "--max-line", "longest search", "longest name"), found, expected, strict=True
        ):
            if theirs != ours:
                raise ReplicationError(
                    f"cannot join the index in etcd: {option} is {_shown(theirs)} there and {_shown(ours)} here;"
                    " start all nodes with the same settings"
                )


def _rules(stored: bytes) -> tuple[bool, int, int, int]:
    """Return whether cycles are rejected, the longest line, the longest search and the longest name."""
    fields = _Fields("the configuration", stored, CONFIG_VERSION)
    rejects_cycles, line_bytes_max = fields.boolean("reject_cycles"), fields.integer("max_line")
    name_length_max, search_limit = fields.integer("max_name"), fields.integer("max_search")
    fields.end()
    return rejects_cycles, line_bytes_max, search_limit, name_length_max


def _shown(value: int) -> str:
    return str(value).lower()


@dataclass(frozen=True, slots=True)
class Pointer:
    """The pointer to the newest complete snapshot."""

    revision: int
    """That of the last entry in the snapshot."""
    chunks: int
    size: int
    """The data of all chunks, in bytes."""
    checksum: int
    """CRC-32 of the data of all chunks."""
    digest: int
    """The digest of the graph."""
    truncated: int
    """Entries up to this revision may have been deleted."""
    sequences: Mapping[str, int]
    """The last entry of each node that the snapshot holds."""

    def encode(self) -> bytes:
        """Return the value of the key ``snapshot/current``."""
        return _encode(
            {
                "format": POINTER_VERSION,
                "revision": self.revision,
                "chunks": self.chunks,
                "bytes": self.size,
                "crc32": f"{self.checksum:08x}",
                "digest": f"{self.digest:016x}",
                "truncated": self.truncated,
                "sequences": self.sequences,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the pointer of the value ``data``. Raises ReplicationError."""
        fields = _Fields("the snapshot pointer", data, POINTER_VERSION)
        pointer = cls(
            fields.integer("revision"),
            fields.integer("chunks"),
            fields.integer("bytes"),
            fields.hexadecimal("crc32"),
            fields.hexadecimal("digest"),
            fields.integer("truncated"),
            fields.numbers("sequences"),
        )
        fields.end()
        return pointer


def encode_chunks(data: Iterable[bytes], size_max: int = CHUNK_BYTES_MAX) -> Iterator[bytes]:
    r"""Yield ``data`` in chunks of ``size_max`` bytes, each with its header.

    >>> list(encode_chunks([b"INDEX|", b"gmp|\n"]))
    [b'#scoop chunk 1 number 0 crc32 010dcddc\nINDEX|gmp|\n']
    """
    number = 0
    rest = bytearray()
    for part in data:
        rest += part
        while len(rest) >= size_max:
            yield _encode_chunk(number, bytes(rest[:size_max]))
            del rest[:size_max]
            number += 1
    if rest:
        yield _encode_chunk(number, bytes(rest))


def _encode_chunk(number: int, data: bytes) -> bytes:
    header = b"#scoop chunk %d number %d crc32 " % (CHUNK_VERSION, number)
    return b"%s%08x\n%s" % (header, crc32(data, crc32(header)), data)


def decode_chunk(number: int, value: bytes) -> bytes:
    """Return the data of a chunk. Raises ReplicationError if it is not intact."""
    header = _CHUNK_HEADER.match(value)
    if header is None:
        raise ReplicationError(f"cannot read chunk {number} of the snapshot in etcd: it has no header")
    check_version(f"chunk {number} of the snapshot", int(header[1]), CHUNK_VERSION)
    data = value[header.end() :]
    if (
        header[3] is None
        or int(header[2]) != number
        or int(header[3], 16) != crc32(data, crc32(value[: header.start(3)]))
    ):
        raise ReplicationError(f"cannot read chunk {number} of the snapshot in etcd: it is damaged")
    return data


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node that runs, as it describes itself."""

    addresses: tuple[str, ...]
    version: str
    revision: int
    """That of the last entry that it has applied."""
    digest: int
    """The digest of its graph at that revision."""
    access: str = ""
    """The digest of its access rules; empty without them."""

    def encode(self) -> bytes:
        """Return the value of the key ``nodes/<node>``."""
        return _encode(
            {
                "format": NODE_VERSION,
                "addresses": self.addresses,
                "version": self.version,
                "revision": self.revision,
                "digest": f"{self.digest:016x}",
                "access": self.access,
            }
        )

    @classmethod
    def decode(cls, node: str, data: bytes) -> Self:
        """Return the record of the value ``data``. Raises ReplicationError."""
        fields = _Fields(f"the record of node {node}", data, NODE_VERSION)
        record = cls(
            fields.texts("addresses"),
            fields.text("version"),
            fields.integer("revision"),
            fields.hexadecimal("digest"),
            fields.text("access"),
        )
        fields.end()
        return record
