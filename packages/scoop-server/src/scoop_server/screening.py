"""Screening of the text of requests before they are parsed: HTTP requests, and changes."""

import re
from typing import Final

READ_ONLY_PREFIX: Final = "(read-only) "
"""A prefix that makes a line malformed, and by which the log recognizes the reason."""

_CHANGE: Final = re.compile(r"^(?:INDEX|REMOVE)\|", re.MULTILINE)

# A method without a bar, so that no line of the protocol is taken for one.
is_http_request: Final = re.compile(r"[!-{}-~]+ [^ \n]* HTTP/[0-9]").match

has_change: Final = _CHANGE.search


class HttpRequestError(Exception):
    """The first line of a client is an HTTP request: most likely a web page made a browser send it."""


def reject_changes(lines: str) -> tuple[str, int]:
    r"""Return ``lines`` with each INDEX and REMOVE marked, so that it is answered ERROR, and their number.

    >>> reject_changes("INDEX|gmp|\nQUERY|gmp|\n")
    ('(read-only) INDEX|gmp|\nQUERY|gmp|\n', 1)
    """
    return _CHANGE.subn(rf"{READ_ONLY_PREFIX}\g<0>", lines)
