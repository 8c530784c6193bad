"""Print the steps of a build after a change: ``python ci_planner.py packages.dot isl gmp``."""

import sys
from pathlib import Path

from scoop_core import DependencyGraph, decode_dot


def plan(graph: DependencyGraph, changed: list[str]) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Return the units to build: those of a step can be built in parallel, once the steps before it are done.

    A unit is a package, or the packages of a cycle, which can only be built together.
    """
    return graph.component_layers([*changed, *graph.transitive_dependents(changed)])


if __name__ == "__main__":
    path, *changed = sys.argv[1:]
    for number, step in enumerate(plan(decode_dot(Path(path).read_text("utf-8")), changed), start=1):
        print(f"{number}: {' '.join('+'.join(unit) for unit in step)}")
