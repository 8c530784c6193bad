"""Workloads: packages, and messages about them, as lines of the protocol without newline."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final

Packages = Mapping[str, Sequence[str]]
"""Each package with its dependencies, which precede it."""

HOMEBREW: Final = Path(__file__).parents[1] / "tests" / "data" / "homebrew-2016.txt"
"""A real list: lines of ``package: dependency dependency ...``."""

MIX_LENGTH: Final = 50_000
"""Messages of a mix before it repeats: enough to use a few thousand packages in every way."""

MIX_PER_CENT: Final = {"QUERY": 80, "INDEX": 10, "REMOVE": 8, "broken": 2}
"""The mix: mostly QUERY, with INDEX and REMOVE balanced so that the size of the index stays."""

_SEED: Final = 1


class Answer(StrEnum):
    """The response to a message."""

    OK = "OK"
    FAIL = "FAIL"
    ERROR = "ERROR"


_ONLY_OK: Final = frozenset({Answer.OK})


@dataclass(frozen=True, slots=True)
class Workload:
    """Messages in the order in which they are sent, with their preparation and possible responses."""

    name: str
    lines: Sequence[str]
    preparation: Sequence[str]
    """Messages to an empty server before the load."""
    answers: frozenset[Answer] = _ONLY_OK
    """The possible responses."""
    is_cycle: bool = False
    """True if the lines must be sent completely, because each pass restores the index."""


def index_line(package: str, dependencies: Sequence[str]) -> str:
    """Return the message that indexes ``package``."""
    return f"INDEX|{package}|{','.join(dependencies)}"


def index_lines(packages: Packages) -> list[str]:
    """Return the messages that index all packages."""
    return [index_line(package, dependencies) for package, dependencies in packages.items()]


def query_lines(packages: Packages) -> list[str]:
    """Return one QUERY per package, shuffled."""
    names = list(packages)
    random.Random(_SEED).shuffle(names)
    return [f"QUERY|{name}|" for name in names]


def remove_lines(packages: Packages) -> list[str]:
    """Return the messages that remove all packages, dependents first."""
    return [f"REMOVE|{package}|" for package in reversed(list(packages))]


def mix_lines(packages: Packages) -> list[str]:
    """Return a random mix of messages about random packages, in the shares of :data:`MIX_PER_CENT`."""
    chance = random.Random(_SEED)
    names = list(packages)
    spell: dict[str, Callable[[str], str]] = {
        "QUERY": lambda name: f"QUERY|{name}|",
        "INDEX": lambda name: index_line(name, packages[name]),
        "REMOVE": lambda name: f"REMOVE|{name}|",
        "broken": lambda name: f"BLINDEX|{name}|",
    }
    kinds = chance.choices(list(MIX_PER_CENT), list(MIX_PER_CENT.values()), k=MIX_LENGTH)
    return [spell[kind](chance.choice(names)) for kind in kinds]


def query(packages: Packages) -> Workload:
    """QUERY of indexed packages."""
    return Workload("query", query_lines(packages), index_lines(packages))


def index(packages: Packages) -> Workload:
    """Every package indexed again, unchanged."""
    lines = index_lines(packages)
    return Workload("index", lines, lines)


def cycle(packages: Packages) -> Workload:
    """Every package indexed, then every package removed: each message is a change."""
    return Workload("cycle", [*index_lines(packages), *remove_lines(packages)], [], is_cycle=True)


def change_lines(packages: Packages) -> list[str]:
    """Return, for each package, the messages that index and remove another one with the same dependencies."""
    return [
        line
        for package, dependencies in packages.items()
        for line in (index_line(f"new-{package}", dependencies), f"REMOVE|new-{package}|")
    ]


def change(packages: Packages) -> Workload:
    """A package indexed, then removed, again and again: each message of each client is a change."""
    return Workload("change", change_lines(packages), index_lines(packages))


def mix(packages: Packages) -> Workload:
    """All kinds of messages, in random order."""
    return Workload("mix", mix_lines(packages), index_lines(packages), frozenset(Answer))


WORKLOADS: Final[Mapping[str, Callable[[Packages], Workload]]] = {
    "query": query,
    "index": index,
    "cycle": cycle,
    "change": change,
    "mix": mix,
}
"""The workloads by name."""


def read_packages(path: Path, count: int | None = None) -> Packages:
    """Return the packages of a list, dependencies first: all, or the first ``count``.

    A name that is only a dependency is a package without dependencies. Raises ValueError on a cycle.
    """
    listed: dict[str, tuple[str, ...]] = {}
    for line in path.read_text().splitlines():
        name, _, dependencies = line.partition(":")
        listed[name] = tuple(dict.fromkeys(dependencies.split()))
    ordered: dict[str, tuple[str, ...]] = {}
    for package in listed:
        waiting = [package]  # each waits for the next one
        while waiting:
            name = waiting[-1]
            missing = next((each for each in listed.get(name, ()) if each not in ordered), None)
            if missing is None:
                ordered[waiting.pop()] = listed.get(name, ())
            elif missing in waiting:
                raise ValueError(f"{path}: {missing} depends on itself, by way of {name}")
            else:
                waiting.append(missing)
    return dict(islice(ordered.items(), count))


def random_packages(count: int, dependencies_each: int = 5) -> Packages:
    """Return ``count`` packages that each depend on random earlier ones."""
    chance = random.Random(_SEED)
    names = [f"package-{number}" for number in range(count)]
    packages: dict[str, tuple[str, ...]] = {}
    for position, name in enumerate(names):
        wanted = min(dependencies_each, position)
        chosen: set[int] = set()
        while len(chosen) < wanted:  # much faster than a sample, and nearly always one pass
            chosen.update(chance.choices(range(position), k=wanted - len(chosen)))
        packages[name] = tuple(names[each] for each in chosen)
    return packages
