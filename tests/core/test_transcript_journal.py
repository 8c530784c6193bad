"""Journals: sealed batches in a chain; damage to a synced batch is an error, an interrupted write is not."""

from collections.abc import Callable
from zlib import crc32

import pytest

from scoop_core import (
    JOURNAL_VERSION,
    NO_BATCH,
    Changes,
    DependencyGraph,
    JournalReader,
    Seal,
    TranscriptError,
    UnsupportedFormat,
    encode_batch,
    encode_journal_header,
    encode_snapshot,
)

from tests.support.journals import Written, read, sealed, written

BATCHES = [["INDEX|gmp|", "INDEX|isl|gmp"], ["REMOVE|isl|"], ["INDEX|gmp|gmp"], ["INDEX|a|", "INDEX|b|a", "REMOVE|b|"]]

FOUR = written(BATCHES)


def rejection(data: bytes) -> TranscriptError:
    """Return the error of a journal, however many batches precede it."""
    with pytest.raises(TranscriptError) as caught:
        list(JournalReader(data))
    return caught.value


def header(body: bytes) -> bytes:
    """Return ``body`` as a header with the right checksum."""
    return body + b"%08x\n" % crc32(body)


def damaged(journal: Written, *numbers: int) -> bytes:
    """Return ``journal`` with one byte of each of these batches changed."""
    data = bytearray(journal.data)
    for number in numbers:
        data[journal.ends[number - 1]] ^= 1
    return bytes(data)


class TestHeader:
    def test_the_format(self) -> None:
        data, seal = encode_journal_header(4, Seal(16, 0x5D1F00AA, 77))
        before_checksum = b"#scoop journal 2 generation 4 batch 16 time 77 after 5d1f00aa crc32 "
        assert data == before_checksum + b"%08x\n" % crc32(before_checksum)
        assert seal == Seal(16, crc32(before_checksum), 77)
        assert JOURNAL_VERSION == 2

    def test_a_chain_starts_at_no_batch(self) -> None:
        assert Seal(number=0, checksum=0, time=0) == NO_BATCH
        assert encode_journal_header(1, NO_BATCH)[0].startswith(
            b"#scoop journal 2 generation 1 batch 0 time 0 after 00000000 "
        )

    @pytest.mark.parametrize("after", [NO_BATCH, Seal(16, 0x5D1F00AA), Seal(10**18 - 1, 0xFFFFFFFF), Seal(1, 0xA)])
    @pytest.mark.parametrize("generation", [1, 10**18 - 1])
    def test_reading_reverses_encoding(self, generation: int, after: Seal) -> None:
        data, seal = encode_journal_header(generation, after)
        reader = JournalReader(data)
        assert (reader.generation, reader.after, reader.head, reader.synced) == (generation, after, seal, after.number)
        assert (reader.sealed_bytes, reader.unsealed_bytes) == (len(data), 0)
        assert list(reader) == []
        assert reader.head == seal

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "the journal is empty"),
            (b"\n", "not a journal: the first line is not a header"),
            (b"\0" * 100, "not a journal: the first line is not a header"),
            (FOUR.header[:-1], "not a journal: the first line is not a header"),
            (FOUR.data[1:], "not a journal: the first line is not a header"),
            (b"\n" + FOUR.data, "not a journal: the first line is not a header"),
            (FOUR.batches[0], "not a journal: the first line is not a header"),
            (b"".join(encode_snapshot(DependencyGraph())), "not a journal: the first line is not a header"),
            (b"#scoop journal 2\n", "invalid journal header"),
            (FOUR.header.replace(b"generation 1", b"generation 2"), "invalid journal header"),
            (FOUR.header.upper().replace(b"#SCOOP JOURNAL 2", b"#scoop journal 2"), "invalid journal header"),
            (FOUR.header.replace(b"\n", b" \n"), "invalid journal header"),
            (FOUR.header.replace(b"\n", b"\r\n"), "invalid journal header"),
            (header(b"#scoop journal 2 generation 1 batch 0 time 0 after 0 crc32 "), "invalid journal header"),
            (
                header(b"#scoop journal 2 generation %d batch 0 time 0 after 00000000 crc32 " % 10**18),
                "invalid journal header",
            ),
            (header(b"#scoop journal 2 generation -1 batch 0 time 0 after 00000000 crc32 "), "invalid journal header"),
        ],
    )
    def test_another_first_line_is_rejected(self, data: bytes, reason: str) -> None:
        error = rejection(data)
        assert (error.offset, type(error)) == (0, TranscriptError)
        assert error.reason.startswith(reason)

    @pytest.mark.parametrize(
        "data",
        [
            b"#scoop journal 1\n",
            b"#scoop journal 1 and anything\n\0\xff",
            header(b"#scoop journal 1 generation 1 batch 0 after 00000000 crc32 ") + FOUR.batches[0],
            b"#scoop journal 0\n",
            b"#scoop journal 999999999\n",
        ],
    )
    def test_another_version_is_an_error_of_its_own(self, data: bytes) -> None:
        error = rejection(data)
        assert type(error) is UnsupportedFormat
        assert error.offset == 0
        version = int(data.split()[2])
        assert str(error) == f"byte 0: the journal has format {version}; this version reads format 2"


