"""The package list of a real distribution: Homebrew's formulae of 2016, with what each depends on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_LIST: Final = Path(__file__).parents[1] / "data" / "homebrew-2016.txt"


class Packages:
    """Packages and their dependencies, each of which is a package too."""

    def __init__(self, dependencies: Mapping[str, tuple[str, ...]]) -> None:
        self.dependencies = dependencies

    def __len__(self) -> int:
        return len(self.dependencies)

    def in_dependency_order(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each package and its dependencies, which come before it. There are no cycles."""
        waiting = dict(self.dependencies)
        come: set[str] = set()
        while waiting:
            ready = [name for name, names in waiting.items() if come.issuperset(names)]
            if not ready:
                raise ValueError(f"{len(waiting)} packages depend on each other")
            for name in ready:
                yield name, waiting.pop(name)
            come.update(ready)


def read_homebrew() -> Packages:
    """Return the list. A name that appears as a dependency only is a package without dependencies."""
    dependencies: dict[str, tuple[str, ...]] = {}
    for line in _LIST.read_text().splitlines():
        name, _, names = line.partition(":")
        dependencies[name] = tuple(names.split())
    for names_of_one in list(dependencies.values()):
        for name in names_of_one:
            dependencies.setdefault(name, ())
    return Packages(dependencies)
