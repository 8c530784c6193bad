"""Journals for the tests of the codec, alone and as a chain of several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

from scoop_core import NO_BATCH, Authors, JournalReader, Seal, TranscriptError, encode_batch, encode_journal_header

Batch = Sequence[str]
"""The requests of one batch, without newline."""


def synced_by_every_commit(number: int) -> int:
    """Return the number of synced batches in the seal of batch ``number``, if each commit waits for the disk."""
    return number - 1


def time_of(number: int) -> int:
    """Return the time of batch ``number``."""
    return 1_764_668_400_000 + 1_000 * number


@dataclass(frozen=True)
class Written:
    """A journal and the positions of its parts."""

    data: bytes
    ends: list[int]
    """The end of the header, and of each batch."""
    texts: list[str]
    """The texts that a reader yields."""
    head: Seal

    @property
    def batches(self) -> list[bytes]:
        """The bytes of each batch with its seal."""
        return [self.data[start:end] for start, end in zip(self.ends, self.ends[1:], strict=False)]

    @property
    def header(self) -> bytes:
        """The bytes of the first line."""
        return self.data[: self.ends[0]]

    @property
    def header_checksum(self) -> int:
        """The checksum of the first line."""
        return crc32(self.header[:-9])


def written(
    batches: Sequence[Batch],
    *,
    generation: int = 1,
    after: Seal = NO_BATCH,
    synced: Callable[[int], int] = synced_by_every_commit,
    times: Callable[[int], int] = lambda _: 0,
    authors: Authors = (),
) -> Written:
    """Return the journal of ``batches``, each made by ``authors`` at the time that ``times`` gives for its number.

    ``synced`` gives the number of synced batches for the seal of a batch.
    """
    data, head = start = encode_journal_header(generation, after)
    ends = [len(data)]
    for lines in batches:
        batch, head = encode_batch(
            list(lines), head, synced(head.number + 1), start[1].checksum, time=times(head.number + 1), authors=authors
        )
        data += batch
        ends.append(len(data))
    return Written(data, ends, ["".join(f"{line}\n" for line in lines) for lines in batches], head)


def read(*journals: bytes) -> list[str]:
    """Return the texts of all batches of a chain of journals; only the last one may have a tail.

    Raises TranscriptError if they are no chain.
    """
    texts: list[str] = []
    head: Seal | None = None
    for number, data in enumerate(journals, 1):
        reader = JournalReader(data)
        if head is not None and reader.after != head:
            raise TranscriptError(0, "another chain")
        texts += reader
        if reader.unsealed_bytes and number < len(journals):
            raise TranscriptError(reader.sealed_bytes, "a tail in the middle")
        head = reader.head
    return texts


def sealed(body: bytes, journal: int, number: int, lines: int, length: int, synced: int, after: int) -> bytes:
    """Return ``body`` with a seal of these fields, right or wrong, and the right checksum.

    The checksum covers the last ``length`` bytes of ``body``; ``journal`` is that of the journal's header.
    """
    seal = b"#seal %d lines %d bytes %d synced %d time 0 after %08x crc32 " % (number, lines, length, synced, after)
    return body + seal + b"%08x\n" % crc32(seal, crc32(body[len(body) - length :], journal))
