"""The messages of the protocol: names, requests and responses, and their text form.

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
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, NewType, Self, TypeVar

from scoop_core.errors import InvalidName, MalformedRequest, MalformedResponse

MAX_NAME_LENGTH: Final = 255
"""The limit of a package name, in characters: the limit of a file name on common file systems."""

MAX_LINE_LENGTH: Final = 65_536
"""The default limit of a line, in bytes before its newline.

The longest line of a large real index (Debian's) is a tenth of it, and 10,000 clients with an incomplete line
of this length need 655 MB.
"""

ENCODING: Final = "latin-1"
"""The encoding of the protocol: one character for each byte, and no byte is invalid."""

PackageName = NewType("PackageName", str)
"""A valid package name, as :func:`parse_name` returns it."""

NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
"""The characters that are valid in a package name."""

_NAME_PATTERN: Final = f"[{re.escape(NAME_CHARACTERS)}]{{1,{MAX_NAME_LENGTH}}}"
is_name: Final = re.compile(_NAME_PATTERN).fullmatch
# Atomic, so that a hostile line of 64 KiB is rejected in one pass. PyPy matches nested possessive quantifiers
# incorrectly (it accepts "b,,c"), and atomic groups correctly.
_is_list_of_names: Final = re.compile(f"(?>{_NAME_PATTERN}(?:,{_NAME_PATTERN})*)").fullmatch
_valid_prefix: Final = re.compile(f"(?>(?:{_NAME_PATTERN},)*)").match
"""Matches the valid names before the first invalid one, each with its comma."""
_INVALID_CHARACTER: Final = re.compile(f"[^{re.escape(NAME_CHARACTERS)}]")


Names = TypeVar("Names", bound=Iterable[str])


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

    >>> Response("FAIL") is Response.FAIL
    True
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
    checks nothing; :meth:`of` does. (A named tuple, because importing ``dataclasses`` would double the import
    time of this package.)

    >>> request = parse_request("INDEX|isl|gmp")
    >>> request.package, request.dependencies
    ('isl', ('gmp',))
    """

    command: Command
    package: PackageName
    dependencies: tuple[PackageName, ...] = ()

    @classmethod
    def of(cls, command: Command, package: str, dependencies: Iterable[str] = ()) -> Self:
        """Check the names and return the request. Raises :exc:`InvalidName`.

        >>> Request.of(Command.INDEX, "isl", ["gmp", "gmp"])
        Request(command=<Command.INDEX: 'INDEX'>, package='isl', dependencies=('gmp',))
        """
        return cls(command, parse_name(package), tuple(dict.fromkeys(map(parse_name, listed_names(dependencies)))))


def listed_names(names: Names) -> Names:
    """Return ``names``, but reject a single string: iterating it would yield its characters.

    >>> listed_names("gmp")
    Traceback (most recent call last):
    TypeError: expected an iterable of names, got the string 'gmp'
    """
    if isinstance(names, str):
        raise TypeError(f"expected an iterable of names, got the string {names!r}")
    return names


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
    fault, column = _find_fault(text)
    raise InvalidName(text, f"{fault} at column {column} of the name" if column else fault, column)


def _find_fault(text: str) -> tuple[str, int]:
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


def parse_request(line: str) -> Request:
    r"""Parse a line without its newline; one CR at its end is ignored.

    Raises :exc:`MalformedRequest` with the reason and the column.

    >>> parse_request("INDEX|cloog|gmp,isl,pkg-config")
    Request(command=<Command.INDEX: 'INDEX'>, package='cloog', dependencies=('gmp', 'isl', 'pkg-config'))
    >>> parse_request("BLINDEX|a|b")
    Traceback (most recent call last):
    scoop_core.errors.MalformedRequest: unknown command 'BLINDEX': 'BLINDEX|a|b'
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
    fault, column = _find_fault(error.text)
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
    return f"{request.command.value}|{parse_name(request.package)}|{names}\n"


_REQUEST_CHARACTERS: Final = f"{NAME_CHARACTERS},|\n".encode(ENCODING)
_EMPTY_NAMES: Final = ("||", "|,", ",,", ",\n")
"""The texts that an empty name makes in a line."""


def encode_requests(requests: Sequence[Request]) -> bytes:
    r"""Return the bytes of what :func:`encode_request` returns for all of ``requests``. Raises the same.

    It takes a third of the time, because it checks all names together.

    >>> encode_requests([Request.of(Command.REMOVE, "cloog"), Request.of(Command.INDEX, "isl", ["gmp"])])
    b'REMOVE|cloog|\nINDEX|isl|gmp\n'
    """
    queried = [package for command, package, names in requests if command is Command.QUERY and not names]
    if queried and len(queried) == len(requests):  # the most common batch, in half of the time
        data = ("QUERY|" + "|\nQUERY|".join(queried) + "|\n").encode(ENCODING, "replace")
        is_plain = (
            data.count(b"|") == 2 * data.count(b"\n") == 2 * len(queried) and b"||" not in data and b"," not in data
        )
        if is_plain and len(max(queried, key=len)) <= MAX_NAME_LENGTH and not data.translate(None, _REQUEST_CHARACTERS):
            return data
    # Joined without f-strings, which would look up the format of each member of an enum.
    lines = [
        "|".join((command, package, ",".join(names) + "\n" if names else "\n")) for command, package, names in requests
    ]
    listed = [listed_names(names) for _, _, names in requests if names]
    text = "".join(lines)
    if (
        text.isascii()
        and not (data := text.encode(ENCODING)).translate(None, _REQUEST_CHARACTERS)
        # A name with a separator would add to one of these numbers; none of them can become smaller.
        and data.count(b"\n") == len(lines)
        and data.count(b"|") == 2 * len(lines)
        and data.count(b",") == sum(map(len, listed)) - len(listed)
        and not any(empty in text for empty in _EMPTY_NAMES)
        and ("",) not in listed
        and (len(max(lines, key=len, default="")) <= MAX_NAME_LENGTH or _are_requests(text))
    ):
        return data
    return "".join(map(encode_request, requests)).encode(ENCODING)


_are_requests: Final = re.compile(
    rf"(?>(?:INDEX|REMOVE|QUERY)\|{_NAME_PATTERN}\|(?>(?:{_NAME_PATTERN}(?:,{_NAME_PATTERN})*)?)\n)*"
).fullmatch
"""Needed only for long lines: in a short one no name is too long."""


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
