"""URLs of pages about packages. They are stable.

A name may hold slashes and dots, which mean something in a path: slashes are encoded, and the names ``.`` and ``..``,
which browsers resolve in every encoding, go into the query.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus, urlencode

from markupsafe import Markup

_KEPT: Final = 16_384
"""Links and quoted names that are kept, a few megabytes. A page of 200 changes takes 8 ms of processor time instead of
16 ms, one of 500 indirect dependents 5 ms instead of 12 ms."""

_UNCHANGED: Final = "@+:~"
"""Characters of names that a path may hold as they are, beside letters, digits and ``_-.``."""


def package_url(name: str, page: str = "packages", **parameters: str | int) -> str:
    """Return the URL of a page about a package.

    >>> package_url("openssl"), package_url("@scope/name", "removal", offset=500)
    ('/packages/openssl', '/removal/@scope%2Fname?offset=500')
    >>> package_url("..")
    '/packages?name=..'
    """
    if name in {".", ".."}:
        return f"/{page}?{urlencode({'name': name, **parameters})}"
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"/{page}/{quote(name, safe=_UNCHANGED)}{query}"


@lru_cache(_KEPT)
def package_link(name: str) -> Markup:
    """Return the HTML of a link to the page of a package.

    >>> str(package_link("a/b"))
    '<a href="/packages/a%2Fb">a/b</a>'
    """
    return Markup('<a href="%s">%s</a>') % (package_url(name), name)


def package_links(names: Iterable[str]) -> Markup:
    """Return the HTML of links to packages, separated by commas."""
    return Markup(", ").join(map(package_link, names))


_quoted = lru_cache(_KEPT)(quote_plus)


def path_url(start: str, goal: str, **parameters: int) -> str:
    """Return the URL of the page of the path between two packages.

    >>> path_url("fftw", "gcc@5")
    '/path?from=fftw&to=gcc%405'
    """
    rest = f"&{urlencode(parameters)}" if parameters else ""
    return f"/path?from={_quoted(start)}&to={_quoted(goal)}{rest}"
