"""Report cycles of dependencies, and a few dependencies that would break them all: ``python cycle_linter.py a.dot``."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from scoop_core import DependencyGraph, decode_dot, elementary_cycles, feedback_edges


def lint(graph: DependencyGraph, cycles_max: int = 100) -> Iterator[str]:
    """Yield a line for each cycle, and one for each dependency to drop; nothing if there is no cycle."""
    for cycle in islice(elementary_cycles(graph), cycles_max):
        yield f"cycle: {' -> '.join((*cycle, cycle[0]))}"
    for package, dependency in feedback_edges(graph):
        yield f"drop: {package} -> {dependency}"


if __name__ == "__main__":
    faults = list(lint(decode_dot(Path(sys.argv[1]).read_text("utf-8"))))
    print(*faults, sep="\n", end="\n" * bool(faults))
    sys.exit(bool(faults))
