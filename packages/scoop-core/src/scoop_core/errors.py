"""The exceptions of scoop_core, in one tree.

::

    ScoopError
    ├── ProtocolError            what the other side sent is not the protocol
    │   ├── InvalidName          a text is not a package name
    │   ├── MalformedRequest     a line is not a request
    │   └── MalformedResponse    a line is not an answer
    └── TranscriptError          a snapshot or a journal cannot be read whole
        └── UnsupportedFormat    it was written by a newer version

Bad input can raise these and nothing else; any other exception is a bug in scoop_core.
"""

from typing import Final

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
    """The root of every exception that scoop_core raises on bad input."""


class ProtocolError(ScoopError, ValueError):
    """What arrived is not what the protocol allows.

    ``text`` is the offending text, ``reason`` says in words what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {shown(self.text)}"


class InvalidName(ProtocolError):
    """A text is not a package name.

    ``column`` is the position of the first wrong character, counted from 1; 0 where the length is wrong.
    """

    def __init__(self, text: str, reason: str, column: int = 0) -> None:
        super().__init__(text, reason)
        self.column = column

    def __reduce__(self) -> tuple[type["InvalidName"], tuple[str, str, int]]:
        """Pickle with the column, which ``Exception`` does not know of."""
        return (type(self), (self.text, self.reason, self.column))


class MalformedRequest(ProtocolError):
    """A line is not a request."""


class MalformedResponse(ProtocolError):
    """A line is not one of the three answers."""


class TranscriptError(ScoopError, ValueError):
    """A snapshot or a journal cannot be read whole.

    ``offset`` is the place of the fault in bytes from the start, ``reason`` says what is wrong there.
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}"


class UnsupportedFormat(TranscriptError):
    """A snapshot or a journal was written in a format that this version does not know."""
