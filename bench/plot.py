"""Line charts with two logarithmic axes, as SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 860
_HEIGHT: Final = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 660, 60, 420
"""The ends of the axes; the legend is to the right of them."""

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""The palette of Okabe and Ito, distinguishable with any kind of colour vision."""

_LEGEND_LINE: Final = 22


@dataclass(frozen=True, slots=True)
class Series:
    """A line of the chart. A dashed one has the colour of the solid one with the same name."""

    name: str
    points: Sequence[tuple[float, float]]
    """Both coordinates are above 0."""
    is_dashed: bool = False


class _Axis:
    """A logarithmic axis: converts values to positions."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        ordered = sorted(values)
        self._first, self._last = ordered[0], ordered[-1]
        if self._first == self._last:  # a single point needs some length
            self._first, self._last = self._first / 2, self._last * 2
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = math.log(value / self._first) / math.log(self._last / self._first)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        """Return 1, 2 and 5 times the powers of ten on the axis; only the powers if these are many."""
        decades = range(math.floor(math.log10(self._first)), math.floor(math.log10(self._last)) + 1)
        digits = (1, 2, 5) if len(decades) <= 5 else (1,)
        values = [float(digit) * 10.0**decade for decade in decades for digit in digits]
        return [value for value in values if self._first <= value <= self._last]


def line_chart(title: str, subtitle: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """Return the chart of ``series``; at least one must have a point."""
    points = [point for each in series for point in each.points]
    x_axis = _Axis((x for x, _ in points), _LEFT, _RIGHT)
    y_axis = _Axis((y for _, y in points), _BOTTOM, _TOP)
    names = list(dict.fromkeys(each.name for each in series))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    body = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 24, title, "start", 'font-size="16" font-weight="bold"'),
        _text(_LEFT, 44, subtitle, "start", 'fill="#555555"'),
        *_draw_grid(x_axis, y_axis),
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, x_label, "middle"),
        f'<g transform="translate(20 {(_TOP + _BOTTOM) / 2}) rotate(-90)">{_text(0, 0, y_label, "middle")}</g>',
    ]
    for each in series:
        body += _draw_series(each, colours[each.name], x_axis, y_axis)
    for number, (name, colour) in enumerate(colours.items()):
        y = _TOP + 10 + number * _LEGEND_LINE
        body.append(
            f'<line x1="{_RIGHT + 20}" y1="{y}" x2="{_RIGHT + 44}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        )
        body.append(_text(_RIGHT + 52, y + 4, name, "start"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _draw_grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    lines = [f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="black"/>']
    for value in x_axis.ticks():
        x = x_axis.place(value)
        lines.append(f'<path d="M{x} {_TOP}V{_BOTTOM}" stroke="#dddddd"/>')
        lines.append(_text(x, _BOTTOM + 20, _short(value), "middle"))
    for value in y_axis.ticks():
        y = y_axis.place(value)
        lines.append(f'<path d="M{_LEFT} {y}H{_RIGHT}" stroke="#dddddd"/>')
        lines.append(_text(_LEFT - 8, y + 4, _short(value), "end"))
    return lines


def _draw_series(series: Series, colour: str, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in series.points]
    dashes = ' stroke-dasharray="5 5"' if series.is_dashed else ""
    path = " ".join(f"{x},{y}" for x, y in places)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    if series.is_dashed:
        return [line]
    return [line, *(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places)]


def _text(x: float, y: float, text: str, anchor: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {attributes}>{escape(text)}</text>'


def _short(value: float) -> str:
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
