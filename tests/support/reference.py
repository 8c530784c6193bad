"""Reference implementation of the division of a stream into lines and batches."""


def reference_lines(stream: bytes, max_line_length: int) -> list[str]:
    """Return the lines of a stream, without newline; an empty one for each over the limit."""
    *complete, rest = stream.split(b"\n")
    if len(rest) > max_line_length:
        complete.append(rest)
    return [line.decode("latin-1") if len(line) <= max_line_length else "" for line in complete]


def reference_batch(stream: bytes, max_line_length: int) -> str:
    """Return the lines as a batch: each with a newline, and without a CR at its end."""
    return "".join(line.removesuffix("\r") + "\n" for line in reference_lines(stream, max_line_length))
