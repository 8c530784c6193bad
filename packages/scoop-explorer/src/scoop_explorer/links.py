"""URLs of pages about packages. They are stable.

A name may hold slashes and dots, which mean something in a path: slashes are encoded, and the names ``.`` and ``..``,
which browsers resolve in every encoding, go into the query.
"""

from typing import Final
from urllib.parse import quote, urlencode

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


def path_url(start: str, goal: str, **parameters: int) -> str:
    """Return the URL of the page of the path between two packages.

    >>> path_url("fftw", "gcc@5")
    '/path?from=fftw&to=gcc%405'
    """
    return f"/path?{urlencode({'from': start, 'to': goal, **parameters})}"
