"""A reference implementation of the index: a dictionary of sets that is scanned for every request."""

import re
from collections.abc import Iterable
from math import inf
from typing import Final

from scoop_core import DependencyGraph

_NAME: Final = r"[A-Za-z0-9_\-+.@/:~]{1,255}"
_LINE: Final = re.compile(rf"(INDEX|REMOVE|QUERY)\|({_NAME})\|({_NAME}(?:,{_NAME})*)?")


class NaiveIndex:
    """The reference for DependencyGraph. Responses are as on the wire, without newline."""

    def __init__(
        self,
        state: dict[str, frozenset[str]] | None = None,
        *,
        reject_cycles: bool = False,
        search_limit: float = inf,
    ) -> None:
        self.state = dict(state or {})
        self.reject_cycles = reject_cycles
        self.search_limit = search_limit

    def answer(self, line: str) -> str:
        """Answer a line without its newline."""
        match = _LINE.fullmatch(line)
        if match is None:
            return "ERROR"
        command, package, listed = match.groups()
        if command == "INDEX":
            return self.index(package, frozenset(listed.split(",") if listed else ()))
        if command == "REMOVE":
            return self.remove(package)
        return self.query(package)

    def index(self, package: str, dependencies: frozenset[str]) -> str:
        if not dependencies <= self.state.keys():
            return "FAIL"
        new = dependencies - self.state.get(package, frozenset())
        if self.reject_cycles and any(self.needs(name, package) for name in new):
            return "FAIL"
        if self.search_cost(package, dependencies) > self.search_limit:
            return "FAIL"
        self.state[package] = dependencies
        return "OK"

    def search_cost(self, package: str, dependencies: frozenset[str]) -> int:
        """Return how many packages and dependencies an INDEX needs to visit to rule out a cycle."""
        if not self.reject_cycles or not self.dependents(package) or package in dependencies - self.state[package]:
            return 0
        needed = self._all_needed(dependencies - self.state[package])
        return sum(1 + len(self.state[name]) for name in needed)

    def remove(self, package: str) -> str:
        if self.dependents(package):
            return "FAIL"
        self.state.pop(package, None)
        return "OK"

    def query(self, package: str) -> str:
        return "OK" if package in self.state else "FAIL"

    def dependents(self, package: str) -> set[str]:
        """Return the other packages that depend on ``package``."""
        return {other for other, dependencies in self.state.items() if package in dependencies and other != package}

    def needs(self, package: str, goal: str) -> bool:
        """Return whether ``package`` is ``goal`` or depends on it, directly or indirectly."""
        return goal in self._all_needed({package})

    def _all_needed(self, names: Iterable[str]) -> set[str]:
        needed = set(names)
        while True:
            more = needed.union(*(self.state[name] for name in needed))
            if more == needed:
                return needed
            needed = more

    def contents(self) -> dict[str, tuple[frozenset[str], int]]:
        """Return each package with its dependencies and the number of others that depend on it."""
        return {name: (dependencies, len(self.dependents(name))) for name, dependencies in self.state.items()}


def contents_of(graph: DependencyGraph) -> dict[str, tuple[frozenset[str], int]]:
    """Return the same for a DependencyGraph."""
    return {name: (frozenset(graph.dependencies(name)), graph._dependent_counts[name]) for name in graph}
