"""Refusals: the reasons of a FAIL, which the protocol does not transmit.

:meth:`DependencyGraph.explain <scoop_core.DependencyGraph.explain>` returns them. The attributes hold the names;
``str`` is one line for a person. Like requests they are named tuples: immutable, equal by content, and usable in
a ``match`` statement.
"""

from typing import Final, NamedTuple, TypeAlias

_NAMES_SHOWN: Final = 5
"""The limit of names in one line; further ones are counted."""


class MissingDependencies(NamedTuple):
    """The refusal of an INDEX: dependencies are not indexed.

    >>> print(MissingDependencies("isl", ("gmp",)))
    cannot index isl: gmp is not indexed
    """

    package: str
    missing: tuple[str, ...]
    """The dependencies that are not indexed, each once, in the order of the request."""

    def __str__(self) -> str:
        verb = "is" if len(self.missing) == 1 else "are"
        return f"cannot index {self.package}: {_join(self.missing)} {verb} not indexed"


class BlockedByDependents(NamedTuple):
    """The refusal of a REMOVE: other packages depend on the package.

    >>> print(BlockedByDependents("gmp", ("cloog", "isl")))
    cannot remove gmp: 2 packages depend on it: cloog, isl
    """

    package: str
    dependents: tuple[str, ...]
    """The other packages that depend on it directly, sorted."""

    def __str__(self) -> str:
        count = len(self.dependents)
        subject = "1 package depends" if count == 1 else f"{count:,} packages depend"
        return f"cannot remove {self.package}: {subject} on it: {_join(self.dependents)}"


class BlockedSet(NamedTuple):
    """The refusal to remove a set of packages together: other packages depend on some of them.

    >>> print(BlockedSet(("gmp", "isl"), ("cloog",)))
    cannot remove gmp, isl together: 1 other package depends on them: cloog
    """

    packages: tuple[str, ...]
    """The packages of the set that others depend on directly, sorted."""

    dependents: tuple[str, ...]
    """The packages outside the set that depend on them directly, sorted."""

    def __str__(self) -> str:
        count = len(self.dependents)
        subject = "1 other package depends" if count == 1 else f"{count:,} other packages depend"
        return f"cannot remove {_join(self.packages)} together: {subject} on them: {_join(self.dependents)}"


class ClosesCycle(NamedTuple):
    """The refusal of an INDEX by a graph that rejects cycles: it would close one.

    >>> print(ClosesCycle("gmp", ("gmp", "isl", "gmp")))
    cannot index gmp: it would close the cycle gmp -> isl -> gmp
    """

    package: str
    cycle: tuple[str, ...]
    """A shortest such cycle, from ``package`` to ``package``; each depends on the next."""

    def __str__(self) -> str:
        return f"cannot index {self.package}: it would close the cycle {' -> '.join(self.cycle)}"


class NotIndexed(NamedTuple):
    """The refusal of a QUERY: the package is not indexed.

    >>> print(NotIndexed("gmp"))
    gmp is not indexed
    """

    package: str

    def __str__(self) -> str:
        return f"{self.package} is not indexed"


Refusal: TypeAlias = MissingDependencies | BlockedByDependents | BlockedSet | ClosesCycle | NotIndexed
"""The reason of a FAIL, or that a set of packages cannot be removed."""


def _join(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
