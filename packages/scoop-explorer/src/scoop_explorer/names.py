"""Search in the names of packages: prefixes first, then other places.

The names are kept sorted, and joined in one text that is searched at the speed of a string search: a million names take
a few milliseconds. Changes are kept beside them, and merged once there are many.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

from scoop_core import IndexedGraph

CHANGES_MAX: Final = 4_096
"""Names beside the sorted ones; more are merged, which takes a second of processor time for a million names."""

MERGE_REST: Final = 10.0
"""The pause after a merge, as a multiple of its duration."""


class Match(NamedTuple):
    """The names that match a query, and whether there are more."""

    names: tuple[str, ...]
    has_more: bool


class NameIndex:
    """The names of a graph. One thread changes it; any thread may search."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._state = _State(sorted(names), set())
        self._merge_at = 0.0

    def add(self, names: Iterable[str]) -> None:
        """Add names; they may be there already."""
        state = self._state
        state.added.update(names)
        if len(state.added) > CHANGES_MAX and (start := time.monotonic()) >= self._merge_at:
            names = state.names + sorted(name for name in state.added if not state.has(name))
            names.sort()  # two sorted runs, which takes a twentieth of the time of a sort
            self._state = _State(names, set())
            end = time.monotonic()
            self._merge_at = end + MERGE_REST * (end - start)

    def find(self, query: str, limit: int, graph: IndexedGraph) -> Match:
        """Return up to ``limit`` names of ``graph`` that contain ``query`` in any case, prefixes first."""
        if "\n" in query:  # which separates the names in the text
            return Match((), has_more=False)
        state = self._state
        wanted = query.lower()
        added = sorted(name for name in state.added.copy() if wanted in name.lower())
        found: dict[str, None] = {}
        for candidates in (
            (name for name in (query,) if name),
            state.beginning_with(query),
            (name for name in added if name.lower().startswith(wanted)),
            state.beginning_in_any_case(wanted),
            state.containing(wanted),
            added,
        ):
            fresh = (name for name in candidates if name not in found and name in graph)
            found.update(dict.fromkeys(islice(fresh, limit + 1 - len(found))))
            if len(found) > limit:
                break
        return Match(tuple(islice(found, limit)), len(found) > limit)


class _State:
    """Sorted names with the text of all of them in lower case, and the names that were added since."""

    def __init__(self, names: list[str], added: set[str]) -> None:
        self.names = names
        self.added = added
        self._text = "\n" + "".join(f"{name}\n" for name in names).lower()
        # The name at a place of the text is found by bisection in the places of each 256th name.
        self._places: list[int] = []
        place = 1
        for number, name in enumerate(names):
            if number % _STEP == 0:
                self._places.append(place)
            place += len(name) + 1

    def has(self, name: str) -> bool:
        place = bisect_left(self.names, name)
        return place < len(self.names) and self.names[place] == name

    def beginning_with(self, prefix: str) -> Iterable[str]:
        for number in range(bisect_left(self.names, prefix), len(self.names)):
            if not self.names[number].startswith(prefix):
                return
            yield self.names[number]

    def beginning_in_any_case(self, prefix: str) -> Iterable[str]:
        return self._at_matches("\n" + prefix)

    def containing(self, part: str) -> Iterable[str]:
        return self._at_matches(part)

    def _at_matches(self, part: str) -> Iterable[str]:
        place = self._text.find(part, 0 if part.startswith("\n") else 1)
        while place >= 0:
            place += part.startswith("\n")
            if place >= len(self._text) - 1:
                return
            number, end = self._name_at(place)
            yield self.names[number]
            place = self._text.find(part, end if part.startswith("\n") else end + 1)

    def _name_at(self, place: int) -> tuple[int, int]:
        """Return the number of the name at a place of the text, and the place of the newline behind it."""
        block = bisect_left(self._places, place + 1) - 1
        number = block * _STEP + self._text.count("\n", self._places[block], place)
        return number, self._text.index("\n", place)


_STEP: Final = 256
