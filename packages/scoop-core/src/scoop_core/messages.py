"""The messages of the protocol: names, requests and responses, their text form, counts of them, and what they changed.

The grammar, as ABNF (RFC 5234)::

    message      = line LF
    line         = request [CR]
    request      = index / remove / query
    index        = "INDEX|" name "|" [names]
    remove       = "REMOVE|" name "|" [names]       ; the names are ignored
    query        = "QUERY|" name "|" [names]        ; the names are ignored
    names        = name *("," name)
    name         = 1*255name-char
    name-char    = ALPHA / DIGIT / "_" / "-" / "+" / "." / "@" / "/" / ":" / "~"
    response     = ("OK" / "FAIL" / "ERROR") LF

Commands and responses are case-sensitive. Text is ``str``. Bytes are decoded as latin-1, which cannot fail:
a byte above 0x7F becomes a character that is invalid in a name.
"""

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple, Self

from scoop_core.errors import InvalidName, MalformedRequest, MalformedResponse
from scoop_core.names import NAME_PATTERN, PackageName, find_fault, listed_names, parse_name, parse_names

MAX_LINE_LENGTH: Final = 65_536
"""The default limit of a line, in bytes before its newline.

The longest line of Debian's index is a tenth of it, and 10,000 clients with an incomplete line of it need 655 MB.
"""

ENCODING: Final = "latin-1"
"""The encoding of the protocol: one character for each byte, and no byte is invalid."""


class Command(enum.StrEnum):
    """The command of a request.

    >>> Command("INDEX")
    <Command.INDEX: 'INDEX'>
    """

    INDEX = "INDEX"
    REMOVE = "REMOVE"
    QUERY = "QUERY"


class Response(enum.StrEnum):
    """The response to a request. It is true if it is OK, so that ``if graph.remove("gmp"):`` tests for success.

    >>> [bool(response) for response in Response]
    [True, False, False]
    """

    OK = "OK"
    FAIL = "FAIL"
    ERROR = "ERROR"

    def __bool__(self) -> bool:
        return self is Response.OK


class Request(NamedTuple):
    """A request, as :meth:`of` or :func:`parse_request` makes it.

    ``dependencies`` holds each name once, in the order of the line; only INDEX uses them. The constructor
    checks nothing; :meth:`of` does.

    >>> parse_request("INDEX|isl|gmp").dependencies
    ('gmp',)
    """

    command: Command
    package: PackageName
    dependencies: tuple[PackageName, ...] = ()

    @classmethod
    def of(cls, command: Command | str, package: str, dependencies: Iterable[str] = ()) -> Self:
        """Check the command and the names, and return the request.

        Raises :exc:`InvalidName`, and :exc:`MalformedRequest` for a text that is no command.

        >>> Request.of(Command.INDEX, "isl", ["gmp", "gmp"])
        Request(command=<Command.INDEX: 'INDEX'>, package='isl', dependencies=('gmp',))
        """
        if command not in _COMMANDS:
            raise MalformedRequest(command, f"unknown command {command[:20]!a}", 1)
        return cls(
            _COMMANDS[command], parse_name(package), tuple(dict.fromkeys(map(parse_name, listed_names(dependencies))))
        )


def parse_request(line: str) -> Request:
    r"""Parse a line without its newline; one CR at its end is ignored.

    Raises :exc:`MalformedRequest` with the reason and the column.

    >>> parse_request("INDEX|cloog|gmp,isl,pkg-config")
    Request(command=<Command.INDEX: 'INDEX'>, package='cloog', dependencies=('gmp', 'isl', 'pkg-config'))
    >>> parse_request("INDEX|emacs elisp|")
    Traceback (most recent call last):
    scoop_core.errors.MalformedRequest: invalid space at column 12 of the line: 'INDEX|emacs elisp|'
    """
    fields = line.removesuffix("\r").split("|")
    if len(fields) != 3:
        raise MalformedRequest(line, f"expected 2 bars, got {len(fields) - 1}")
    command, package, names = fields
    if command not in _COMMANDS:
        raise MalformedRequest(line, f"unknown command {command[:20]!a}", 1)
    try:
        return Request(_COMMANDS[command], parse_name(package), parse_names(names))
    except InvalidName as error:
        raise _locate(line, error, package, names) from error


