"""The record of a soak as a picture: one panel a measurement, all over the same seconds."""

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH: Final = 860
_LEFT: Final = 90
_RIGHT: Final = 840
_PANEL: Final = 120
_GAP: Final = 40

Panel = tuple[str, Sequence[tuple[float, float]]]
"""Its title, and a point for each sample: seconds, value. Neither is negative."""


def panels(title: str, each: Sequence[Panel]) -> str:
    """Return ``each`` panel, of which all have points, under one another, each from 0 up."""
    height = _GAP + len(each) * (_PANEL + _GAP)
    body = [
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, points) in enumerate(each):
        top = _GAP + number * (_PANEL + _GAP)
        last, most = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
        places = " ".join(
            f"{_LEFT + x / last * (_RIGHT - _LEFT):.1f},{top + _PANEL * (1 - y / most):.1f}" for x, y in points
        )
        body += [
            f'<rect x="{_LEFT}" y="{top}" width="{_RIGHT - _LEFT}" height="{_PANEL}" fill="none" stroke="#cccccc"/>',
            f'<polyline points="{places}" fill="none" stroke="#0072b2"/>',
            f'<text x="{_LEFT}" y="{top - 6}">{escape(name)}</text>',
            f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.4g}</text>',
            f'<text x="{_LEFT - 6}" y="{top + _PANEL}" text-anchor="end">0</text>',
            f'<text x="{_RIGHT}" y="{top + _PANEL + 16}" text-anchor="end">{last:,.0f} s</text>',
        ]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
    return "\n".join([f'{start} font-family="sans-serif" font-size="12">', *body, "</svg>\n"])
