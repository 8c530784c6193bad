"""The exceptions of scoop_core, in one tree, and the reasons of a FAIL.

::

    ScoopError
    ├── ProtocolError
    │   ├── InvalidName
    │   ├── MalformedRequest
    │   ├── MalformedResponse
    │   └── PeerViolation
    ├── LimitExceeded
    ├── UnknownPackage
    ├── RequestRefused
    ├── FormatError
    ├── DumpError
    ├── TranscriptError
    │   └── UnsupportedFormat
    └── HistoryError
        ├── HistoryGone
        └── UnreadableFile

Bad input raises these and nothing else. The attributes hold the details; ``str`` is one line for a person.
"""

from typing import Final, NamedTuple, TypeAlias, TypeVar

Kind = TypeVar("Kind")

_SHOWN_CHARACTERS: Final = 80
"""The limit of a quoted text in a message: enough to find it, too little to flood a log."""


def shown(text: str) -> str:
    """Return ``text`` quoted and escaped as ASCII, and truncated if it is long."""
    if len(text) <= _SHOWN_CHARACTERS:
        return ascii(text)
    return f"{text[:_SHOWN_CHARACTERS]!a}… ({len(text):,} characters)"


_NAMES_SHOWN: Final = 5
"""The limit of names in one line; further ones are counted."""


def _compared_by_kind(kind: type[Kind]) -> type[Kind]:
    """Make tuples of this kind differ from those of another kind with the same values."""

    def is_equal(self: object, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, tuple) and tuple.__eq__(other, self)

    def differs(self: object, other: object) -> bool:
        return not is_equal(self, other)

    for name, method in (("__eq__", is_equal), ("__ne__", differs)):
        setattr(kind, name, method)
    return kind


@_compared_by_kind
class MissingDependencies(NamedTuple):
    """The refusal of an INDEX: dependencies are not indexed.

    >>> print(MissingDependencies("isl", ("gmp",)))
    cannot index isl: gmp is not indexed
    """

    package: str
    missing: tuple[str, ...]
    """The dependencies that are not indexed, each once, in the order of the request."""

    def __str__(self) -> str:
        verb = "is" if len(self.missing) == 1 else "are"
        return f"cannot index {self.package}: {_join(self.missing)} {verb} not indexed"


@_compared_by_kind
class BlockedByDependents(NamedTuple):
    """The refusal of a REMOVE: other packages depend on the package.

    >>> print(BlockedByDependents("gmp", ("cloog", "isl")))
    cannot remove gmp: 2 packages depend on it: cloog, isl
    """

    package: str
    dependents: tuple[str, ...]
    """The other packages that depend on it directly, sorted."""

    def __str__(self) -> str:
        return f"cannot remove {self.package}: {_depend(self.dependents, 'package')} on it: {_join(self.dependents)}"


@_compared_by_kind
class BlockedSet(NamedTuple):
    """The refusal to remove a set of packages together: other packages depend on some of them.

    >>> print(BlockedSet(("gmp", "isl"), ("cloog",)))
    cannot remove gmp, isl together: 1 other package depends on them: cloog
    """

    packages: tuple[str, ...]
    """The packages of the set that others depend on directly, sorted."""

    dependents: tuple[str, ...]
    """The packages outside the set that depend on them directly, sorted."""

    def __str__(self) -> str:
        subject = _depend(self.dependents, "other package")
        together, them = (" together", "them") if len(self.packages) > 1 else ("", "it")
        return f"cannot remove {_join(self.packages)}{together}: {subject} on {them}: {_join(self.dependents)}"


@_compared_by_kind
class ClosesCycle(NamedTuple):
    """The refusal of an INDEX by a graph that rejects cycles: it would close one.

    >>> print(ClosesCycle("gmp", ("gmp", "isl", "gmp")))
    cannot index gmp: it would close the cycle gmp -> isl -> gmp
    """

    package: str
    cycle: tuple[str, ...]
    """A shortest such cycle, from ``package`` to ``package``; each depends on the next."""

    def __str__(self) -> str:
        return f"cannot index {self.package}: it would close the cycle {' -> '.join(self.cycle)}"


@_compared_by_kind
class SearchTooLong(NamedTuple):
    """The refusal of an INDEX by a graph with a search limit: it may close a cycle.

    >>> print(SearchTooLong("gmp", 32768))
    cannot index gmp: the search for a cycle would visit more than 32,768 packages and dependencies
    """

    package: str
    limit: int

    def __str__(self) -> str:
        return (
            f"cannot index {self.package}: the search for a cycle would visit more than {self.limit:,} packages and"
            " dependencies"
        )


@_compared_by_kind
class NotIndexed(NamedTuple):
    """The refusal of a QUERY: the package is not indexed.

    >>> print(NotIndexed("gmp"))
    gmp is not indexed
    """

    package: str

    def __str__(self) -> str:
        return f"{self.package} is not indexed"


Refusal: TypeAlias = MissingDependencies | BlockedByDependents | BlockedSet | ClosesCycle | SearchTooLong | NotIndexed
"""The reason of a FAIL, or that a set of packages cannot be removed."""


def _depend(dependents: tuple[str, ...], noun: str) -> str:
    return f"1 {noun} depends" if len(dependents) == 1 else f"{len(dependents):,} {noun}s depend"


def _join(names: tuple[str, ...]) -> str:
    first = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{first} and {more:,} more" if more > 0 else first


def _in_line(number: int, text: str) -> str:
    return f"line {number:,}: {text}" if number else text


