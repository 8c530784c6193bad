"""Screening of the text of requests before they are parsed: HTTP requests, and requests that are not permitted."""

import re
from collections.abc import Callable
from typing import Final

READ_ONLY_PREFIX: Final = "(read-only) "
"""A prefix that makes a line malformed, and by which the log recognizes the reason."""

Screen = Callable[[str], tuple[str, int]]
"""Marks the requests in a text that are not permitted, so that they are answered ERROR; returns also their number."""

_CHANGE: Final = r"^(?=(?:INDEX|REMOVE)\|)"

# A method without a bar, so that no line of the protocol is taken for one.
is_http_request: Final = re.compile(r"[!-{}-~]+ [^ \n]* HTTP/[0-9]").match

has_change: Final = re.compile(_CHANGE, re.MULTILINE).search


class HttpRequestError(Exception):
    """The first line of a client is an HTTP request: most likely a web page made a browser send it."""


def marker(forbidden: str, prefix: str) -> Screen:
    r"""Return a screen that puts ``prefix`` before each line that the expression ``forbidden``, of no width, matches.

    >>> marker(r"^(?=REMOVE\|)", "(no) ")("REMOVE|gmp|\nQUERY|gmp|\n")
    ('(no) REMOVE|gmp|\nQUERY|gmp|\n', 1)
    """
    substitute = re.compile(forbidden, re.MULTILINE).subn
    return lambda lines: substitute(prefix, lines)


reject_changes: Final = marker(_CHANGE, READ_ONLY_PREFIX)
"""Marks each INDEX and REMOVE."""


def role_prefix(name: str) -> str:
    """Return the mark of a request that the role ``name`` does not permit: no command begins with it."""
    return f"(role {name}) "
