"""The drawing of a package between its neighbours: places and sizes, which a template turns into SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scoop_explorer.answers import Needed, Neighbours

_BOX_WIDTH: Final = 216
_BOX_HEIGHT: Final = 30
_ROW: Final = 40
_GAP: Final = 96
_MARGIN: Final = 8
_HEADING: Final = 28
"""The height of the words above the columns."""

WIDTH: Final = 3 * _BOX_WIDTH + 2 * _GAP + 2 * _MARGIN

_CHARACTERS_MAX: Final = 24
"""Characters that fit into a box: the font is monospaced, and each takes 8 of its 216 pixels."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: a package, or the number of those that are not drawn (``name`` is empty)."""

    name: str
    label: str
    x: int
    y: int
    width: int = _BOX_WIDTH
    height: int = _BOX_HEIGHT

    @property
    def middle(self) -> int:
        """The height of the middle."""
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """A package in the middle, its dependents on the left, its dependencies on the right."""

    width: int
    height: int
    centre: Box
    dependents: tuple[Box, ...]
    dependencies: tuple[Box, ...]
    curves: tuple[str, ...]
    """The data of the curves, from a package to its dependency."""


def draw(neighbours: Neighbours) -> Drawing:
    """Return the drawing of a package and its neighbours."""
    dependency_total = neighbours.dependencies.total - neighbours.needs_itself
    rows = max(
        _rows(neighbours.drawn_dependents, neighbours.dependents.total),
        _rows(neighbours.drawn_dependencies, dependency_total),
        1,
    )
    height = rows * _ROW + _HEADING + _MARGIN
    dependents = _column(neighbours.drawn_dependents, neighbours.dependents.total, 0, rows)
    dependencies = _column(neighbours.drawn_dependencies, dependency_total, 2, rows)
    [centre] = _column((Needed(neighbours.name, 0),), 1, 1, rows)
    curves = [_curve(box, centre) for box in dependents] + [_curve(centre, box) for box in dependencies]
    return Drawing(WIDTH, height, centre, dependents, dependencies, tuple(curves))


def _rows(drawn: Sequence[Needed], total: int) -> int:
    return len(drawn) + (total > len(drawn))


def _column(drawn: Sequence[Needed], total: int, number: int, rows: int) -> tuple[Box, ...]:
    labels = [(each.name, _shortened(each.name)) for each in drawn]
    if total > len(drawn):
        labels.append(("", f"+{total - len(drawn):,} more"))
    x = _MARGIN + number * (_BOX_WIDTH + _GAP)
    top = _HEADING + (rows - len(labels)) * _ROW // 2
    return tuple(Box(name, label, x, top + row * _ROW) for row, (name, label) in enumerate(labels))


def _shortened(name: str) -> str:
    return name if len(name) <= _CHARACTERS_MAX else f"{name[: _CHARACTERS_MAX - 1]}…"


def _curve(start: Box, end: Box) -> str:
    x, goal = start.x + start.width, end.x - 9  # the arrow head takes the rest
    half = (goal - x) // 2
    return f"M{x} {start.middle}C{x + half} {start.middle} {goal - half} {end.middle} {goal} {end.middle}"
