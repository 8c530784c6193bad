"""The kinds of values that an option can have, and how each is read from text."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

from scoop_core import parse_duration

from scoop_server.config.addresses import ListenAddress, parse_listen_address

T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_SIZE_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB}

# Rules out "+1", "1_0", " 1" and digits of other scripts, which int reads.
_INTEGER: Final = "[0-9]{1,20}"  # more digits than any setting needs, and fewer than int refuses

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """A kind of value: its parser and its description. ``parse`` raises ValueError with "expected A, got B"."""

    parse: Callable[[str], T_co]
    metavar: str = ""
    """The placeholder in the help; empty for a switch."""
    words: tuple[str, ...] = ()
    """All possible values, if they are few."""


def integer(minimum: int, maximum: int, metavar: str = "N") -> Kind[int]:
    """Return the kind of integers in a range."""
    return _quantity(minimum, maximum, {"": 1}, f"expected an integer from {minimum} to {maximum}", metavar)


def size(minimum: int, maximum: int) -> Kind[int]:
    """Return the kind of sizes in bytes, which may have a unit: ``65536``, ``64k``."""
    expected = f"expected a size from {minimum} to {format_size(maximum)}, such as 65536 or 64k"
    return _quantity(minimum, maximum, _SIZE_UNITS, expected, "SIZE")


def _quantity(minimum: int, maximum: int, units: Mapping[str, int], expected: str, metavar: str) -> Kind[int]:
    matches = re.compile(f"({_INTEGER})({'|'.join(units)})", re.IGNORECASE | re.ASCII).fullmatch

    def parse(text: str) -> int:
        found = matches(text)
        if found is None or not minimum <= (count := int(found[1]) * units[found[2].lower()]) <= maximum:
            raise ValueError(f"{expected}, got {text!r}")
        return count

    return Kind(parse, metavar)


def duration(*, or_zero: bool = False) -> Kind[float]:
    """Return the kind of times in seconds, which may have a unit: ``0.5``, ``500ms``, ``10s``, ``5m``."""
    return Kind(partial(parse_duration, or_zero=or_zero), "TIME")


def format_size(size: int) -> str:
    """Return a size with the largest unit that divides it.

    >>> format_size(65_536), format_size(1_000)
    ('64k', '1000')
    """
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _parse_switch(text: str) -> bool:
    word = text.lower()
    if word not in _YES | _NO:
        raise ValueError(f"expected yes or no, got {text!r}")
    return word in _YES


SWITCH: Final = Kind(_parse_switch)


def choice(metavar: str, words: tuple[str, ...]) -> Kind[str]:
    """Return the kind of words of a list, in either case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}, got {text!r}")
        return text.lower()

    return Kind(parse, metavar, words)


def member(metavar: str, enum: type[E]) -> Kind[E]:
    """Return the kind of members of ``enum``, by their values."""
    word = choice(metavar, tuple(enum))
    return Kind(lambda text: enum(word.parse(text)), metavar, word.words)


def parse_text(text: str, noun: str) -> str:
    """Return ``text``. Raises ValueError if it is empty or has NUL characters."""
    if not text:
        raise ValueError(f"expected a {noun}, got ''")
    if "\0" in text:
        raise ValueError(f"expected a {noun} without NUL characters, got {text!r}")
    return text


def path(metavar: str) -> Kind[Path]:
    """Return the kind of paths of files or directories."""
    return Kind(lambda text: Path(parse_text(text, "path")), metavar)


def _parse_host(text: str) -> str:
    in_brackets = re.fullmatch(r"\[(.*)\]", text)  # as in a URL, and in --listen
    return parse_text(in_brackets[1] if in_brackets else text, "host")


HOST: Final = Kind(_parse_host, "HOST")

ADDRESS: Final = Kind(parse_listen_address, "ADDRESS")


def _parse_plain_address(text: str) -> ListenAddress:
    scheme = text.partition(":")[0]
    if scheme == "tls" or "?" in text:
        raise ValueError(f"expected HOST:PORT or unix:PATH, got {text!r}: this endpoint has neither TLS nor policies")
    return parse_listen_address(text if scheme in {"tcp", "unix"} else f"tcp:{text}")


PLAIN_ADDRESS: Final = Kind(_parse_plain_address, "ADDRESS")
"""An address without TLS and access policy, for which ``tcp:`` may be left out."""