class TestBatch:
    def test_the_format(self) -> None:
        data, seal = encode_batch(["INDEX|cloog|isl", "REMOVE|make|"], Seal(16, 0x91B2C3D4), 15, 0x5EED)
        before_checksum = (
            b"INDEX|cloog|isl\nREMOVE|make|\n#seal 17 lines 2 bytes 29 synced 15 time 0 after 91b2c3d4 crc32 "
        )
        assert data == before_checksum + b"%08x\n" % crc32(before_checksum, 0x5EED)
        assert seal == Seal(17, crc32(before_checksum, 0x5EED))

    def test_a_batch_has_a_time_which_a_clock_that_was_set_back_does_not_set_back(self) -> None:
        header, seal = encode_journal_header(1, Seal(0, 0, 50))
        data = header
        for time in (100, 60, 0, 200):
            batch, seal = encode_batch(["INDEX|a|"], seal, 0, crc32(header[:-9]), time=time)
            data += batch
        reader = JournalReader(data)
        assert (reader.after.time, [reader.head.time for _ in reader]) == (50, [100, 100, 100, 200])

    def test_a_batch_has_the_authors_of_its_changes(self) -> None:
        authors = ((1, "CN=builder-a"), (3, "anonymous"))
        journal = written([["INDEX|a|", "INDEX|b|", "INDEX|c|", "INDEX|d|"]], authors=authors)
        lines = journal.batches[0].decode().splitlines()[:-1]
        assert lines == ["INDEX|a|", "#by CN=builder-a", "INDEX|b|", "INDEX|c|", "#by anonymous", "INDEX|d|"]
        reader = JournalReader(journal.data + written([["INDEX|e|"]]).batches[0])
        assert list(reader) == journal.texts
        assert reader.authors == authors

    def test_the_authors_of_a_batch_are_not_those_of_the_next(self) -> None:
        header, seal = encode_journal_header(1, NO_BATCH)
        first, seal = encode_batch(["INDEX|a|"], seal, 0, crc32(header[:-9]), authors=[(0, "uid=0")])
        second, _ = encode_batch(["INDEX|b|"], seal, 0, crc32(header[:-9]))
        reader = JournalReader(header + first + second)
        assert [reader.authors for _ in reader] == [((0, "uid=0"),), ()]

    @pytest.mark.parametrize(
        "body",
        [
            b"#by \nREMOVE|isl|\n",
            b"#by CN=a b\nREMOVE|isl|\n",
            b"#by CN=a\r\nREMOVE|isl|\n",
            b"#by CN=\x1b[2J\nREMOVE|isl|\n",
            b"#by CN=\xc3\xa9\nREMOVE|isl|\n",
            b"#by CN=a#by CN=b\nREMOVE|isl|\n",
            b"REMOVE|isl|#by CN=a\n",
        ],
    )
    def test_an_author_in_another_form_is_an_error_despite_a_right_checksum(self, body: bytes) -> None:
        first = written(BATCHES[:1], authors=[(0, "CN=a")])
        lines = body.count(b"\n")
        foreign = sealed(body, first.header_checksum, 2, lines, len(body), 1, first.head.checksum)
        reader = JournalReader(first.data + foreign)
        texts = iter(reader)
        assert next(texts) == first.texts[0]
        with pytest.raises(TranscriptError, match="batch 2 has an invalid note") as caught:
            next(texts)
        assert (caught.value.offset, reader.sealed_bytes, reader.head) == (first.ends[1], first.ends[1], first.head)

    def test_batches_are_read_one_by_one(self) -> None:
        reader = JournalReader(FOUR.data)
        places = []
        for number, text in enumerate(reader, 1):
            assert text == FOUR.texts[number - 1]
            assert reader.head.number == number
            places.append((reader.sealed_bytes, reader.unsealed_bytes))
        assert places == [(end, len(FOUR.data) - end) for end in FOUR.ends[1:]]
        assert reader.head == FOUR.head
        assert reader.unsealed_bytes == 0

    def test_the_lines_alone_are_requests(self) -> None:
        lines = "".join(f"{line}\n" for line in FOUR.data.decode().splitlines() if not line.startswith("#"))
        assert lines == "".join(FOUR.texts)
        graph = DependencyGraph()
        assert graph.apply_lines(lines, Changes()) == "OK\n" * lines.count("\n")
        assert sorted(graph) == ["a", "gmp"]

    def test_names_of_every_allowed_character_and_length(self) -> None:
        lines = ["INDEX|a_-+.@/:~Z9|", f"INDEX|{'n' * 255}|a_-+.@/:~Z9"]
        assert read(written([lines]).data) == ["".join(f"{line}\n" for line in lines)]

    @pytest.mark.parametrize(
        "changed",
        [
            {"number": 1},
            {"number": 3},
            {"lines": 1},
            {"lines": 3},
            {"length": 20},
            {"length": 27},
            {"after": NO_BATCH.checksum},
        ],
    )
    def test_every_field_of_a_seal_must_match_despite_a_right_checksum(self, changed: dict[str, int]) -> None:
        first = written(BATCHES[:1])
        body = b"INDEX|cloog|isl\nINDEX|make|\n"
        fields = {"number": 2, "lines": 2, "length": len(body), "synced": 1, "after": first.head.checksum}
        assert read(first.data + sealed(body, first.header_checksum, **fields)) == [*first.texts, body.decode()]
        assert read(first.data + sealed(body, first.header_checksum, **(fields | changed))) == first.texts

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"#seal ", b"#SEAL "),
            (b"#seal ", b"# seal "),
            (b" lines ", b" line "),
            (b" synced ", b" "),
            (b"\n#seal", b"\r\n#seal"),
            (b"#seal 1 ", b"#seal 01 "),
        ],
    )
    def test_a_seal_has_one_form(self, old: bytes, new: bytes) -> None:
        data = written(BATCHES[:1]).data
        assert old in data
        assert read(data.replace(old, new)) == []


