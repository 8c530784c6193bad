"""A journal after any damage: it is read up to some seal, or refused, and never anything else.

First every damage there is to small journals, then chance on larger ones.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    ArchivedFiles,
    Changes,
    DependencyGraph,
    JournalReader,
    Trail,
    TranscriptError,
    encode_snapshot,
)

from tests.support import strategies
from tests.support.journals import Written, read, synced_by_every_commit, time_of, written
from tests.support.naive_index import NaiveIndex, contents_of

pytestmark = pytest.mark.any_python

LONG = written(
    [
        ["INDEX|gmp|"],
        ["INDEX|isl|gmp", "INDEX|cloog|gmp,isl", "REMOVE|cloog|"],
        ["INDEX|gmp|gmp"],
        ["REMOVE|isl|", "REMOVE|gmp|"],
        ["INDEX|" + "n" * 255 + "|"],
        [f"INDEX|package-{number}|" for number in range(20)],
        ["INDEX|a@b/c:d~1.0_+|package-1,package-2"],
    ],
    generation=3,
)

SMALL = written(
    [["INDEX|a|"], ["INDEX|b|a", "INDEX|a|b"], ["INDEX|a|"]], times=time_of, authors=[(0, "CN=a"), (1, "uid=0")]
)

LAGGING = written(
    [["INDEX|a|"], ["INDEX|b|a"], ["INDEX|c|b"], ["REMOVE|c|"], ["REMOVE|b|"]],
    synced=lambda number: (0, 0, 1, 1, 3)[number - 1],
)
"""As it is written where the disk is waited for once a second."""

FIRST = written([["INDEX|a|"], ["INDEX|b|a"]], generation=1)
SECOND = written([["REMOVE|b|"], ["INDEX|a|a"]], generation=2, after=FIRST.head)


def whole_batches(journal: Written, length: int) -> list[str]:
    """Return the texts of the batches that end within the first ``length`` bytes."""
    return [text for text, end in zip(journal.texts, journal.ends[1:], strict=True) if end <= length]


def outcome(journal: bytes) -> list[str] | int:
    """Return the batches that a journal holds, or the byte at which it is refused."""
    try:
        return read(journal)
    except TranscriptError as error:
        return error.offset


def part_of(journal: Written, position: int) -> int:
    """Return which batch the byte at ``position`` belongs to, counted from 1; 0 is the header."""
    return next(number for number, end in enumerate(journal.ends) if position < end)


def is_vouched_for(journal: Written, number: int) -> bool:
    """Tell whether the seal of a later batch says that batch ``number`` is on disk, by the words of that seal."""
    return any(int(later.split()[-7]) >= number for later in journal.batches[number:])


def single_byte_changes(data: bytes, others: Callable[[int], Iterable[int]]) -> Iterator[tuple[int, bytes]]:
    """Yield texts that differ from ``data`` in one byte, and where: that byte is each of ``others``."""
    for position, byte in enumerate(data):
        before, after = data[:position], data[position + 1 :]
        for other in others(byte):
            yield position, before + bytes([other]) + after


def all_others(byte: int) -> Iterable[int]:
    return (other for other in range(256) if other != byte)


def some_others(byte: int) -> Iterable[int]:
    """Return the byte with each of its bits turned over, and those that mean something in a journal."""
    return {*(byte ^ 1 << bit for bit in range(8)), 0, *b"\n#0| "} - {byte}


# Cut anywhere


@pytest.mark.parametrize("journal", [LONG, SMALL, LAGGING])
def test_a_journal_cut_anywhere_is_a_prefix_that_ends_at_a_seal(journal: Written) -> None:
    for length in range(len(journal.data)):
        cut = journal.data[:length]
        if length < journal.ends[0]:
            assert outcome(cut) == 0  # it appears with its header, or not at all
        else:
            reader = JournalReader(cut)
            assert list(reader) == whole_batches(journal, length)
            assert reader.sealed_bytes == max(end for end in journal.ends if end <= length)
            assert reader.unsealed_bytes == length - reader.sealed_bytes


@pytest.mark.parametrize("journal", [SMALL, LAGGING])
def test_zeros_or_garbage_in_place_of_the_end_change_nothing(journal: Written) -> None:
    random = Random(1)
    for length in range(journal.ends[0], len(journal.data)):
        rest = len(journal.data) - length
        for tail in (bytes(rest), bytes(4_096), random.randbytes(rest), b"\xff" * rest, b"#" * rest, b"\n" * rest):
            # Where the first byte of the garbage is by chance the last one that a seal was missing, it is whole.
            kept = length + (journal.data[length : length + 1] == tail[:1])
            assert read(journal.data[:length] + tail) == whole_batches(
                journal, kept if kept in journal.ends else length
            )


# One byte changed


def check_changes(journal: Written, others: Callable[[int], Iterable[int]]) -> None:
    """A byte changed is a refusal where the batch is vouched for, and else the end of what is read."""
    expected: dict[int, list[str] | int] = {0: 0}
    for number in range(1, len(journal.texts) + 1):
        is_needed = is_vouched_for(journal, number)
        expected[number] = journal.ends[number - 1] if is_needed else journal.texts[: number - 1]
    for position, data in single_byte_changes(journal.data, others):
        assert outcome(data) == expected[part_of(journal, position)]


def test_any_byte_changed_to_any_other_in_a_small_journal() -> None:
    assert [is_vouched_for(SMALL, number) for number in (1, 2, 3)] == [True, True, False]
    check_changes(SMALL, all_others)


def test_any_byte_changed_in_a_larger_journal() -> None:
    check_changes(LONG, some_others)


def test_any_byte_changed_in_a_journal_that_is_synced_once_a_second() -> None:
    assert [is_vouched_for(LAGGING, number) for number in range(1, 6)] == [True, True, True, False, False]
    check_changes(LAGGING, some_others)


# Batches where they do not belong


@pytest.mark.parametrize("synced", [synced_by_every_commit, lambda number: max(0, number - 3), lambda _: 0])
def test_any_sequence_of_batches_is_a_prefix_of_what_was_written_or_refused(synced: Callable[[int], int]) -> None:
    """Doubled, swapped, missing, old: every sequence of up to five batches out of four."""
    journal = written([["INDEX|a|"], ["INDEX|b|a"], ["REMOVE|b|"], ["INDEX|b|"]], synced=synced)
    for length in range(6):
        for numbers in product(range(1, 5), repeat=length):
            data = journal.header + b"".join(journal.batches[number - 1] for number in numbers)
            in_place = next((i for i, number in enumerate(numbers) if number != i + 1), length)
            if any(synced(number) > in_place for number in numbers[in_place:]):
                assert outcome(data) == journal.ends[in_place]
            else:
                assert outcome(data) == journal.texts[:in_place]


def test_old_blocks_of_earlier_journals_after_the_end_are_dropped() -> None:
    """After a power loss, a file system may show old contents of blocks after the end of what was written."""
    for stale in (FIRST.data, FIRST.batches[0], FIRST.batches[1], *FIRST.batches, b"".join(FIRST.batches)):
        for count in range(3):
            kept = SECOND.header + b"".join(SECOND.batches[:count])
            assert read(FIRST.data, kept + stale) == FIRST.texts + SECOND.texts[:count]
            assert read(FIRST.data, kept + stale[len(kept) % 7 :]) == FIRST.texts + SECOND.texts[:count]


def test_a_batch_of_another_history_is_never_accepted() -> None:
    other = written([["INDEX|x|"], ["INDEX|y|x"]], generation=2, after=written([["INDEX|x|"]]).head)
    for count in range(3):
        kept = SECOND.header + b"".join(SECOND.batches[:count])
        for stale in (*other.batches, b"".join(other.batches), other.data):
            assert read(FIRST.data, kept + stale) == FIRST.texts + SECOND.texts[:count]


# By chance

histories = st.lists(strategies.batches, max_size=8)
"""The lines that clients send in some turns."""


def live_through(history: list[str]) -> tuple[list[list[str]], list[dict[str, tuple[frozenset[str], int]]]]:
    """Return the changes of each turn that has any, and the contents of the index before and after each of them."""
    graph, naive = DependencyGraph(), NaiveIndex()
    turns: list[list[str]] = []
    contents = [naive.contents()]
    for text in history:
        changes = Changes()
        graph.apply_lines(text, changes)
        for line in text.split("\n")[:-1]:
            naive.answer(line)
        if changes:
            turns.append(changes.lines)
            contents.append(naive.contents())
        else:
            assert contents[-1] == naive.contents()
    return turns, contents


def replay(texts: list[str]) -> DependencyGraph:
    """Return the graph that the batches lead to; each line must change it."""
    graph = DependencyGraph()
    for text in texts:
        changes = Changes()
        assert graph.apply_lines(text, changes) == "OK\n" * len(changes)
        assert len(changes) == text.count("\n")
    return graph


@given(history=histories, data=st.data())
@example(history=["INDEX|a|\nINDEX|b|a\n", "QUERY|a|\n", "INDEX|b|\nREMOVE|a|\n"], data=None)
def test_any_history_is_recovered_from_its_journals(history: list[str], data: st.DataObject | None) -> None:
    turns, contents = live_through(history)
    cut = data.draw(st.integers(0, len(turns)), "rotated after") if data else 1
    first = written(turns[:cut])
    files = {"snapshot-1": b"".join(encode_snapshot(DependencyGraph())), "journal-1": first.data}
    for count in range(cut, len(turns) + 1):
        second = written(turns[cut:count], generation=2, after=first.head)
        state = Trail(ArchivedFiles(files | {"journal-2": second.data})).recover()
        assert state is not None
        assert contents_of(state.graph) == contents[count]
        assert state.batches == state.journal.head.number == count


@st.composite
def damages(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with some pieces of it dropped, doubled, swapped, overwritten, or with something new in them."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 200)))
        other = draw(st.integers(0, len(data)))
        new = draw(
            st.one_of(
                st.just(b""),
                st.binary(max_size=20),
                st.just(bytes(end - start)),
                st.just(data[start:end] * 2),
                st.just(data[other : other + end - start]),
                st.just(data[other:]),
            )
        )
        data = data[:start] + new + data[end:]
    return data


@given(history=histories, lag=st.integers(1, 4), data=st.data())
def test_any_damage_leaves_a_prefix_or_is_refused(history: list[str], lag: int, data: st.DataObject) -> None:
    turns, contents = live_through(history)
    authors = [(0, "CN=a"), (1, "uid=0")]
    journal = written(turns, synced=lambda number: max(0, number - lag), times=time_of, authors=authors)
    damaged = data.draw(damages(journal.data), "damaged")
    texts = []
    try:
        reader = JournalReader(damaged)
        for text in reader:
            texts.append(text)
            assert (reader.head.time, reader.authors) == (time_of(len(texts)), tuple(authors))
    except TranscriptError as error:
        assert 0 <= error.offset < max(1, len(damaged))  # noqa: PT017  # either outcome is right
        return
    assert texts == journal.texts[: len(texts)]
    assert contents_of(replay(texts)) == contents[len(texts)]
    again = JournalReader(damaged[: reader.sealed_bytes])
    assert (list(again), again.head, again.unsealed_bytes) == (texts, reader.head, 0)


@given(history=histories, tail=st.binary(max_size=300))
def test_bytes_that_were_never_written_change_nothing(history: list[str], tail: bytes) -> None:
    turns, _ = live_through(history)
    journal = written(turns)
    reader = JournalReader(journal.data + tail)
    assert list(reader) == journal.texts
    assert (reader.head, reader.sealed_bytes) == (journal.head, len(journal.data))
