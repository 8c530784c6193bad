"""Requests in an order in which a server accepts them: dependencies first, cycles included, as a stream."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Final, TypeVar

from scoop_core import (
    MAX_LINE_LENGTH,
    MAX_NAME_LENGTH,
    NAME_CHARACTERS,
    Command,
    DependencyGraph,
    InvalidName,
    MalformedRequest,
    PackageName,
    Request,
    encode_request,
    parse_request,
)

Reject = Callable[[str, str], None]
"""Is called with a text that is no request, and the reason."""

_CHUNK: Final = 512
"""The number of lines that are checked together, because one match of many lines takes a tenth of the time of many; and
of requests that are ordered together, because a list takes less time than a generator."""

_MANY: Final = MAX_LINE_LENGTH // (MAX_NAME_LENGTH + 1) - 1
"""The number of dependencies from which on a line can be too long."""

_Item = TypeVar("_Item")

_NAME: Final = f"[{re.escape(NAME_CHARACTERS)}]{{1,{MAX_NAME_LENGTH}}}"
_are_index_lines: Final = re.compile(rf"(?>INDEX\|{_NAME}\|(?>(?:{_NAME}(?:,{_NAME})*)?)\n)*").fullmatch


class Orderer:
    """Passes on requests whose dependencies have been passed on; keeps the others until their turn.

    Input that is in order already is passed on directly. ``rest`` returns what was kept, in dependency order: packages
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

    def add(self, requests: Iterable[Request]) -> list[Request]:
        """Return those of ``requests`` that may be sent now. Others than INDEX are sent after what is before them."""
        passed, kept = self._passed, self._kept
        have_passed = passed.issuperset
        ready: list[Request] = []
        for request in requests:
            command, package, dependencies = request
            if command is not Command.INDEX:
                ready += self.rest()
                passed.discard(package)
                ready.append(request)
            elif package not in kept and have_passed(dependencies):
                passed.add(package)
                ready.append(request)
            else:
                kept[package] = dependencies
        return ready

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
    return chain.from_iterable(_parse_chunk(chunk, reject) for chunk in _chunks(lines))


def _chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while chunk := list(islice(source, _CHUNK)):
        yield chunk


def _parse_chunk(lines: list[str], reject: Reject) -> list[Request]:
    if _are_index_lines("".join(lines)) and max(map(len, lines)) <= MAX_LINE_LENGTH:
        return _parse_index_lines(lines)
    requests: list[Request] = []
    for line in lines:
        text = line.rstrip("\r\n")
        if not text or text.startswith("#"):
            continue
        if len(text) > MAX_LINE_LENGTH:
            reject(text, _too_long(len(text)))
            continue
        try:
            requests.append(parse_request(text))
        except MalformedRequest as error:
            reject(text, error.reason)
    return requests


def _too_long(length: int) -> str:
    return f"line too long: {length:,} bytes (limit {MAX_LINE_LENGTH:,})"


def _parse_index_lines(lines: list[str]) -> list[Request]:
    """Return the requests of well-formed lines. A repeated name is kept: the server counts it once."""
    index = Command.INDEX
    new: Callable[[type[Request], tuple[object, ...]], Request] = tuple.__new__  # in half of the constructor's time
    requests: list[Request] = []
    for line in lines:
        _, package, names = line[:-1].split("|")
        requests.append(new(Request, (index, package, tuple(names.split(",")) if names else ())))
    return requests


def requests_of_packages(packages: Mapping[str, Iterable[str]], reject: Reject) -> Iterator[Request]:
    """Yield an INDEX for each package, in the order of ``packages``."""
    for package, dependencies in packages.items():
        try:
            request = Request.of(Command.INDEX, package, dependencies)
        except InvalidName as error:
            reject(package, error.reason if error.text == package else f"dependency {error.text!a}: {error.reason}")
            continue
        if len(request.dependencies) >= _MANY and (length := len(encode_request(request)) - 1) > MAX_LINE_LENGTH:
            reject(package, _too_long(length))
        else:
            yield request


def in_dependency_order(requests: Iterable[Request]) -> Iterator[Request]:
    """Yield ``requests`` in dependency order.

    >>> requests = [Request.of(Command.INDEX, "isl", ["gmp"]), Request.of(Command.INDEX, "gmp")]
    >>> [request.package for request in in_dependency_order(requests)]
    ['gmp', 'isl']
    """
    orderer = Orderer()
    rest = (orderer.rest() for _ in range(1))  # only after the others
    return chain.from_iterable(chain(map(orderer.add, _chunks(requests)), rest))
