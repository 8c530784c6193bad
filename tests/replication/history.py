"""The observations of clients, and the check that they are linearizable; the log in etcd is the witness of the order.

Every change has a line of its own (see :func:`change_line`), so the log tells the position of each. Given the order of
the changes, a history is linearizable if and only if each query has a position that fits: the lowest one is chosen,
because it restricts the others least.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from scoop_core import Changes, DependencyGraph

BITS: Final = ("bit0", "bit1")
"""Packages that are always indexed. A list may name them any number of times, so they number the lines."""

SET_UP: Final = tuple(f"INDEX|{bit}|" for bit in BITS)


def change_line(number: int, command: str, package: str, dependencies: Sequence[str] = ()) -> str:
    """Return a change that no other operation sends: its dependencies begin with ``number`` in binary.

    >>> change_line(5, "INDEX", "a", ["b"])
    'INDEX|a|bit1,bit0,bit1,b'
    """
    digits = [BITS[int(digit)] for digit in f"{number:b}"]
    return f"{command}|{package}|{','.join([*digits, *dependencies])}"


@dataclass(slots=True)
class Operation:
    """A request of a client; times are in nanoseconds."""

    line: str
    invoked: int
    completed: int | None = None
    answer: str | None = None
    """None if there was none: the outcome is unknown."""
    identity: str = ""
    """That of its client."""

    @property
    def is_query(self) -> bool:
        """True for a plain query, which is not in the log."""
        return self.line.startswith("QUERY|")


@dataclass(slots=True)
class Order:
    """The changes in the order of the log, and what each of them led to."""

    positions: dict[str, int] = field(default_factory=dict)
    """By line, from 1 on."""
    answers: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    """The lines that have changed the graph, each with the change as a trail shows it."""
    repeated: list[str] = field(default_factory=list)
    graph: DependencyGraph = field(default_factory=DependencyGraph)
    _states: dict[str, tuple[list[int], list[bool]]] = field(default_factory=dict)
    """Of each package: the positions at which it appeared or disappeared, and whether it is indexed from there on."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Order":
        """Replay the lines of the log, without late duplicates of entries."""
        order = cls()
        for position, line in enumerate(lines, 1):
            package = line.split("|")[1]
            was_indexed = package in order.graph
            changes = Changes()
            order.answers[line] = order.graph.apply_lines(f"{line}\n", changes).strip()
            order.changes += [(line, change) for change in changes.lines]
            if line in order.positions:
                order.repeated.append(line)
            order.positions[line] = position
            if (is_indexed := package in order.graph) != was_indexed:
                positions, states = order._states.setdefault(package, ([], []))
                positions.append(position)
                states.append(is_indexed)
        return order

    def first_position(self, package: str, is_indexed: bool, start: int) -> int | None:
        """Return the first position from ``start`` on at which the package is in this state."""
        positions, states = self._states.get(package, ([], []))
        index = bisect_right(positions, start) - 1
        if (states[index] if index >= 0 else False) == is_indexed:
            return start
        return positions[index + 1] if index + 1 < len(positions) else None


def violations(operations: Sequence[Operation], order: Order) -> list[str]:
    """Return a line for each violation."""
    found = [f"applied twice: {line}" for line in order.repeated]
    changes = [each for each in operations if not each.is_query]
    for each in changes:
        if each.answer is None:
            continue
        if each.line not in order.positions:
            found.append(f"answered {each.answer}, and not in the log: {each.line}")
        elif order.answers[each.line] != each.answer:
            found.append(f"answered {each.answer}, expected {order.answers[each.line]}: {each.line}")
    return found or _order_violations(operations, order)


def trail_violations(trail: Sequence[tuple[str, str]], operations: Sequence[Operation], order: Order) -> list[str]:
    """Return a line for each place at which a trail, of identities and changes, differs from what clients have done."""
    identities = {each.line: each.identity for each in operations}
    expected = [(identities.get(line, "a client that sent it"), change) for line, change in order.changes]
    return [
        f"the trail has {found}, expected {wanted}" for found, wanted in zip_longest(trail, expected) if found != wanted
    ]


def _order_violations(operations: Sequence[Operation], order: Order) -> list[str]:
    """Check the order in real time: what completed before something was invoked has the lower position."""
    found: list[str] = []
    in_log = sorted(
        ((each.invoked, order.positions[each.line]) for each in operations if each.line in order.positions),
        reverse=True,
    )
    later: list[tuple[int, int]] = []
    """Invocation times, descending, with the lowest position of the changes invoked then or later."""
    for invoked, position in in_log:
        later.append((invoked, min(position, later[-1][1] if later else position)))
    later.reverse()
    invocations = [invoked for invoked, _ in later]
    floor = _Floor()
    for each in sorted(operations, key=lambda each: each.invoked):
        if each.completed is None or each.answer is None:
            continue
        start = floor.before(each.invoked)
        if each.is_query:
            package = each.line.split("|")[1]
            first = order.first_position(package, each.answer == "OK", start)
            index = bisect_left(invocations, each.completed)
            end = later[index][1] if index < len(later) else None
            if first is None or (end is not None and first >= end):
                found.append(f"answered {each.answer}, which is no state from {start} to {end}: {each.line}")
                continue
            position = first
        else:
            position = order.positions[each.line]
            if position <= start:
                found.append(f"position {position} after one that completed before had {start}: {each.line}")
        floor.add(each.completed, position)
    return found


class _Floor:
    """The highest position of the operations that completed before a moment."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, int]] = []
        self._highest = 0

    def add(self, completed: int, position: int) -> None:
        self._pending.append((completed, position))

    def before(self, moment: int) -> int:
        """Return the highest position of those completed before ``moment``, which never decreases between calls."""
        rest: list[tuple[int, int]] = []
        for completed, position in self._pending:
            if completed < moment:
                self._highest = max(self._highest, position)
            else:
                rest.append((completed, position))
        self._pending = rest
        return self._highest
