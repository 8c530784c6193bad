"""The exceptions of scoop_core, in one tree.

::

    ScoopError
    ├── ProtocolError            what the other side sent is not the protocol
    │   ├── InvalidName          a text is not a package name
    │   ├── MalformedRequest     a line is not a request
    │   ├── MalformedResponse    a line is not an answer
    │   └── PeerViolation        a server's answers do not fit the questions
    ├── LimitExceeded            a client wants to send more than the connection allows
    ├── UnknownPackage           a package that is asked about is not indexed
    ├── RequestRefused           a graph cannot be built, because a request is refused
    └── TranscriptError          a snapshot or a journal cannot be read whole
        └── UnsupportedFormat    it was written by a newer version

Bad input can raise these and nothing else; any other exception is a bug in scoop_core, or in a caller that
passes what the types forbid or goes on after the end of a stream. What each carries, it carries as
attributes; its ``str`` is one line for a person.
"""

from typing import Final

from scoop_core.refusals import Refusal

_SHOWN_CHARACTERS: Final = 80
"""How much of a hostile text an error message repeats: enough to find it, too little to flood a log."""


def shown(text: str) -> str:
    r"""Return ``text`` quoted for a person: escaped, and cut when it is long.

    >>> print(shown("tab\there"))
    'tab\there'
    """
    if len(text) <= _SHOWN_CHARACTERS:
        return ascii(text)
    return f"{text[:_SHOWN_CHARACTERS]!a}… ({len(text):,} characters)"


class ScoopError(Exception):
    """The root of every exception that scoop_core raises on bad input.

    >>> from scoop_core import parse_request
    >>> try:
    ...     parse_request("LIZARD|a|")
    ... except ScoopError as error:
    ...     print(error)
    'LIZARD' is not a command: 'LIZARD|a|'
    """


class ProtocolError(ScoopError, ValueError):
    """What arrived is not what the protocol allows.

    ``text`` is the offending text, ``reason`` says in words what is wrong with it, and ``column`` is the
    position of the first wrong character, counted from 1; 0 where no single place is wrong.

    >>> error = ProtocolError("a b", "a space", 2)
    >>> error.text, error.reason, error.column
    ('a b', 'a space', 2)
    """

    def __init__(self, text: str, reason: str, column: int = 0) -> None:
        super().__init__(text, reason, column)
        self.text = text
        self.reason = reason
        self.column = column

    def __str__(self) -> str:
        return f"{self.reason}: {shown(self.text)}"


class InvalidName(ProtocolError):
    """A text is not a package name. ``column`` is 0 where the length is wrong.

    >>> from scoop_core import parse_name
    >>> try:
    ...     parse_name("emacs elisp")
    ... except InvalidName as error:
    ...     print(error.column, error.reason)
    6 a space at column 6 of the name
    """


class MalformedRequest(ProtocolError):
    """A line is not a request. ``column`` counts along the line; 0 where the number of its bars is wrong.

    >>> from scoop_core import parse_request
    >>> try:
    ...     parse_request("INDEX|emacs|lisp,e=mc2")
    ... except MalformedRequest as error:
    ...     print(error.column, error.reason)
    19 '=' at column 19 of the line
    """


class MalformedResponse(ProtocolError):
    """A line is not one of the three answers.

    >>> from scoop_core import parse_response
    >>> try:
    ...     parse_response("YES")
    ... except MalformedResponse as error:
    ...     print(error.text)
    YES
    """


class PeerViolation(ProtocolError):
    r"""A server answered what was not asked, sent a line that is no answer, or ended with questions open.

    The connection is of no more use. ``text`` is the line at fault, as far as it arrived.

    >>> from scoop_core import ClientConnection
    >>> try:
    ...     ClientConnection().receive(b"OK\n")
    ... except PeerViolation as error:
    ...     print(error)
    an answer without a question: 'OK'
    """


class LimitExceeded(ScoopError, ValueError):
    """A client's request is over a limit of its connection, and was not sent.

    ``limit`` is the most that is allowed, ``actual`` what it would have become, ``unit`` what is counted.

    >>> from scoop_core import ClientConnection, Command, Request
    >>> client = ClientConnection(max_line_length=10)
    >>> try:
    ...     client.send(Request.of(Command.QUERY, "pkg-config"))
    ... except LimitExceeded as error:
    ...     print(error.actual, error.limit, error.unit)
    17 10 bytes in a line
    """

    def __init__(self, actual: int, limit: int, unit: str) -> None:
        super().__init__(actual, limit, unit)
        self.actual = actual
        self.limit = limit
        self.unit = unit

    def __str__(self) -> str:
        return f"{self.actual:,} {self.unit}, where {self.limit:,} are the most"


class UnknownPackage(ScoopError, KeyError):
    """A package that is asked about is not indexed. ``package`` is its name.

    >>> from scoop_core import DependencyGraph
    >>> try:
    ...     DependencyGraph().dependencies("gmp")
    ... except UnknownPackage as error:
    ...     print(error.package)
    gmp
    """

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return f"the package {shown(self.package)} is not indexed"


class RequestRefused(ScoopError, ValueError):
    """A graph cannot be built as asked, because a request is answered FAIL. ``refusal`` says why.

    >>> from scoop_core import DependencyGraph
    >>> try:
    ...     DependencyGraph.from_mapping({"isl": ["gmp"]})
    ... except RequestRefused as error:
    ...     print(error.refusal)
    isl cannot be indexed: gmp is not indexed
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __str__(self) -> str:
        return str(self.refusal)


class TranscriptError(ScoopError, ValueError):
    """A snapshot or a journal cannot be read whole.

    ``offset`` is the place of the fault in bytes from the start, ``reason`` says what is wrong there.

    >>> from scoop_core import decode_snapshot
    >>> try:
    ...     decode_snapshot(b"INDEX|gmp|")
    ... except TranscriptError as error:
    ...     print(error)
    byte 0: no snapshot: the first line is not a header
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}"


class UnsupportedFormat(TranscriptError):
    r"""A snapshot or a journal was written in a format that this version does not know.

    >>> from scoop_core import decode_snapshot
    >>> try:
    ...     decode_snapshot(b"#scoop snapshot 9\n")
    ... except UnsupportedFormat as error:
    ...     print(error.reason)
    the snapshot has format 9; this version reads format 1
    """