def _locate(line: str, error: InvalidName, package: str, names: str) -> MalformedRequest:
    """Return the error of a name as an error of the line, with the column of the line."""
    fields = [package, *names.split(",")]
    before = fields[: fields.index(error.text)]
    # One character precedes each name: a bar or a comma.
    start = line.index("|") + 1 + sum(len(name) + 1 for name in before)
    fault, column = find_fault(error.text)
    column = start + max(column, 1)
    return MalformedRequest(line, f"{fault} at column {column} of the line", column)


_COMMANDS: Final = {command.value: command for command in Command}

NOT_A_RESPONSE: Final = "expected OK, FAIL or ERROR"
"""The reason of an error about a line that is not a response."""


def encode_request(request: Request) -> str:
    r"""Return the line of ``request``, newline included.

    The names are checked again, because :class:`Request` can be made without :meth:`Request.of`, and a newline
    in a name would begin a second request. Raises :exc:`InvalidName`.

    >>> encode_request(Request.of(Command.REMOVE, "cloog"))
    'REMOVE|cloog|\n'
    """
    names = ",".join(map(parse_name, listed_names(request.dependencies)))
    return f"{_COMMANDS[request.command]}|{parse_name(request.package)}|{names}\n"


_are_requests: Final = re.compile(
    rf"(?>(?:INDEX|REMOVE|QUERY)\|{NAME_PATTERN}\|(?>(?:{NAME_PATTERN}(?:,{NAME_PATTERN})*)?)\n)*"
).fullmatch


def encode_requests(requests: Sequence[Request]) -> bytes:
    r"""Return the bytes of what :func:`encode_request` returns for all of ``requests``. Raises the same.

    It takes some third of the time, because it checks all names together.
    """
    # Joined without f-strings, which would look up the format of each member of an enum.
    text = "".join(
        ["|".join((command, name, ",".join(names) + "\n" if names else "\n")) for command, name, names in requests]
    )
    listed = [listed_names(names) for _, _, names in requests if names]
    # A name with a separator, or an empty list item, would add or take away one.
    is_valid = (
        _are_requests(text)
        and text.count("\n") == len(requests)
        and text.count(",") == sum(map(len, listed)) - len(listed)
        and ("",) not in listed
    )
    return (text if is_valid else "".join(map(encode_request, requests))).encode(ENCODING)


def parse_response(line: str) -> Response:
    """Parse a line without its newline. Raises :exc:`MalformedResponse`.

    >>> parse_response("FAIL")
    <Response.FAIL: 'FAIL'>
    """
    try:
        return Response(line)
    except ValueError:
        raise MalformedResponse(line, NOT_A_RESPONSE) from None


def encode_response(response: Response) -> str:
    r"""Return the line of ``response``, newline included.

    >>> encode_response(Response.OK)
    'OK\n'
    """
    return f"{response.value}\n"


OK: Final = "OK\n"
FAIL: Final = "FAIL\n"
ERROR: Final = "ERROR\n"

_QUERY_OK: Final = ("QUERY", OK)
_INDEX_OK: Final = ("INDEX", OK)
_REMOVE_OK: Final = ("REMOVE", OK)

_ONE_VALID: Final = {(0, 0): "QUERY", (1, 0): "INDEX", (0, 1): "REMOVE"}
"""The command of a single well-formed request, given its numbers of INDEX and REMOVE."""

UNKNOWN: Final = "unknown"
"""The command of a line without a valid command."""


