"""Algorithms over directed graphs of any kind, given as a function from a node to its successors.

Nothing here knows of packages. Every function takes linear time in the nodes and edges that it reaches, asks
for the successors of a node at most twice, and does not recurse, so a chain of a million nodes is no special
case. Where a result could come in several orders, the order of the nodes and successors that go in decides.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def reachable(start: Node, successors: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Return the nodes at the ends of the paths from ``start``; itself only where a path leads back.

    >>> sorted(reachable("a", {"a": "b", "b": "c", "c": "b"}.__getitem__))
    ['b', 'c']
    """
    found: set[Node] = set()
    unexplored = [start]
    while unexplored:
        for node in successors(unexplored.pop()):
            if node not in found:
                found.add(node)
                unexplored.append(node)
    return found


def shortest_path(start: Node, goal: Node, successors: Callable[[Node], Iterable[Node]]) -> tuple[Node, ...]:
    """Return a shortest path of at least one edge, both ends included; empty where there is none.

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
    """Return ``nodes`` and all that is reachable from them, each after its successors.

    Where a cycle makes that impossible, a node comes before those of its successors through which it was
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


def strongly_connected_components(
    nodes: Iterable[Node], successors: Callable[[Node], Iterable[Node]]
) -> Iterator[list[Node]]:
    """Yield the largest groups of nodes in which each is reachable from each, every group after its successors.

    A node that is on no cycle is a group of one. The algorithm is the path-based one of H. N. Gabow
    ("Path-based depth-first search for strong and biconnected components", 2000).

    >>> list(strongly_connected_components("a", {"a": "b", "b": "cd", "c": "b", "d": ""}.__getitem__))
    [['d'], ['c', 'b'], ['a']]
    """
    found_at: dict[Node, int] = {}  # the how-manieth node it was to be found
    grouped: set[Node] = set()
    ungrouped: list[Node] = []  # found, in that order, and not yet known with whom to group
    first_of_group: list[Node] = []  # of the groups that may still merge, the node of each that was found first
    for root in nodes:
        if root in found_at:
            continue
        path: list[tuple[Node, Iterator[Node]]] = []
        unvisited: Iterator[Node] = iter((root,))
        while True:
            for node in unvisited:
                if node not in found_at:
                    found_at[node] = len(found_at)
                    ungrouped.append(node)
                    first_of_group.append(node)
                    path.append((node, iter(successors(node))))
                    break
                if node not in grouped:  # an edge back into the path: what lies between is one group
                    while found_at[first_of_group[-1]] > found_at[node]:
                        first_of_group.pop()
            else:
                node = path.pop()[0]
                if first_of_group[-1] == node:
                    first_of_group.pop()
                    group = _pop_down_to(node, ungrouped)
                    grouped.update(group)
                    yield group
            if not path:
                break
            unvisited = path[-1][1]


def _pop_down_to(node: Node, stack: list[Node]) -> list[Node]:
    popped = [stack.pop()]
    while popped[-1] != node:
        popped.append(stack.pop())
    return popped


def layers(nodes: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> list[list[Node]]:
    """Return ``nodes`` and all that is reachable from them, such that edges lead into earlier layers only.

    Each node is in the earliest layer possible. The nodes of a cycle share a layer: within it, and nowhere
    else, edges lead from a layer into itself.

    >>> layers("ae", {"a": "bc", "b": "d", "c": "d", "d": "", "e": ""}.__getitem__)
    [['d', 'e'], ['b', 'c'], ['a']]
    """
    layer_of: dict[Node, int] = {}
    result: list[list[Node]] = []
    for group in strongly_connected_components(nodes, successors):
        below = [layer_of[node] for member in group for node in successors(member) if node in layer_of]
        layer = max(below, default=-1) + 1
        layer_of.update(dict.fromkeys(group, layer))
        if layer == len(result):
            result.append([])
        result[layer] += group
    return result


def predecessors(successors: Mapping[Node, Iterable[Node]]) -> dict[Node, list[Node]]:
    """Return every edge turned round: for each key, the keys that have it among their successors.

    >>> predecessors({"a": "bc", "b": "c", "c": ""})
    {'a': [], 'b': ['a'], 'c': ['a', 'b']}
    """
    result: dict[Node, list[Node]] = {node: [] for node in successors}
    for node, following in successors.items():
        for successor in following:
            result[successor].append(node)
    return result
