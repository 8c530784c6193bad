"""The server's side of one connection, without I/O: bytes in, complete lines out.

The connection cuts what arrives into lines, whatever pieces it arrives in, and hands on *batches*: text of
complete lines, each ended by exactly one newline, ready for
:meth:`DependencyGraph.apply_lines <scoop_core.DependencyGraph.apply_lines>`. It keeps the line that is
still arriving, and never more of it than the line limit. Answers leave in the order of the lines, because
a batch is answered as a whole.
"""

import enum
from typing import Final

from scoop_core.messages import ENCODING, MAX_LINE_LENGTH

_EMPTY_LINE: Final = "\n"
"""Stands in a batch for a line over the limit, because it is answered ERROR as well."""


class ConnectionState(enum.Enum):
    """Where in the stream of bytes a connection stands."""

    BETWEEN_LINES = enum.auto()
    """At the start of a line."""
    IN_LINE = enum.auto()
    """Some bytes of a line have arrived, and its newline has not."""
    SKIPPING = enum.auto()
    """In a line over the limit, which has had its ERROR; the rest of it is dropped as it arrives."""
    ENDED = enum.auto()
    """The peer will send no more."""


_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES
"""A global name is found faster than a member of an enum, and this one is asked for with every read."""


class Connection:
    r"""The server's side of one connection.

    ``max_line_length`` counts the bytes of a line before its newline.

    >>> connection = Connection()
    >>> connection.receive(b"QUERY|a|\nQUERY|")
    'QUERY|a|\n'
    >>> connection.state
    <ConnectionState.IN_LINE: 2>
    >>> connection.receive(b"b|\r\n")
    'QUERY|b|\n'
    """

    __slots__ = ("_incomplete", "_max_line_length", "state")

    def __init__(self, *, max_line_length: int = MAX_LINE_LENGTH) -> None:
        if max_line_length < 1:
            raise ValueError(f"a line limit of {max_line_length} bytes leaves no room for a message")
        self._max_line_length = max_line_length
        self._incomplete = bytearray()
        self.state = ConnectionState.BETWEEN_LINES

    def receive(self, data: bytes) -> str:
        """Take in bytes from the peer; return the batch of the lines that they complete, empty if none.

        A line over the limit is replaced in its turn by one that is answered ERROR, as soon as it is over.
        Raises RuntimeError after :meth:`receive_end`.
        """
        # What nearly always arrives: whole lines, after whole lines.
        if self.state is ConnectionState.BETWEEN_LINES and data.endswith(b"\n") and len(data) <= self._max_line_length:
            text = data.decode(ENCODING)
            return text.replace("\r\n", "\n") if "\r" in text else text
        return self._receive_in_pieces(data)

    def receive_end(self) -> None:
        """Take in the end of the peer's stream. What stands after its last newline is no message."""
        self._incomplete.clear()
        self.state = ConnectionState.ENDED

    def _receive_in_pieces(self, data: bytes) -> str:
        if self.state is ConnectionState.ENDED:
            raise RuntimeError("bytes after the end of the stream")
        if self.state is ConnectionState.SKIPPING:
            end = data.find(b"\n")
            if end < 0:
                return ""
            data = data[end + 1 :]
            self.state = ConnectionState.BETWEEN_LINES
        # Only new bytes are searched, so a line that arrives byte by byte costs linear time.
        end = data.rfind(b"\n") + 1
        batch = ""
        if end:
            batch = self._complete_lines(bytes(self._incomplete) + data[:end])
            self._incomplete.clear()
        if len(self._incomplete) + len(data) - end > self._max_line_length:
            self._incomplete.clear()
            self.state = ConnectionState.SKIPPING
            return batch + _EMPTY_LINE
        self._incomplete += memoryview(data)[end:]
        self.state = ConnectionState.IN_LINE if self._incomplete else ConnectionState.BETWEEN_LINES
        return batch

    def _complete_lines(self, data: bytes) -> str:
        text = data.decode(ENCODING)
        if len(text) > self._max_line_length:
            # The limit counts what arrived, so it comes before the carriage returns go.
            lines = text.split("\n")
            text = "\n".join(line if len(line) <= self._max_line_length else "" for line in lines)
        return text.replace("\r\n", "\n")