class Tally:
    r"""The number of requests for each command and response.

    One thread may read while another counts; it sees each count before or after a batch.

    >>> from scoop_core import DependencyGraph
    >>> answers = DependencyGraph().apply_lines("INDEX|a|\nQUERY|b|\n", tally=(tally := Tally()))
    >>> [(command, str(response)) for command, response, count in tally if count]
    [('INDEX', 'OK'), ('QUERY', 'FAIL')]
    """

    __slots__ = ("_counts", "present_queries")

    def __init__(self) -> None:
        # Every key exists from the start, so that the size does not change while another thread iterates.
        self._counts = {(str(command), encode_response(each)): 0 for command, each in product(Command, Response)}
        self._counts[UNKNOWN, ERROR] = 0
        self.present_queries: int = 0
        """The QUERYs in batches that consist of nothing but QUERYs for indexed packages: one addition per batch."""

    def __iter__(self) -> Iterator[tuple[str, Response, int]]:
        """Yield command, response and count for each possible pair, ``"unknown"`` last."""
        for (command, response), count in self._counts.items():
            is_batched = (command, response) == _QUERY_OK
            yield command, Response(response[:-1]), count + self.present_queries * is_batched

    def __repr__(self) -> str:
        return f"<Tally: {sum(count for _, _, count in self):,} requests>"

    def _count(self, requests: int, indexes: int, removes: int, failed: list[str], broken: list[str]) -> None:
        """Count ``requests``, of which ``indexes`` are INDEX and ``removes`` are REMOVE.

        ``failed`` and ``broken`` are the commands of those answered FAIL and ERROR; the others were answered OK.
        """
        counts = self._counts
        if requests == 1:
            command = broken[0] if broken else _ONE_VALID[indexes, removes]
            counts[command, FAIL if failed else ERROR if broken else OK] += 1
            return
        queries = requests - indexes - removes  # including those without a valid command
        for response, commands in ((FAIL, failed), (ERROR, broken)):
            if commands:
                refused_indexes, refused_removes = commands.count("INDEX"), commands.count("REMOVE")
                others = len(commands) - refused_indexes - refused_removes
                unknown = commands.count(UNKNOWN)
                counts["INDEX", response] += refused_indexes
                counts["REMOVE", response] += refused_removes
                counts["QUERY", response] += others - unknown
                if unknown:
                    counts[UNKNOWN, response] += unknown
                indexes -= refused_indexes
                removes -= refused_removes
                queries -= others
        counts[_QUERY_OK] += queries
        counts[_INDEX_OK] += indexes
        counts[_REMOVE_OK] += removes


class PackageChange(NamedTuple):
    """The change of one package: its dependencies before and after, None if it is not indexed.

    >>> PackageChange("isl", None, ("gmp",))
    PackageChange(package='isl', before=None, after=('gmp',))
    """

    package: str
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None


def package_change(package: str, before: str | None, after: str | None) -> PackageChange:
    """Return the change from one list as text to another; None: the package is not indexed."""
    return PackageChange(
        package, *(None if text is None else tuple(text.split(",") if text else ()) for text in (before, after))
    )


class Changes:
    r"""The changes that requests made, in order: enough to repeat them, and to undo them.

    ``lines[i]`` is the request that made change ``i``, in its wire form without newline;
    ``previous[i]`` is the dependency list that it replaced, as text, or None if the package was not
    indexed before. Applied to an equal graph, the lines lead to an equal graph.
    ``reordered``, unless it is None, gets package, previous and new list of each INDEX that only reordered a list.

    >>> from scoop_core import DependencyGraph
    >>> DependencyGraph().apply_lines("INDEX|gmp|\nREMOVE|gmp|\n", changes := Changes())
    'OK\nOK\n'
    >>> list(zip(changes.lines, changes.previous))
    [('INDEX|gmp|', None), ('REMOVE|gmp|', '')]
    """

    __slots__ = ("lines", "previous", "reordered")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.previous: list[str | None] = []
        self.reordered: list[tuple[str, str, str]] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"<Changes: {len(self.lines)}>"

    @property
    def entries(self) -> tuple[PackageChange, ...]:
        """The changes as values.

        >>> from scoop_core import DependencyGraph
        >>> DependencyGraph().index("gmp", changes=(changes := Changes()))
        <Response.OK: 'OK'>
        >>> changes.entries
        (PackageChange(package='gmp', before=None, after=()),)
        """
        parts = [line.split("|") for line in self.lines]
        return tuple(
            package_change(package, before, listed if command == "INDEX" else None)
            for (command, package, listed), before in zip(parts, self.previous, strict=True)
        )

    def clear(self) -> None:
        """Forget all changes.

        >>> Changes().clear()
        """
        self.lines.clear()
        self.previous.clear()
        if self.reordered is not None:
            self.reordered.clear()
