"""``scoop tree``: a package and all that it needs, or that depends on it, as a tree."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from scoop_core import DependencyGraph, IndexedGraph

from scoop_client.cli.output import Output
from scoop_client.cli.status import ExitStatus

_GLYPHS: Final = "│└├─"
_ASCII_GLYPHS: Final = "|`|-"


def tree(graph: DependencyGraph, package: str, depth_max: int | None, output: Output, *, inverted: bool) -> ExitStatus:
    """Print the tree below ``package``, each branch once: a package that is shown again is marked."""
    neighbours = (
        IndexedGraph.from_graph(graph).dependents if inverted else lambda name: sorted(graph.dependencies(name))
    )
    glyphs = _GLYPHS if (sys.stdout.encoding or "").lower().startswith("utf") else _ASCII_GLYPHS
    for name, lasts, is_repeated in _nodes(package, neighbours, depth_max):
        if output.is_json:
            print(json.dumps({"package": name, "depth": len(lasts), "repeated": is_repeated}))
        else:
            print(f"{_branch(lasts, glyphs)}{name}{' (*)' if is_repeated else ''}")
    return ExitStatus.OK


def _nodes(
    root: str, neighbours: Callable[[str], Sequence[str]], depth_max: int | None
) -> Iterator[tuple[str, tuple[bool, ...], bool]]:
    """Yield each package, whether those on the way to it are the last of their siblings, and whether it is repeated."""
    shown: set[str] = set()
    pending: list[tuple[str, tuple[bool, ...]]] = [(root, ())]
    while pending:
        name, lasts = pending.pop()
        children = neighbours(name)
        is_repeated = name in shown and bool(children)
        yield name, lasts, is_repeated
        if not is_repeated and (depth_max is None or len(lasts) < depth_max):
            shown.add(name)
            pending += [(child, (*lasts, child == children[-1])) for child in reversed(children)]


def _branch(lasts: tuple[bool, ...], glyphs: str) -> str:
    r"""Return what precedes a name.

    >>> _branch((False, True, False), _GLYPHS)
    '│       ├── '
    """
    line, corner, tee, dash = tuple(glyphs)
    above = "".join("    " if is_last else f"{line}   " for is_last in lasts[:-1])
    return f"{above}{corner if lasts[-1] else tee}{dash}{dash} " if lasts else ""
