"""Requests in an order in which a server accepts them: dependencies first, cycles included, as a stream."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, cast

from scoop_core import (
    MAX_NAME_LENGTH,
    NAME_CHARACTERS,
    Command,
    DependencyGraph,
    InvalidName,
    MalformedRequest,
    PackageName,
    Request,
    parse_request,
)

Reject = Callable[[str, str], None]
"""Is called with a text that is no request, and the reason."""

_LINES_PER_CHUNK: Final = 4_096
"""Checked together, because one match of many lines takes a tenth of the time of many."""

_NAME: Final = f"[{re.escape(NAME_CHARACTERS)}]{{1,{MAX_NAME_LENGTH}}}"
_are_index_lines: Final = re.compile(rf"(?>INDEX\|{_NAME}\|(?>(?:{_NAME}(?:,{_NAME})*)?)\n)*").fullmatch


class Orderer:
    """Passes on requests whose dependencies have been passed on; keeps the others until their turn.

    Input that is in order already is passed on at once. ``rest`` returns what was kept, in dependency order: packages
    of cycles, those that come before their dependencies, and those with dependencies that the server may know.

    >>> orderer = Orderer()
    >>> [request.package for request in orderer.add([Request.of(Command.INDEX, "isl", ["gmp"])])]
    []
    >>> [request.package for request in orderer.add([Request.of(Command.INDEX, "gmp")])]
    ['gmp']
    >>> [request.package for request in orderer.rest()]
    ['isl']
    """

    def __init__(self) -> None:
        self._passed: set[str] = set()
        self._kept: dict[str, tuple[PackageName, ...]] = {}

    def add(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield those of ``requests`` that may be sent now. Others than INDEX are sent after what is before them."""
        passed, kept = self._passed, self._kept
        for request in requests:
            command, package, dependencies = request
            if command is not Command.INDEX:
                yield from self.rest()
                passed.discard(package)
                yield request
            elif package not in kept and passed.issuperset(dependencies):
                passed.add(package)
                yield request
            else:
                kept[package] = dependencies

    def rest(self) -> Iterator[Request]:
        """Yield what was kept, dependencies first."""
        if not self._kept:
            return
        kept = dict(self._kept)
        self._kept.clear()
        # Dependencies outside of it become packages of the graph, whose lines are not sent.
        for line in DependencyGraph.from_mapping(kept, add_missing=True).to_lines():
            request = parse_request(line)
            if request.package in kept:
                self._passed.add(request.package)
                yield request


def requests_of_lines(lines: Iterable[str], reject: Reject) -> Iterator[Request]:
    """Yield the requests of protocol lines with newlines, in order; comments and empty lines are skipped."""
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == _LINES_PER_CHUNK:
            yield from _parse_chunk(chunk, reject)
            chunk.clear()
    yield from _parse_chunk(chunk, reject)


def _parse_chunk(lines: list[str], reject: Reject) -> Iterator[Request]:
    index = Command.INDEX
    if _are_index_lines("".join(lines)):
        for line in lines:
            _, package, names = line[:-1].split("|")
            # A repeated name is kept: the server counts it once.
            dependencies = cast("tuple[PackageName, ...]", tuple(names.split(",")) if names else ())
            yield Request(index, PackageName(package), dependencies)
        return
    for line in lines:
        text = line.rstrip("\r\n")
        if text and not text.startswith("#"):
            try:
                yield parse_request(text)
            except MalformedRequest as error:
                reject(text, error.reason)


def requests_of_packages(packages: Mapping[str, Iterable[str]], reject: Reject) -> Iterator[Request]:
    """Yield an INDEX for each package, in the order of ``packages``."""
    for package, dependencies in packages.items():
        try:
            yield Request.of(Command.INDEX, package, dependencies)
        except InvalidName as error:
            reject(package, error.reason if error.text == package else f"dependency {error.text!a}: {error.reason}")


def in_dependency_order(requests: Iterable[Request]) -> Iterator[Request]:
    """Yield ``requests`` in dependency order.

    >>> requests = [Request.of(Command.INDEX, "isl", ["gmp"]), Request.of(Command.INDEX, "gmp")]
    >>> [request.package for request in in_dependency_order(requests)]
    ['gmp', 'isl']
    """
    orderer = Orderer()
    yield from orderer.add(requests)
    yield from orderer.rest()
