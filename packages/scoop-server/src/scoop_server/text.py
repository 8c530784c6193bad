"""Words that depend on a number, and words that resemble others."""

import difflib
from collections.abc import Iterable
from random import getrandbits
from typing import Final

_SIMILARITY_MIN: Final = 0.6
"""The share of common characters above which a text counts as a typing error: "prot" resembles "port" by 0.75."""

_STRIDE: Final = 61

_COUNTED_SIZE_MAX: Final = 4_096
"""The size of a text whose lines are counted without an estimate."""


def noun(number: int, one: str, many: str = "") -> str:
    """Return the noun that agrees with ``number``; ``many`` is its plural unless that is ``one`` and an s.

    >>> noun(1, "package"), noun(2, "package"), noun(0, "batch", "batches")
    ('package', 'packages', 'batches')
    """
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """Return ``number`` and the noun that agrees with it.

    >>> counted(1, "package"), counted(2, "package")
    ('1 package', '2 packages')
    """
    return f"{number} {noun(number, one, many)}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` resembles most, if it resembles any.

    >>> closest("PROT", ["host", "port"]), closest("soap", ["host", "port"])
    ('port', None)
    """
    return next(iter(difflib.get_close_matches(word.lower(), list(known), 1, _SIMILARITY_MIN)), None)


def first_lines(text: str, size_max: int, lines_max: int) -> str:
    r"""Return the first lines of ``text``: at most ``lines_max``, and ``size_max`` characters or one line.

    In a long text, lines are counted only if an estimate is above ``lines_max``, which may leave a few lines too many:
    counting all characters took 12% of the time of a deeply pipelined INDEX.

    >>> first_lines("a\nb\nc\n", 5, 9), first_lines("a\nb\nc\n", 9, 1), first_lines("long\n", 2, 9)
    ('a\nb\n', 'a\n', 'long\n')
    """
    first = text[: text.rfind("\n", 0, size_max) + 1 or text.find("\n") + 1]
    if len(first) > _COUNTED_SIZE_MAX and _estimated_lines(first) <= lines_max:
        return first
    if first.count("\n") > lines_max:
        return "\n".join(first.split("\n", lines_max)[:-1]) + "\n"
    return first


def _estimated_lines(text: str) -> int:
    """Return about how many lines ``text`` has: a multiple of those that end at every 61st character.

    61 is prime, so that lines of equal length do not all end between these characters. The first of them is chosen at
    random: a client that places the ends of lines between them succeeds twice in 64 times at most.
    """
    return _STRIDE * text[getrandbits(6) :: _STRIDE].count("\n")