class TestChain:
    def test_batches_are_numbered_through_all_journals(self) -> None:
        first = written(BATCHES[:2], generation=7)
        second = written(BATCHES[2:], generation=8, after=first.head)
        reader = JournalReader(second.data)
        assert (reader.generation, reader.after) == (8, first.head)
        assert read(first.data, second.data) == FOUR.texts
        assert reader.head.number == 2
        list(reader)
        assert reader.head == second.head
        assert second.head.number == 4

    def test_a_journal_without_a_batch_continues_the_chain(self) -> None:
        first = written(BATCHES[:2])
        empty = written([], generation=2, after=first.head)
        second = written(BATCHES[2:], generation=3, after=empty.head)
        assert read(first.data, empty.data, second.data) == FOUR.texts
        assert empty.head.number == 2

    def test_the_same_batches_differ_in_another_journal(self) -> None:
        # So a stale batch that stayed on disk is never read as part of another journal.
        one, other = written(BATCHES, generation=1), written(BATCHES, generation=2)
        assert all(a != b for a, b in zip(one.batches, other.batches, strict=True))
        for count in range(4):
            assert read(other.header + b"".join(other.batches[:count]) + one.batches[count]) == other.texts[:count]

    @pytest.mark.parametrize("change", [lambda head: Seal(head.number + 1, head.checksum), lambda _: NO_BATCH])
    def test_journals_of_different_chains_do_not_fit(self, change: Callable[[Seal], Seal]) -> None:
        first = written(BATCHES[:2])
        second = written(BATCHES[2:], generation=2, after=change(first.head))
        with pytest.raises(TranscriptError):
            read(first.data, second.data)


