"""Search in the names of packages: those that contain a text, the best first, and those that differ little from it.

The names are kept sorted in blocks, each with the text of its names, so a search runs at the speed of a string search:
a million names take ten milliseconds. Changes are kept beside the blocks, and merged into them once there are many, a
few blocks at a time, so that neither pages nor changes wait for it.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import chain, compress, islice, repeat
from math import log2
from operator import contains
from typing import Final, NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

BLOCK: Final = 512
"""Names in a block: merging one takes a tenth of a millisecond."""

CHANGES_MAX: Final = 8_192
"""Names beside the blocks; more are merged. A search takes up to a millisecond for them."""

MERGED_AT_ONCE: Final = 64
"""Blocks that a call of :meth:`NameIndex.merge` replaces."""


BLOCKS_AT_ONCE: Final = 8
"""Blocks that a search in all names looks at before others have their turn."""

_TURN_SECONDS: Final = 0.0005
"""Long enough for a thread that waits for the interpreter to take it."""

RANKED_MAX: Final = 20_000
"""Matches that are all ranked: each look at the number of dependents takes two microseconds in a large graph."""

HITS_KEPT: Final = 10_200
"""Ranked matches that are kept: nobody reads more."""

_FITS_AT_START: Final = 4.0
"""The bonus of a name that begins with the query: it outweighs 16 times as many dependents."""

_FITS_WORD: Final = 1.5
"""The bonus for each end of the match that is an end of a word."""

_TYPOS: Final = ((3, 0), (5, 1))
"""The least lengths of queries up to which so many characters may differ; in longer ones, two."""


class Ranked(NamedTuple):
    """The matches of a query, the best first, and the number of all."""

    names: tuple[str, ...]
    total: int


class Match(NamedTuple):
    """The names that match a query, and whether there are more."""

    names: tuple[str, ...]
    has_more: bool


class NameIndex:
    """The names of a graph. One thread changes it; any thread may search."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._blocks = _Blocks.of(sorted(names))
        self._changed: set[str] = set()
        """Names whose block may be out of date."""
        self._unmerged: list[str] = []
        """Those of them that are being merged, sorted."""

    def update(self, names: Iterable[str]) -> None:
        """Note that packages with these names were indexed or removed."""
        self._changed.update(names)

    def merge(self, present: Container[str]) -> None:
        """Bring a few blocks up to date if many names have changed. To be called repeatedly."""
        if not self._unmerged and len(self._changed) > CHANGES_MAX:
            self._unmerged = sorted(self._changed)
        if self._unmerged:
            self._blocks, count = self._blocks.merged(self._unmerged, present)
            self._changed.difference_update(self._unmerged[:count])
            del self._unmerged[:count]

    def find(self, query: str, limit: int, present: Container[str], *, only_prefixes: bool = False) -> Match:
        """Return up to ``limit`` names that are ``present`` and contain ``query`` in any case, prefixes first.

        With ``only_prefixes``, it is those that begin with it, which takes no walk over all names.
        """
        if "\n" in query:  # which separates the names in the text
            return Match((), has_more=False)
        changed = self._changed.copy()  # before the blocks, into which the other thread moves them
        blocks = self._blocks
        wanted = query.lower()
        recent = sorted(name for name in changed if wanted in name.lower())
        found: dict[str, None] = {}
        prefixes = (
            (name for name in (query,) if name),
            blocks.beginning_with(query),
            (name for name in recent if name.lower().startswith(wanted)),
            blocks.beginning_in_any_case(wanted),
        )
        for candidates in prefixes if only_prefixes else (*prefixes, blocks.containing(wanted), recent):
            fresh = (name for name in candidates if name not in found and name in present)
            found.update(dict.fromkeys(islice(fresh, limit + 1 - len(found))))
            if len(found) > limit:
                break
        return Match(tuple(islice(found, limit)), len(found) > limit)

    def rank(
        self, query: str, present: Container[str], count_of: Callable[[str], int], popular: Iterable[str] = ()
    ) -> Ranked:
        """Return the names that are ``present`` and contain ``query`` in any case, by fit and by ``count_of``.

        Of many matches, those among the ``popular`` names and those that begin with it are ranked.
        """
        wanted = query.lower()
        names = self._matches(wanted, present)
        if not wanted:
            return Ranked(tuple(names[:HITS_KEPT]), len(names))
        ranked = names
        if len(names) > RANKED_MAX:
            ranked = [name for name in popular if wanted in name.lower() and name in present]
            ranked += self.find(query, RANKED_MAX, present).names
        key = partial(_rank, query=query, wanted=wanted, count_of=count_of)
        return Ranked(tuple(sorted(dict.fromkeys(ranked), key=key)[:HITS_KEPT]), len(names))

    def _matches(self, wanted: str, present: Container[str]) -> list[str]:
        if "\n" in wanted:  # which separates the names in the text
            return []
        changed = self._changed.copy()  # before the blocks, into which the other thread moves them
        found: list[str] = []
        for number, block in enumerate(self._blocks.blocks):
            if wanted in block.text:
                found += block.all_matches(wanted)
                _yield_at(number)
        if changed:
            kept = [name for name in found if name not in changed]
            return sorted([*kept, *(name for name in changed if wanted in name.lower() and name in present)])
        return found

    def similar(self, query: str, limit: int, present: Container[str], count_of: Callable[[str], int]) -> Sequence[str]:
        """Return names that are ``present`` and differ from ``query`` by a typing mistake or two, the best first."""
        wanted = query.lower()
        most = next((most for length, most in _TYPOS if len(wanted) < length), 2)
        if not most or "\n" in query:
            return ()
        # The first letter is seldom wrong, and a tenth of the names begin with it or with the second one.
        blocks = self._blocks.blocks
        likely = [block for block in blocks if any(block.may_begin_with(letter) for letter in wanted[:2])]
        for chosen in (likely, blocks):
            found: dict[str, float] = {}
            for number, choices in enumerate((tuple(self._changed), *(block.names for block in chosen))):
                _yield_at(number)
                near = process.extract(wanted, choices, scorer=OSA.distance, score_cutoff=most, limit=limit)
                found |= {name: distance for name, distance, _ in near if name in present}
            if found:
                return nsmallest(limit, found, key=lambda name: (found[name], -count_of(name), name))
        return ()


