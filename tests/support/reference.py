"""The lines of a stream by the plainest means, to compare a connection with and to feed the levels below it."""


def reference_lines(stream: bytes, max_line_length: int) -> list[str]:
    """Return the lines that a whole stream asks, without newline; an empty one for each over the limit."""
    *complete, rest = stream.split(b"\n")
    if len(rest) > max_line_length:
        complete.append(rest)
    return [line.decode("latin-1") if len(line) <= max_line_length else "" for line in complete]


def reference_batch(stream: bytes, max_line_length: int) -> str:
    """Return the same lines as a batch: each without the one CR that may end it, and with a newline."""
    return "".join(line.removesuffix("\r") + "\n" for line in reference_lines(stream, max_line_length))
