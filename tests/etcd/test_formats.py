"""The formats of all values in etcd: what is written can be read, and nothing else is accepted."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, decode_entry, encode_entry
from scoop_etcd.formats.records import Config, NodeRecord, Pointer, decode_chunk, encode_chunks

KEYS = Keys("/scoop/")
LINES = "INDEX|a|\nnot a request \xff\n\nREMOVE|b|\n"
CONFIG = Config(reject_cycles=True, line_bytes_max=1_000)
POINTER = Pointer(
    revision=70, chunks=2, size=99, checksum=0xAB, digest=0xCD, truncated=40, sequences={"a1": 3, "b2": 1}
)
RECORD = NodeRecord(("[::1]:8080", "/run/scoop"), "1.2.3", 70, 0xFFFF_FFFF_FFFF_FFFF, "e973f6dd5a820733")


def test_an_entry_is_the_same_after_encoding_and_decoding() -> None:
    assert decode_entry("a1", 7, encode_entry("a1", 7, LINES)) == (LINES, 0, ())
    authors = ((0, "CN=a"), (1, "crc32"))
    assert decode_entry("a1", 7, encode_entry("a1", 7, LINES, 1_764_668_400_123, authors)) == (
        LINES,
        1_764_668_400_123,
        authors,
    )


def test_any_other_byte_in_an_entry_is_noticed() -> None:
    value = encode_entry("a1", 7, LINES, 17, [(0, "CN=a"), (1, "anonymous")])
    for place in range(len(value)):
        changed = bytes([*value[:place], value[place] ^ 1, *value[place + 1 :]])
        with pytest.raises(ReplicationError):
            decode_entry("a1", 7, changed)


@pytest.mark.parametrize(("node", "seq"), [("a1", 8), ("a2", 7)])
def test_an_entry_under_another_key_is_damaged(node: str, seq: int) -> None:
    with pytest.raises(ReplicationError, match="it is damaged"):
        decode_entry(node, seq, encode_entry("a1", 7, LINES))


def test_the_order_of_the_keys_is_that_of_the_entries() -> None:
    assert KEYS.entry("a1", 9) < KEYS.entry("a1", 10) < KEYS.entries.range_end
    assert KEYS.parse_entry(KEYS.entry("a1", 10)) == ("a1", 10)


def test_the_key_of_another_program_is_refused() -> None:
    with pytest.raises(ReplicationError, match="'/scoop/log/x' is no entry; choose a prefix of your own"):
        KEYS.parse_entry(b"/scoop/log/x")


def test_joined_chunks_are_the_original_data() -> None:
    chunks = list(encode_chunks([b"abc", b"", b"defgh"], 3))
    assert [decode_chunk(number, chunk) for number, chunk in enumerate(chunks)] == [b"abc", b"def", b"gh"]


def test_a_chunk_in_the_place_of_another_is_damaged() -> None:
    first, _ = encode_chunks([b"abcdef"], 3)
    with pytest.raises(ReplicationError, match="chunk 1 of the snapshot in etcd: it is damaged"):
        decode_chunk(1, first)


def test_old_chunks_are_deleted_and_newer_ones_never() -> None:
    ranges = KEYS.other_chunks(previous=20, current=30)

    def is_deleted(revision: int) -> bool:
        return any(keys.key <= KEYS.chunk(revision, 0) < keys.range_end for keys in ranges)

    assert [revision for revision in (10, 19, 20, 21, 29, 30, 31) if is_deleted(revision)] == [10, 19, 21, 29]


def test_records_are_the_same_after_encoding_and_decoding() -> None:
    assert Pointer.decode(POINTER.encode()) == POINTER
    assert NodeRecord.decode("a1", RECORD.encode()) == RECORD
    CONFIG.check(CONFIG.encode())


@pytest.mark.parametrize(
    ("read", "value", "name"),
    [
        (lambda value: decode_entry("a1", 7, value), encode_entry("a1", 7, LINES), "entry 7 of node a1"),
        (lambda value: decode_chunk(0, value), next(encode_chunks([b"abc"])), "chunk 0 of the snapshot"),
        (CONFIG.check, CONFIG.encode(), "the configuration"),
        (Pointer.decode, POINTER.encode(), "the snapshot pointer"),
        (lambda value: NodeRecord.decode("a1", value), RECORD.encode(), "the record of node a1"),
    ],
)
def test_an_unknown_version_is_refused_with_one_line(read: Callable[[bytes], object], value: bytes, name: str) -> None:
    known = 1
    if value.startswith(b"{"):
        newer = json.dumps(json.loads(value) | {"format": 2, "new": 1}).encode()
    else:
        known = int(value.split(b" ")[2])
        newer = b" ".join([*value.split(b" ")[:2], b"%d with other fields\n" % (known + 1)])
    with pytest.raises(ReplicationError) as raised:
        read(newer)
    assert str(raised.value) == (
        f"cannot read {name} in etcd: it has format {known + 1}, this version reads format {known}; upgrade this node"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "unknown field 'more'"),
        ({"revision": None}, "revision: expected a number, got None"),
        ({"revision": True}, "revision: expected a number, got True"),
        ({"revision": -1}, "revision: expected a number, got -1"),
        ({"digest": "x"}, "digest: expected hexadecimal digits, got 'x'"),
        ({"sequences": {"a1": "1"}}, "sequences: expected an object of numbers"),
    ],
)
def test_a_pointer_with_another_field_is_refused(change: dict[str, object], reason: str) -> None:
    value = json.dumps(json.loads(POINTER.encode()) | change).encode()
    with pytest.raises(ReplicationError, match=reason):
        Pointer.decode(value)


def test_other_values_than_json_objects_are_refused() -> None:
    for value in (b"", b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(ReplicationError, match="it is not a JSON object"):
            Pointer.decode(value)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(CONFIG, reject_cycles=False), "--reject-cycles is false there and true here"),
        (replace(CONFIG, line_bytes_max=2_000), "--max-line is 2000 there and 1000 here"),
    ],
)
def test_other_rules_are_refused(other: Config, difference: str) -> None:
    with pytest.raises(ReplicationError, match=difference):
        CONFIG.check(other.encode())