def _yield_at(number: int) -> None:
    """Let the pages have their turn between some blocks, each of which takes up to 0.2 ms of the interpreter."""
    if number % BLOCKS_AT_ONCE == BLOCKS_AT_ONCE - 1:
        time.sleep(_TURN_SECONDS)


def _rank(name: str, query: str, wanted: str, count_of: Callable[[str], int]) -> tuple[bool, bool, float, int, str]:
    """Return a key that is smaller for better matches: the name itself first, then by fit and dependents together."""
    lower = name.lower()
    score = log2(1 + count_of(name))
    place = lower.index(wanted)
    end = place + len(wanted)
    if place == 0:
        score += _FITS_AT_START
    elif not lower[place - 1].isalnum():
        score += _FITS_WORD
    if end == len(lower) or not lower[end].isalpha():
        score += _FITS_WORD
    return name != query, lower != wanted, -score, len(name), name


class _Block:
    """Sorted names, at least one, with the text of all of them in lower case."""

    __slots__ = ("is_mixed", "names", "text")

    def __init__(self, names: Sequence[str]) -> None:
        text = "\n".join(["", *names, ""])
        self.names = names
        self.text = text.lower()
        self.is_mixed = self.text != text
        """True if a name has an upper-case letter."""

    def may_begin_with(self, letter: str) -> bool:
        """Return whether a name may begin with a letter, in either case."""
        return self.is_mixed or self.names[0][0].lower() <= letter <= self.names[-1][0].lower()

    def all_matches(self, part: str) -> Iterator[str]:
        """Yield the names that contain ``part``, at the speed of C where there are many."""
        names = self.names if not self.is_mixed else self.text[1:-1].split("\n")
        return compress(self.names, map(contains, names, repeat(part)))

    def matches(self, part: str, *, is_prefix: bool) -> Iterator[str]:
        """Yield the names that contain ``part``, or begin with it."""
        part, step = (f"\n{part}", 0) if is_prefix else (part, 1)
        place = self.text.find(part, step)
        while 0 <= place < len(self.text) - 1:
            place += is_prefix
            yield self.names[self.text.count("\n", 0, place) - 1]
            place = self.text.find(part, self.text.index("\n", place) + step)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Blocks in the order of their names, which never change."""

    blocks: Sequence[_Block]
    firsts: Sequence[str]
    """The first name of each block."""
    mixed: Sequence[_Block]
    """The blocks with upper-case letters."""

    @classmethod
    def of(cls, names: Sequence[str]) -> "_Blocks":
        """Return the blocks of sorted names."""
        return cls._from(_cut(names))

    @classmethod
    def _from(cls, blocks: Sequence[_Block]) -> "_Blocks":
        return cls(blocks, [block.names[0] for block in blocks], [block for block in blocks if block.is_mixed])

    def merged(self, names: Sequence[str], present: Container[str]) -> tuple["_Blocks", int]:
        """Return blocks in which some of the sorted ``names`` are as in ``present``, and their number."""
        made: list[_Block] = []
        number = count = 0
        for _ in range(MERGED_AT_ONCE):
            if count == len(names):
                break
            following = bisect_right(self.firsts, names[count]) or 1
            made += self.blocks[number : following - 1]
            number = following
            is_last = number >= len(self.firsts)
            end = len(names) if is_last else bisect_left(names, self.firsts[number], count)
            old = chain.from_iterable(block.names for block in self.blocks[number - 1 : number])
            made += _cut(sorted(name for name in {*old, *names[count:end]} if name in present))
            count = end
        return self._from([*made, *self.blocks[number:]]), count

    def beginning_with(self, prefix: str) -> Iterator[str]:
        for block in islice(self.blocks, max(0, bisect_right(self.firsts, prefix) - 1), None):
            for name in islice(block.names, bisect_left(block.names, prefix), None):
                if not name.startswith(prefix):
                    return
                yield name

    def beginning_in_any_case(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin with ``prefix``, which is in lower case."""
        yield from self.beginning_with(prefix)
        for block in self.mixed:
            yield from block.matches(prefix, is_prefix=True)

    def containing(self, part: str) -> Iterator[str]:
        for block in self.blocks:
            if part in block.text:
                yield from block.matches(part, is_prefix=False)


def _cut(names: Sequence[str]) -> list[_Block]:
    size = BLOCK if len(names) > 2 * BLOCK else 2 * BLOCK
    return [_Block(names[start : start + size]) for start in range(0, len(names), size)]