class TestDamage:
    """A damaged batch is an error if a later seal proves that it was on disk; else it ends the journal."""

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_synced_batch_is_an_error_at_its_start(self, number: int) -> None:
        error = rejection(damaged(FOUR, number))
        assert error.offset == FOUR.ends[number - 1]
        assert error.reason == (f"batch {number} is damaged: the seal of batch {number + 1} proves that it was on disk")
        assert type(error) is TranscriptError

    def test_the_last_batch_ends_the_journal(self) -> None:
        reader = JournalReader(damaged(FOUR, 4))
        assert list(reader) == FOUR.texts[:3]
        assert reader.sealed_bytes == FOUR.ends[3]
        assert reader.unsealed_bytes == len(FOUR.batches[3])
        assert (reader.head.number, reader.synced) == (3, 2)

    def test_a_batch_that_was_not_synced_ends_the_journal(self) -> None:
        journal = written(BATCHES, synced=lambda _: 0)
        for number in range(1, 5):
            assert read(damaged(journal, number)) == journal.texts[: number - 1]

    @pytest.mark.parametrize("synced", [[0, 0, 0, 2], [0, 0, 2, 2], [0, 1, 1, 3], [0, 0, 0, 0], [0, 0, 1, 1]])
    def test_a_seal_proves_the_batches_up_to_the_synced_one(self, synced: list[int]) -> None:
        journal = written(BATCHES, synced=lambda number: synced[number - 1])
        for number in range(1, 5):
            proof = next((later for later in range(number + 1, 5) if synced[later - 1] >= number), None)
            if proof is None:
                assert read(damaged(journal, number)) == journal.texts[: number - 1]
            else:
                error = rejection(damaged(journal, number))
                assert error.offset == journal.ends[number - 1]
                assert f"batch {number} is damaged: the seal of batch {proof} proves" in error.reason

    def test_a_damaged_seal_proves_nothing(self) -> None:
        assert read(damaged(FOUR, 3, 4)) == FOUR.texts[:2]
        assert rejection(damaged(FOUR, 2, 3)).offset == FOUR.ends[1]

    def test_a_missing_batch_is_damage(self) -> None:
        without_second = FOUR.header + FOUR.batches[0] + FOUR.batches[2] + FOUR.batches[3]
        error = rejection(without_second)
        assert error.offset == FOUR.ends[1]
        assert "batch 2 is damaged: the seal of batch 3 proves" in error.reason

    def test_a_seal_proves_only_batches_before_it(self) -> None:
        # A seal over bytes that have been read, or that begin before the file, is not a later batch.
        two = written(BATCHES[:2])
        for length in (1, len(two.batches[1]), len(two.data), 1_000_000):
            assert read(sealed(two.data, two.header_checksum, 9, 1, length, 8, 0)) == two.texts

    def test_a_seal_of_another_directory_proves_nothing(self) -> None:
        """After a power loss, a file system may show blocks of a deleted file after the last write."""
        deleted = written(BATCHES, after=Seal(0, 1))
        for number in range(4):
            torn = FOUR.data[: FOUR.ends[number]] + deleted.data[deleted.ends[number] :]
            reader = JournalReader(torn)
            assert list(reader) == FOUR.texts[:number]
            assert reader.later_batch is None

    def test_the_batches_before_the_damage_are_yielded_first(self) -> None:
        reader = JournalReader(damaged(FOUR, 3))
        texts = iter(reader)
        assert [next(texts), next(texts)] == FOUR.texts[:2]
        with pytest.raises(TranscriptError):
            next(texts)
        assert (reader.head.number, reader.sealed_bytes) == (2, FOUR.ends[2])

    def test_a_journal_may_hold_only_an_interrupted_write(self) -> None:
        reader = JournalReader(FOUR.header + b"INDEX|a|\n")
        assert list(reader) == []
        assert reader.unsealed_bytes == 9
        assert reader.sealed_bytes == len(FOUR.header)


class TestApplyingAJournal:
    def test_its_batches_lead_from_one_index_to_the_next(self) -> None:
        graph = DependencyGraph()
        assert JournalReader(FOUR.data, generation=1, after=NO_BATCH).apply_to(graph) == len(BATCHES)
        assert sorted(graph) == ["a", "gmp"]

    def test_a_request_that_changes_nothing_shows_that_it_is_that_of_another_index(self) -> None:
        graph = DependencyGraph.from_mapping({"gmp": (), "isl": ("gmp",)})
        with pytest.raises(TranscriptError, match="batch 1 holds a request that changes nothing") as caught:
            JournalReader(FOUR.data).apply_to(graph)
        assert caught.value.offset == FOUR.ends[0]

    def test_a_journal_that_continues_another_one_is_refused(self) -> None:
        with pytest.raises(TranscriptError, match="it continues batch 0, but the files before it end with 4"):
            JournalReader(FOUR.data, after=FOUR.head)

    def test_the_reason_tells_whether_a_seal_proves_that_the_tail_was_not_synced(self) -> None:
        reader = JournalReader(FOUR.data[:-1])
        assert len(list(reader)) == len(BATCHES) - 1
        assert reader.unsealed_reason.startswith("batch 4 was interrupted while it was written, or the file was cut ")
        unsynced = written(BATCHES, synced=lambda _: 0)
        reader = JournalReader(damaged(unsynced, 2))
        assert len(list(reader)) == 1
        assert reader.unsealed_reason == "batch 2 is damaged, and the seal of batch 3 proves that it was not synced"
