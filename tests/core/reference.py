"""The lines of a stream by the plainest means, to compare a connection with and to feed the levels below it."""

from tests.core.protocol_cases import ProtocolCase


def reference_lines(stream: bytes, max_line_length: int) -> list[str]:
    """Return the lines that a whole stream asks, without their ends; an empty one for each over the limit."""
    *complete, rest = stream.split(b"\n")
    if len(rest) > max_line_length:
        complete.append(rest)
    return [line.removesuffix(b"\r").decode("latin-1") if len(line) <= max_line_length else "" for line in complete]


def setup_lines(case: ProtocolCase) -> list[str]:
    """Return the lines that prepare ``case``."""
    return reference_lines(case.setup, case.max_line_length)


def sent_lines(case: ProtocolCase) -> list[str]:
    """Return the lines that ``case`` is about."""
    return reference_lines(case.sent, case.max_line_length)
