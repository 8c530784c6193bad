"""Why a request is answered FAIL: what the wire does not tell, as values that a program or a person can read.

:meth:`DependencyGraph.explain <scoop_core.DependencyGraph.explain>` makes them. Each has the names as
attributes, and says the same in one line as ``str``. Like requests they are named tuples: immutable,
equal by content, and usable in a ``match`` statement.
"""

from typing import Final, NamedTuple, TypeAlias

_NAMES_SHOWN: Final = 5
"""How many packages a line for a person names before it only counts them."""


class MissingDependencies(NamedTuple):
    """An INDEX is refused because dependencies are not indexed.

    >>> print(MissingDependencies("isl", ("gmp",)))
    isl cannot be indexed: gmp is not indexed
    """

    package: str
    missing: tuple[str, ...]
    """The dependencies that are not indexed, each once, in the order of the request."""

    def __str__(self) -> str:
        verb = "is" if len(self.missing) == 1 else "are"
        return f"{self.package} cannot be indexed: {_join(self.missing)} {verb} not indexed"


class BlockedByDependents(NamedTuple):
    """A REMOVE is refused because other packages depend on this one.

    >>> print(BlockedByDependents("gmp", ("cloog", "isl")))
    gmp cannot be removed: 2 packages depend on it: cloog, isl
    """

    package: str
    dependents: tuple[str, ...]
    """The other packages that depend on it directly, sorted."""

    def __str__(self) -> str:
        count = len(self.dependents)
        subject = "1 package depends" if count == 1 else f"{count:,} packages depend"
        return f"{self.package} cannot be removed: {subject} on it: {_join(self.dependents)}"


class ClosesCycle(NamedTuple):
    """An INDEX is refused by a graph that rejects cycles, because it would close one.

    >>> print(ClosesCycle("gmp", ("gmp", "isl", "gmp")))
    gmp cannot be indexed: it would close the cycle gmp -> isl -> gmp
    """

    package: str
    cycle: tuple[str, ...]
    """The packages around a shortest such cycle, from ``package`` to ``package``; each needs the next."""

    def __str__(self) -> str:
        return f"{self.package} cannot be indexed: it would close the cycle {' -> '.join(self.cycle)}"


class NotIndexed(NamedTuple):
    """A QUERY is answered FAIL because the package is not indexed.

    >>> print(NotIndexed("gmp"))
    gmp is not indexed
    """

    package: str

    def __str__(self) -> str:
        return f"{self.package} is not indexed"


Refusal: TypeAlias = MissingDependencies | BlockedByDependents | ClosesCycle | NotIndexed
"""Why a request is answered FAIL."""


def _join(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
