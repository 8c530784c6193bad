"""The parameters of a URL: what a page accepts, and the checked values of a request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from scoop_core import ScoopError, UnknownPackage, parse_name

OFFSET_MAX: Final = 100_000_000

TEXT_MAX: Final = 255
"""Characters of a text: those of the longest name."""

PACKAGES_MAX: Final = 50
"""Packages that a question may be about."""

_SEPARATORS: Final = re.compile(r"[\s,]+")
"""What separates names that a person has typed into one field: no name has it."""


class BadParameterError(Exception):
    """A parameter of a URL cannot be used."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a page: a text, unless it is one of the other kinds."""

    name: str
    description: str
    is_path: bool = False
    """True if it is the rest of the path."""
    is_required: bool = False
    is_package: bool = False
    is_repeated: bool = False
    maximum: int | None = None
    """The largest value, if it is an integer, which is not negative."""
    choices: tuple[str, ...] = ()
    """The possible values; the first one is the default."""


@dataclass(frozen=True)
class Values:
    """The values of a request, by the names of their parameters."""

    texts: Mapping[str, str]
    packages: tuple[str, ...]
    """The packages that the page is about, each once; not yet looked up."""

    def text(self, name: str) -> str:
        """Return a text; empty if it is missing."""
        return self.texts.get(name, "")

    def number(self, name: str, default: int = 0) -> int:
        """Return an integer."""
        return int(self.texts.get(name, default))

    def package(self, name: str) -> str:
        """Return the name of a package. Raises :exc:`UnknownPackage` if it cannot be one."""
        return known_form(self.texts[name])

    @property
    def name(self) -> str:
        """The package that the page is about. Raises :exc:`UnknownPackage` if it cannot be one."""
        return known_form(self.packages[0])


def known_form(name: str) -> str:
    """Return a name that may be one of a package. Raises :exc:`UnknownPackage`."""
    try:
        return parse_name(name)
    except ScoopError:
        raise UnknownPackage(name) from None


def packages_of(request: Request, *, can_be_several: bool) -> tuple[str, ...]:
    """Return the packages that a request is about: that of the path, and those of the query."""
    path_name = str(request.path_params.get("name", ""))
    typed = request.query_params.getlist("name")
    if can_be_several:
        typed = [each for text in typed for each in _SEPARATORS.split(text) if each]
    elif typed:
        typed = [] if path_name else typed[-1:]
    return tuple(dict.fromkeys([*([path_name] if path_name else []), *typed]))


def parse(request: Request, parameters: Sequence[Parameter]) -> Values:
    """Return the checked values of a request. Raises :exc:`BadParameterError`."""
    known = {each.name: each for each in parameters}
    query = request.query_params
    if unknown := sorted(query.keys() - known.keys()):
        expected = ", ".join(known) or "none"
        raise BadParameterError(f"unknown parameter {unknown[0][:40]!r}: this page has {expected}")
    texts: dict[str, str] = {}
    for parameter in parameters:
        name = parameter.name
        if parameter.is_path:
            continue
        if name in query:
            text = query[name].strip()
            _check(parameter, text)
            if text:
                texts[name] = text
        if parameter.is_required and name not in texts:
            raise BadParameterError(f"missing parameter {name}: {parameter.description}")
    about = known.get("name")
    packages = packages_of(request, can_be_several=about is not None and about.is_repeated)
    if about is not None and not packages:
        raise BadParameterError("missing parameter name: the name of a package")
    if len(packages) > PACKAGES_MAX:
        raise BadParameterError(f"expected at most {PACKAGES_MAX} packages, got {len(packages)}")
    return Values(texts, packages)


def _check(parameter: Parameter, text: str) -> None:
    if parameter.maximum is not None:
        if not (
            text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= parameter.maximum
        ):  # a number that int() parses at once
            raise BadParameterError(
                f"expected an integer from 0 to {parameter.maximum} as {parameter.name}, got {text[:20]!r}"
            )
    elif parameter.is_package and not text:
        raise BadParameterError(f"missing parameter {parameter.name}: {parameter.description}")
    elif parameter.choices:
        if text not in parameter.choices:
            expected = " or ".join(parameter.choices)
            raise BadParameterError(f"expected {expected} as {parameter.name}, got {text[:20]!r}")
    elif not parameter.is_package and len(text) > TEXT_MAX:
        raise BadParameterError(f"expected at most {TEXT_MAX} characters as {parameter.name}, got {len(text)}")