class ScoopError(Exception):
    """The root of every exception that scoop_core raises on bad input.

    >>> issubclass(InvalidName, ScoopError)
    True
    """


class ProtocolError(ScoopError, ValueError):
    """A text violates the protocol.

    ``text`` is the invalid text, ``reason`` explains why, and ``column`` is the position of the first invalid
    character, counted from 1; 0 if no single character is at fault.

    >>> print(ProtocolError("a b", "invalid space", 2))
    invalid space: 'a b'
    """

    def __init__(self, text: str, reason: str, column: int = 0) -> None:
        super().__init__(text, reason, column)
        self.text = text
        self.reason = reason
        self.column = column

    def __str__(self) -> str:
        return f"{self.reason}: {shown(self.text)}"


class InvalidName(ProtocolError):
    """A text is not a package name. ``column`` is 0 if its length is invalid.

    >>> print(InvalidName("", "empty name"))
    empty name: ''
    """


class MalformedRequest(ProtocolError):
    """A line is not a request. ``column`` is a column of the line; 0 if the number of bars is wrong.

    ``line`` is its number if it is one of several, else 0.

    >>> print(MalformedRequest("QUERY|a", "expected 2 bars, got 1"))
    expected 2 bars, got 1: 'QUERY|a'
    """

    line: int = 0

    def __str__(self) -> str:
        return _in_line(self.line, super().__str__())


class MalformedResponse(ProtocolError):
    """A line is not one of the three responses.

    >>> print(MalformedResponse("YES", "expected OK, FAIL or ERROR"))
    expected OK, FAIL or ERROR: 'YES'
    """


class LimitExceeded(ScoopError, ValueError):
    """A request was not sent, because it would exceed a limit of the client's connection.

    ``unit`` names what is limited, ``actual`` is its value with the request, ``limit`` the highest that is allowed.

    >>> print(LimitExceeded(17, 10, "bytes in a line"))
    cannot send the request: 17 bytes in a line (limit 10)
    """

    def __init__(self, actual: int, limit: int, unit: str) -> None:
        super().__init__(actual, limit, unit)
        self.actual = actual
        self.limit = limit
        self.unit = unit

    def __str__(self) -> str:
        return f"cannot send the request: {self.actual:,} {self.unit} (limit {self.limit:,})"


class UnknownPackage(ScoopError, KeyError):
    """A package is not indexed. ``package`` is its name.

    >>> print(UnknownPackage("gmp"))
    package 'gmp' is not indexed
    """

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return f"package {shown(self.package)} is not indexed"


class RequestRefused(ScoopError, ValueError):
    """A graph cannot be built, because a request would be answered FAIL. ``refusal`` explains why.

    ``line`` is the number of the request's line if it has one, else 0.

    >>> print(RequestRefused(NotIndexed("gmp")))
    gmp is not indexed
    """

    line: int = 0

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __str__(self) -> str:
        return _in_line(self.line, str(self.refusal))


class FormatError(ScoopError, ValueError):
    """A text is not a graph in DOT, GraphML or node-link JSON. ``reason`` explains it.

    >>> print(FormatError("expected 'digraph', got 'graph'"))
    expected 'digraph', got 'graph'
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DumpError(ScoopError, ValueError):
    """A dump or other request lines cannot be decoded. ``line`` counts from 1, ``reason`` explains the fault.

    >>> print(DumpError(3, "the input ends within this line"))
    line 3: the input ends within this line
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return _in_line(self.line, self.reason)


class AccessError(ScoopError, ValueError):
    """A text is not an identity, or a mapping does not describe roles. ``reason`` explains it.

    ``key`` is the key of the mapping at fault, empty if none is; ``number`` counts the tables of that key from 1.

    >>> print(AccessError("expected at least one [[role]]", "role", 1))
    expected at least one [[role]]
    """

    def __init__(self, reason: str, key: str = "", number: int = 1) -> None:
        super().__init__(reason, key, number)
        self.reason = reason
        self.key = key
        self.number = number

    def __str__(self) -> str:
        return self.reason


class TranscriptError(ScoopError, ValueError):
    """A snapshot or a journal cannot be decoded.

    ``offset`` is the position of the fault in bytes from the start, ``reason`` explains it.

    >>> print(TranscriptError(17, "invalid journal header"))
    byte 17: invalid journal header
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}"


class UnsupportedFormat(TranscriptError):
    """A snapshot or a journal has a format that this version does not support.

    >>> issubclass(UnsupportedFormat, TranscriptError)
    True
    """


class HistoryError(ScoopError, ValueError):
    """Files of a history cannot be read, or do not lead to the moment that was asked for. ``reason`` explains it.

    >>> print(HistoryError("data/journal-3 is missing; restore it from an archive"))
    data/journal-3 is missing; restore it from an archive
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class HistoryGone(HistoryError):
    """Batches that were asked for are no longer in a history, or never were.

    >>> issubclass(HistoryGone, HistoryError)
    True
    """


class UnreadableFile(HistoryError):
    """A file of a data directory or of a history is missing or damaged.

    ``kind`` is ``"snapshot"`` or ``"journal"``; ``problem`` is the reason without its way out. The cause of a damaged
    one is a :exc:`TranscriptError`.

    >>> print(UnreadableFile("journal", 3, "data/journal-3 is missing"))
    data/journal-3 is missing; restore it from an archive
    """

    def __init__(self, kind: str, generation: int, problem: str) -> None:
        super().__init__(f"{problem}; restore it from an archive")
        ScoopError.__init__(self, kind, generation, problem)  # what a copy is made from
        self.kind = kind
        self.generation = generation
        self.problem = problem
