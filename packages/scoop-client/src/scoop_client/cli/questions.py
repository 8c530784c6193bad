"""Questions about an index that need no server: ``scoop why``, ``needs``, ``impact``, ``plan`` and others."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from scoop_core import (
    DependencyGraph,
    Plan,
    encode_dot,
    encode_graphml,
    encode_mermaid,
    encode_node_link,
    encode_request,
)

from scoop_client.cli.output import Output, counted, shortened
from scoop_client.cli.settings import UsageError
from scoop_client.cli.status import ExitStatus

EXPORT_FORMATS: Final[Mapping[str, Callable[[DependencyGraph], Iterator[str]]]] = {
    "lines": lambda graph: (f"{line}\n" for line in graph.to_lines()),
    "dot": encode_dot,
    "mermaid": encode_mermaid,
    "graphml": encode_graphml,
    "json": encode_node_link,
}

_TOP: Final = 10
"""The number of packages that ``scoop stats`` lists."""


def why(graph: DependencyGraph, package: str, dependency: str, output: Output) -> ExitStatus:
    """Print a shortest path from ``package`` to ``dependency``."""
    path = graph.find_path(package, dependency)
    text = " -> ".join(path) if path else f"{package} does not depend on {dependency}"
    output.result(text, {"package": package, "dependency": dependency, "path": list(path)})
    return ExitStatus.OK if path else ExitStatus.FAIL


def needs(graph: DependencyGraph, packages: Sequence[str], output: Output, *, direct: bool) -> ExitStatus:
    """Print all that ``packages`` depend on, in installation order."""
    names = _direct(graph.dependencies, packages) if direct else graph.transitive_dependencies(packages)
    kind = "direct " if direct else ""
    summary = f"{_subject(packages)} {counted(len(names), f'{kind}dependency', f'{kind}dependencies')}"
    output.names(names, {"packages": list(packages), "needs": list(names)}, summary)
    return ExitStatus.OK


def impact(graph: DependencyGraph, packages: Sequence[str], output: Output, *, direct: bool) -> ExitStatus:
    """Print all that depends on ``packages``, in an order in which it can be rebuilt."""
    names = _direct(graph.dependents, packages) if direct else graph.transitive_dependents(packages)
    kind = "direct " if direct else ""
    summary = f"{_subject(packages)} {counted(len(names), f'{kind}dependent')}"
    output.names(names, {"packages": list(packages), "impact": list(names)}, summary)
    return ExitStatus.OK


def _direct(neighbours: Callable[[str], tuple[str, ...]], packages: Sequence[str]) -> tuple[str, ...]:
    found = {name for package in packages for name in neighbours(package)}
    return tuple(sorted(found.difference(packages)))


def _subject(packages: Sequence[str]) -> str:
    return f"{shortened(packages)} {'has' if len(packages) == 1 else 'have'}"


def plan(
    graph: DependencyGraph,
    removed: Sequence[str],
    indexed: Mapping[str, Iterable[str]],
    changed: Sequence[str],
    keep: Sequence[str],
    output: Output,
) -> ExitStatus:
    """Print what would break, be an orphan or be rebuilt; return FAIL if something would break."""
    planned = Plan(graph)
    planned.remove(removed)
    for package, dependencies in indexed.items():
        planned.index(package, dependencies)
    for package in changed:
        planned.index(package, graph.dependencies(package))
    missing, broken = planned.missing_dependencies(), planned.broken()
    orphans, rebuilt = planned.orphans(keep), planned.rebuilt()
    lines = [
        f"breaks {name}" + (f": {', '.join(missing[name])} would be missing" if name in missing else "")
        for name in broken
    ]
    lines += [f"orphan {name}" for name in orphans] + [f"rebuild {name}" for name in rebuilt]
    breaks = {name: list(missing.get(name, ())) for name in broken}
    output.lines(lines, {"breaks": breaks, "orphans": list(orphans), "rebuilds": list(rebuilt)})
    return ExitStatus.FAIL if broken else ExitStatus.OK


def cycles(graph: DependencyGraph, output: Output) -> ExitStatus:
    """Print the groups of packages that depend on each other."""
    groups = graph.cyclic_components()
    output.names(
        [" ".join(group) for group in groups],
        {"cycles": [list(group) for group in groups]},
        counted(len(groups), "cyclic group"),
    )
    return ExitStatus.OK


def order(graph: DependencyGraph, output: Output) -> ExitStatus:
    """Print all packages, dependencies first."""
    names = graph.topological_order()
    output.names(names, {"order": list(names)})
    return ExitStatus.OK


def layers(graph: DependencyGraph, output: Output) -> ExitStatus:
    """Print the packages that can be built in parallel, one layer per line."""
    found = graph.layers()
    output.lines(map(" ".join, found), {"layers": [list(layer) for layer in found]})
    return ExitStatus.OK


def stats(graph: DependencyGraph, output: Output) -> ExitStatus:
    """Print the size and shape of the index."""
    groups = graph.cyclic_components()
    used = sorted(graph, key=lambda name: (-graph.dependent_count(name), name))[:_TOP]
    needy = sorted(graph, key=lambda name: (-graph.dependency_count(name), name))[:_TOP]
    numbers = {
        "packages": len(graph),
        "dependencies": graph.edge_count(),
        "layers": len(graph.layers()),
        "cyclic groups": len(groups),
        "largest cyclic group": max(map(len, groups), default=0),
    }
    rows = [(name, f"{number:,}") for name, number in numbers.items()]
    rows += [(f"depend on {name}", f"{graph.dependent_count(name):,}") for name in used]
    rows += [(f"needed by {name}", f"{graph.dependency_count(name):,}") for name in needy]
    value = {name.replace(" ", "_"): number for name, number in numbers.items()} | {
        "most_depended_on": {name: graph.dependent_count(name) for name in used},
        "most_dependencies": {name: graph.dependency_count(name) for name in needy},
    }
    output.table(("", "number"), rows, value)
    return ExitStatus.OK


def diff(old: DependencyGraph, new: DependencyGraph, output: Output) -> ExitStatus:
    """Print the packages that were added, removed and changed, or as JSON also the requests."""
    before, after = old.to_mapping(), new.to_mapping()
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    both = before.keys() & after.keys()
    changed = sorted(name for name in both if set(before[name]) != set(after[name]))
    lines = [f"+ {name}" for name in added] + [f"- {name}" for name in removed]
    for name in changed:
        gained, lost = sorted(set(after[name]) - set(before[name])), sorted(set(before[name]) - set(after[name]))
        lines.append(" ".join([f"~ {name}", *(f"+{each}" for each in gained), *(f"-{each}" for each in lost)]))
    requests = [encode_request(request).rstrip() for request in old.diff(new)] if output.is_json else []
    output.lines(lines, {"added": added, "removed": removed, "changed": changed, "requests": requests})
    return ExitStatus.FAIL if added or removed or changed else ExitStatus.OK


def export(graph: DependencyGraph, form: str | None, packages: Sequence[str], output: Output) -> ExitStatus:
    """Print the graph, or that of ``packages`` and all that they need, for graph tools. Raises UsageError."""
    if output.is_json and form not in {None, "json"}:
        raise UsageError(f"export: --json prints node-link JSON, --format {form} something else")
    if packages:
        graph = graph.subgraph([*packages, *graph.transitive_dependencies(packages)])
    if output.is_json:  # one value per line; a string in JSON contains no newline
        sys.stdout.writelines(piece.replace("\n", "") for piece in EXPORT_FORMATS["json"](graph))
        print()
        return ExitStatus.OK
    sys.stdout.writelines(EXPORT_FORMATS[form or "dot"](graph))
    return ExitStatus.OK
