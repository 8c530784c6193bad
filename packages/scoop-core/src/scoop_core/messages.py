"""The vocabulary of the protocol: requests, answers, names, and how they are written on a line.

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
    answer       = ("OK" / "FAIL" / "ERROR") LF

Commands and answers are case-sensitive. Text is ``str``; bytes are decoded as latin-1, which cannot
fail, so that a byte above 0x7F is simply a character that no name may hold.
"""

import enum
import re
from dataclasses import dataclass
from typing import Final, NewType

from scoop_core.errors import InvalidName, MalformedRequest, MalformedResponse

MAX_NAME_LENGTH: Final = 255
"""The longest package name, in characters: what a file name may hold on common file systems."""

MAX_LINE_LENGTH: Final = 65_536
"""The longest line, in bytes before its newline, unless a server says otherwise.

The widest package of a large real index (Debian's) needs a tenth of it, and 10,000 clients that each
hold an unfinished line this long need 655 MB: bounded, and bearable.
"""

ENCODING: Final = "latin-1"
"""How bytes become text: one character a byte, never an error."""

PackageName = NewType("PackageName", str)
"""A text that :func:`parse_name` has checked."""

NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
"""All characters that a package name may hold."""

_NAME_PATTERN: Final = f"[{re.escape(NAME_CHARACTERS)}]{{1,{MAX_NAME_LENGTH}}}+"
_is_name: Final = re.compile(_NAME_PATTERN).fullmatch
_is_list_of_names: Final = re.compile(f"{_NAME_PATTERN}(?:,{_NAME_PATTERN})*+").fullmatch
"""Possessive, so that a hostile line of 64 KiB is refused in one pass."""
_names_that_go_on: Final = re.compile(f"(?:{_NAME_PATTERN},)*+").match
_NOT_A_NAME_CHARACTER: Final = re.compile(f"[^{re.escape(NAME_CHARACTERS)}]")


class Command(enum.StrEnum):
    """What a request asks for."""

    INDEX = "INDEX"
    REMOVE = "REMOVE"
    QUERY = "QUERY"


class Response(enum.StrEnum):
    """What a request is answered with."""

    OK = "OK"
    FAIL = "FAIL"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Request:
    """One well-formed message.

    ``dependencies`` keeps the order of the line and holds no name twice. Only INDEX gives it a meaning.
    """

    command: Command
    package: PackageName
    dependencies: tuple[PackageName, ...] = ()


def parse_name(text: str) -> PackageName:
    """Return ``text`` as a package name.

    Raises :exc:`InvalidName`, whose ``column`` and ``reason`` say what a name may not hold.

    >>> parse_name("gtk+3")
    'gtk+3'
    >>> parse_name("emacs elisp")
    Traceback (most recent call last):
    scoop_core.errors.InvalidName: a space at column 6 of the name: 'emacs elisp'
    """
    if _is_name(text):
        return PackageName(text)
    if not text:
        raise InvalidName(text, "an empty name")
    wrong = _NOT_A_NAME_CHARACTER.search(text)
    if wrong is None:
        raise InvalidName(text, f"a name of {len(text):,} characters, where {MAX_NAME_LENGTH} is the most")
    character = "a space" if wrong[0] == " " else ascii(wrong[0])
    column = wrong.start() + 1
    raise InvalidName(text, f"{character} at column {column} of the name", column)


def parse_names(text: str) -> tuple[PackageName, ...]:
    """Return the names of a comma-separated list, each once, in the order of their first appearance.

    An empty text is an empty list. Raises :exc:`InvalidName` for the first text between commas that is
    not a name, an empty one included.

    >>> parse_names("gmp,isl,gmp")
    ('gmp', 'isl')
    """
    if not text:
        return ()
    if not _is_list_of_names(text):
        sound = _names_that_go_on(text)
        parse_name(text[sound.end() if sound else 0 :].partition(",")[0])  # raises
    return tuple(map(PackageName, dict.fromkeys(text.split(","))))


def parse_request(line: str) -> Request:
    r"""Return the request that ``line`` spells. The line comes without its newline; one CR at its end is ignored.

    Raises :exc:`MalformedRequest`.

    >>> parse_request("INDEX|cloog|gmp,isl,pkg-config")
    Request(command=<Command.INDEX: 'INDEX'>, package='cloog', dependencies=('gmp', 'isl', 'pkg-config'))
    >>> parse_request("BLINDEX|a|b")
    Traceback (most recent call last):
    scoop_core.errors.MalformedRequest: 'BLINDEX' is not a command: 'BLINDEX|a|b'
    """
    fields = line.removesuffix("\r").split("|")
    if len(fields) != 3:
        raise MalformedRequest(line, f"{len(fields) - 1} bars, where a request has 2")
    command, package, names = fields
    if command not in _COMMANDS:
        raise MalformedRequest(line, f"{command[:20]!a} is not a command")
    try:
        return Request(_COMMANDS[command], parse_name(package), parse_names(names))
    except InvalidName as error:
        raise MalformedRequest(line, error.reason) from error


_COMMANDS: Final = {command.value: command for command in Command}


def encode_request(request: Request) -> str:
    r"""Return ``request`` as it goes on the wire, newline included.

    >>> encode_request(Request(Command.REMOVE, parse_name("cloog")))
    'REMOVE|cloog|\n'
    """
    return f"{request.command.value}|{request.package}|{','.join(request.dependencies)}\n"


def parse_response(line: str) -> Response:
    """Return the answer that ``line`` spells; the line comes without its newline.

    Raises :exc:`MalformedResponse`.

    >>> parse_response("FAIL")
    <Response.FAIL: 'FAIL'>
    """
    try:
        return Response(line)
    except ValueError:
        raise MalformedResponse(line, "neither OK nor FAIL nor ERROR") from None


def encode_response(response: Response) -> str:
    r"""Return ``response`` as it goes on the wire, newline included.

    >>> encode_response(Response.OK)
    'OK\n'
    """
    return f"{response.value}\n"
