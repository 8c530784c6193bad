"""The edges of a whole graph as integers, and the algorithms that visit all of them.

A dependency list is text, so each visit of an edge would cut a text and look up a name. Here each name is looked
up once, in one call for many, and the algorithms then count in lists of integers: a fifth of the time.
Packages have the numbers of their order in the graph. No function recurses.
"""

from collections.abc import Iterator
from itertools import accumulate, chain, compress, islice, repeat
from operator import eq, sub
from typing import Final

_LISTS_AT_ONCE: Final = 1_000
"""Bounds the names that exist twice while a table is made; few enough to stay in a cache of the processor."""


class EdgeTable:
    """The dependencies of package ``i`` are ``targets[offsets[i]:offsets[i + 1]]``; its name is ``names[i]``.

    >>> table = EdgeTable({"isl": "gmp", "gmp": ""})
    >>> table.names, table.offsets, table.targets
    (['isl', 'gmp'], [0, 1, 1], [1])
    """

    __slots__ = ("names", "offsets", "targets")

    def __init__(self, lists: dict[str, str]) -> None:
        texts = list(lists.values())
        self.names: list[str] = list(lists)
        number_of = dict(zip(self.names, range(len(texts)), strict=True)).__getitem__
        self.offsets: list[int] = [0, *accumulate([text.count(",") + 1 if text else 0 for text in texts])]
        self.targets: list[int] = []
        for start in range(0, len(texts), _LISTS_AT_ONCE):
            if joined := ",".join(filter(None, texts[start : start + _LISTS_AT_ONCE])):
                self.targets += map(number_of, joined.split(","))

    def of(self, number: int) -> list[int]:
        """Return the dependencies of a package."""
        return self.targets[self.offsets[number] : self.offsets[number + 1]]

    def dependent_counts(self) -> list[int]:
        """Return how many other packages depend on each package."""
        counts = [0] * len(self.names)
        for target in self.targets:
            counts[target] += 1
        for number in self.self_dependent():
            counts[number] -= 1
        return counts

    def self_dependent(self) -> list[int]:
        """Return the packages that depend on themselves."""
        owners = chain.from_iterable(map(repeat, range(len(self.names)), map(sub, self.offsets[1:], self.offsets)))
        return list(compress(self.targets, map(eq, self.targets, owners)))


def layers_in_order(table: EdgeTable) -> list[int] | None:
    """Return the layer of each package if each comes after its dependencies, else None.

    That is the order of a graph whose packages were indexed one by one, and never again with new dependencies.

    >>> layers_in_order(EdgeTable({"gmp": "", "isl": "gmp"})), layers_in_order(EdgeTable({"isl": "gmp", "gmp": ""}))
    ([0, 1], None)
    """
    unknown = len(table.names)
    layers = [unknown] * unknown
    layer_of = layers.__getitem__
    targets = table.targets
    start = 0
    for number, end in enumerate(islice(table.offsets, 1, None)):
        layer = 1 + max(map(layer_of, targets[start:end])) if start < end else 0
        if layer > unknown:
            return None
        layers[number] = layer
        start = end
    return layers


def order_of_components(table: EdgeTable, dependent_counts: list[int]) -> tuple[list[int], list[list[int]]]:
    """Return all packages, dependencies first, and the components of several packages.

    A component's members follow each other in the order. ``dependent_counts`` is used up.

    >>> order_of_components(EdgeTable({"a": "b", "b": "c", "c": "b,d", "d": ""}), [0, 2, 1, 1])
    ([3, 2, 1, 0], [[2, 1]])
    """
    if _is_in_order(table):
        return list(range(len(table.names))), []
    # Packages on which nothing depends are on no cycle. They are taken away one after the other, until only
    # cycles are left and what cycles need.
    remaining = dependent_counts
    peeled = [number for number, count in enumerate(remaining) if not count]
    targets, offsets = table.targets, table.offsets
    for number in peeled:  # grows meanwhile
        for target in targets[offsets[number] : offsets[number + 1]]:
            left = remaining[target] - 1
            remaining[target] = left
            if not left:
                peeled.append(target)
    peeled.reverse()
    if len(peeled) == len(table.names):
        return peeled, []
    order: list[int] = []
    groups: list[list[int]] = []
    is_left = bytearray(b"\1") * len(table.names)
    for number in peeled:
        is_left[number] = 0
    for group in _strong_components(table, [number for number, left in enumerate(is_left) if left]):
        order += group
        if len(group) > 1:
            groups.append(group)
    return order + peeled, groups


def _is_in_order(table: EdgeTable) -> bool:
    """Return whether each package comes after its dependencies: then there is no cycle."""
    targets = table.targets
    start = 0
    for number, end in enumerate(islice(table.offsets, 1, None)):
        if start < end and max(targets[start:end]) >= number:
            return False
        start = end
    return True


def _strong_components(  # noqa: C901  # one loop over arrays: a call for each edge would double its time
    table: EdgeTable, roots: list[int]
) -> Iterator[list[int]]:
    """Yield the strongly connected components that ``roots`` reach, each after those that it depends on.

    The algorithm is the path-based one of H. N. Gabow ("Path-based depth-first search for strong and biconnected
    components", 2000).
    """
    targets, offsets = table.targets, table.offsets
    done = len(table.names)
    place = [-1] * done  # in the order of discovery; -1: not found, done: its component is complete
    ungrouped: list[int] = []
    starts: list[int] = []  # the first package of each component on the path that may still merge with others
    discovered = 0
    for root in roots:
        if place[root] >= 0:
            continue
        path: list[tuple[int, Iterator[int]]] = []
        unvisited = iter((root,))
        while True:
            for number in unvisited:
                found_at = place[number]
                if found_at < 0:
                    place[number] = discovered
                    discovered += 1
                    ungrouped.append(number)
                    starts.append(number)
                    unvisited = iter(targets[offsets[number] : offsets[number + 1]])
                    path.append((number, unvisited))
                    break
                if found_at < done:  # an edge back to the path: all between are one component
                    while place[starts[-1]] > found_at:
                        starts.pop()
            else:
                number = path.pop()[0]
                if starts[-1] == number:
                    starts.pop()
                    group = _pop_down_to(number, ungrouped)
                    for member in group:
                        place[member] = done
                    yield group
                if not path:
                    break
                unvisited = path[-1][1]


def _pop_down_to(number: int, stack: list[int]) -> list[int]:
    popped = [stack.pop()]
    while popped[-1] != number:
        popped.append(stack.pop())
    return popped


def layers_of(table: EdgeTable, order: list[int], groups: list[list[int]]) -> list[int]:
    """Return the layer of each package: one above the highest of its dependencies; a component shares a layer.

    >>> table = EdgeTable({"a": "b", "b": "c", "c": "b,d", "d": ""})
    >>> layers_of(table, *order_of_components(table, [0, 2, 1, 1]))
    [2, 1, 1, 0]
    """
    targets, offsets = table.targets, table.offsets
    layers = [0] * len(order)
    layer_of = layers.__getitem__
    cyclic = {number: [number] for number in table.self_dependent()}
    cyclic |= {member: group for group in groups for member in group}
    for number in order:
        if number not in cyclic:
            if needed := targets[offsets[number] : offsets[number + 1]]:
                layers[number] = 1 + max(map(layer_of, needed))
        elif number == cyclic[number][0]:  # the first of its component in the order
            group = set(cyclic[number])
            below = {target for member in group for target in table.of(member)} - group
            layer = 1 + max(map(layer_of, below), default=-1)
            for member in group:
                layers[member] = layer
    return layers
