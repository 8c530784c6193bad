"""Algorithms that visit a part of a directed graph, given as a function from a node to its successors.

Each takes linear time in the nodes and edges that it reaches, asks for the successors of a node once, and does
not recurse. If a result could come in several orders, the order of the nodes and successors decides.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def reachable(starts: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Return the nodes at the ends of the paths from ``starts``; one of them only if a path leads to it.

    >>> sorted(reachable("a", {"a": "b", "b": "c", "c": "b"}.__getitem__))
    ['b', 'c']
    """
    found: set[Node] = set()
    unexplored = list(starts)
    while unexplored:
        for node in successors(unexplored.pop()):
            if node not in found:
                found.add(node)
                unexplored.append(node)
    return found


def shortest_path(start: Node, goal: Node, successors: Callable[[Node], Iterable[Node]]) -> tuple[Node, ...]:
    """Return a shortest path of at least one edge, both ends included; empty if no path exists.

    >>> shortest_path("a", "d", {"a": "bc", "b": "c", "c": "d", "d": ""}.__getitem__)
    ('a', 'c', 'd')
    >>> shortest_path("a", "a", {"a": "b", "b": "a"}.__getitem__)
    ('a', 'b', 'a')
    """
    reached_from: dict[Node, Node] = {}
    unexplored = deque([start])
    while unexplored:
        node = unexplored.popleft()
        for successor in successors(node):
            if successor not in reached_from:
                reached_from[successor] = node
                if successor == goal:
                    return _trace_back(start, goal, reached_from)
                unexplored.append(successor)
    return ()


def _trace_back(start: Node, goal: Node, reached_from: Mapping[Node, Node]) -> tuple[Node, ...]:
    path = [goal, reached_from[goal]]
    while path[-1] != start:
        path.append(reached_from[path[-1]])
    return tuple(reversed(path))


def successors_first(nodes: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """Return ``nodes`` and all nodes that they reach, each after its successors.

    If a cycle makes that impossible, a node comes before those of its successors through which it was
    reached, and after the others (a depth-first search, postorder).

    >>> successors_first("a", {"a": "bc", "b": "c", "c": ""}.__getitem__)
    ['c', 'b', 'a']
    """
    order: list[Node] = []
    found: set[Node] = set()
    for root in nodes:
        if root in found:
            continue
        found.add(root)
        path = [(root, iter(successors(root)))]
        while path:
            node, remaining = path[-1]
            for successor in remaining:
                if successor not in found:
                    found.add(successor)
                    path.append((successor, iter(successors(successor))))
                    break
            else:
                path.pop()
                order.append(node)
    return order
