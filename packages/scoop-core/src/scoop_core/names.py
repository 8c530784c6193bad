"""Package names and lists of them: valid, or with the first fault.

The functions have the form of the protocol, see :mod:`scoop_core.messages`.
"""

import re
from collections.abc import Iterable
from typing import Final, NewType, TypeVar

from scoop_core.errors import InvalidName, shown

MAX_NAME_LENGTH: Final = 255
"""The limit of a package name, in characters: the limit of a file name on common file systems."""

PackageName = NewType("PackageName", str)
"""A valid package name, as :func:`parse_name` returns it."""
# The compiled form has no frame that tells its module, and mypyc takes no assignment to an attribute of a class.
setattr(PackageName, "__module__", __name__)  # noqa: B010

NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
"""The characters that are valid in a package name."""

NAME_PATTERN: Final = f"[{re.escape(NAME_CHARACTERS)}]{{1,{MAX_NAME_LENGTH}}}"
is_name: Final = re.compile(NAME_PATTERN).fullmatch
# Atomic, so that a hostile line of 64 KiB is rejected in one pass. PyPy matches nested possessive quantifiers
# incorrectly (it accepts "b,,c"), and atomic groups correctly.
_is_list_of_names: Final = re.compile(f"(?>{NAME_PATTERN}(?:,{NAME_PATTERN})*)").fullmatch
_valid_prefix: Final = re.compile(f"(?>(?:{NAME_PATTERN},)*)").match
"""Matches the valid names before the first invalid one, each with its comma."""
_INVALID_CHARACTER: Final = re.compile(f"[^{re.escape(NAME_CHARACTERS)}]")


Names = TypeVar("Names", bound=Iterable[str])


def listed_names(names: Names, what: str = "names") -> Names:
    """Return ``names``, but reject a single string: iterating it would yield its characters."""
    if isinstance(names, str):
        raise TypeError(f"expected an iterable of {what}, got the string {shown(names)}")
    return names


def package_names(packages: str | Iterable[str]) -> Iterable[str]:
    """Return the names of several packages, or of one that is given as a text."""
    return (packages,) if isinstance(packages, str) else packages


def parse_name(text: str) -> PackageName:
    """Return ``text`` as a package name. Raises :exc:`InvalidName` with the column of the first invalid character.

    >>> parse_name("gtk+3")
    'gtk+3'
    >>> parse_name("emacs elisp")
    Traceback (most recent call last):
    scoop_core.errors.InvalidName: invalid space at column 6 of the name: 'emacs elisp'
    """
    if is_name(text):
        return PackageName(text)
    fault, column = find_fault(text)
    raise InvalidName(text, f"{fault} at column {column} of the name" if column else fault, column)


def find_fault(text: str) -> tuple[str, int]:
    """Return why ``text`` is not a name, and the column, counted from 1; 0 if its length is invalid."""
    if not text:
        return "empty name", 0
    invalid = _INVALID_CHARACTER.search(text)
    if invalid is None:
        return f"name too long ({len(text):,} characters, limit {MAX_NAME_LENGTH})", 0
    return f"invalid {'space' if invalid[0] == ' ' else ascii(invalid[0])}", invalid.start() + 1


def parse_names(text: str) -> tuple[PackageName, ...]:
    """Return the names of a comma-separated list, each once, in the order of their first appearance.

    An empty text is an empty list. Raises :exc:`InvalidName` for the first item that is not a name; an empty
    item is not one.

    >>> parse_names("gmp,isl,gmp")
    ('gmp', 'isl')
    """
    if not text:
        return ()
    if not _is_list_of_names(text):
        prefix = _valid_prefix(text)
        parse_name(text[prefix.end() if prefix else 0 :].partition(",")[0])  # raises
    return tuple(map(PackageName, dict.fromkeys(text.split(","))))
