"""The algorithms: most visit a part of any directed graph, given as a function from a node to its successors.

Each takes linear time in the nodes and edges that it visits, asks for the successors of a node once, and does
not recurse. If a result could come in several orders, the order of the nodes and successors decides.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def reachable(starts: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Return the nodes at the ends of the paths from ``starts``; one of them only if a path leads to it."""
    found: set[Node] = set()
    unexplored = list(starts)
    while unexplored:
        for node in successors(unexplored.pop()):
            if node not in found:
                found.add(node)
                unexplored.append(node)
    return found


def shortest_path(start: Node, goal: Node, successors: Callable[[Node], Iterable[Node]]) -> tuple[Node, ...]:
    """Return a shortest path of at least one edge, both ends included; empty if no path exists."""
    previous = {start: start}
    unexplored = deque([start])
    while unexplored:
        node = unexplored.popleft()
        for successor in successors(node):
            if successor == goal:
                return (*reversed(_chain(node, previous)), goal)
            if successor not in previous:
                previous[successor] = node
                unexplored.append(successor)
    return ()


def shortest_path_from_both_ends(
    start: Node,
    goal: Node,
    successors: Callable[[Node], Iterable[Node]],
    predecessors: Callable[[Node], Iterable[Node]],
) -> tuple[Node, ...]:
    """Return a path as :func:`shortest_path` does. It searches from both ends, which visits far fewer nodes."""
    previous, following = {start: start}, {goal: goal}
    heads, tails = [start], [goal]
    while heads and tails:
        is_forward = len(heads) <= len(tails)
        if is_forward:
            heads, edge = _advance(heads, successors, previous, following)
        else:
            tails, edge = _advance(tails, predecessors, following, previous)
        if edge is not None:
            left, right = edge if is_forward else edge[::-1]
            return (*reversed(_chain(left, previous)), *_chain(right, following))
    return ()


def _advance(
    frontier: list[Node], neighbours: Callable[[Node], Iterable[Node]], found: dict[Node, Node], goals: dict[Node, Node]
) -> tuple[list[Node], tuple[Node, Node] | None]:
    """Return the nodes that are one edge from ``frontier`` and not in ``found``, and the first edge to ``goals``."""
    reached: list[Node] = []
    for node in frontier:
        for neighbour in neighbours(node):
            if neighbour in goals:
                return reached, (node, neighbour)
            if neighbour not in found:
                found[neighbour] = node
                reached.append(neighbour)
    return reached, None


def _chain(node: Node, next_of: Mapping[Node, Node]) -> list[Node]:
    """Return ``node`` and the nodes that follow it, up to the one that follows itself."""
    chain = [node]
    while (node := next_of[node]) != chain[-1]:
        chain.append(node)
    return chain


def successors_first(nodes: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """Return ``nodes`` and all nodes that they reach, each after its successors.

    If a cycle makes that impossible, a node comes before those of its successors through which it was
    reached, and after the others (a depth-first search, postorder).
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


def component_layers(lists: Mapping[str, str]) -> tuple[dict[str, int], list[list[str]]]:
    """Return the layer of each package, and the strongly connected components of several packages.

    ``lists`` holds the dependencies of each package as a comma-separated text. The layer is one above the highest of
    the dependencies; the packages of a component share one. O(P + D).

    >>> component_layers({"a": "b", "b": "c", "c": "b,d", "d": ""})
    ({'d': 0, 'b': 1, 'c': 1, 'a': 2}, [['b', 'c']])
    """
    layers: dict[str, int] = {}
    layer_of = layers.__getitem__
    groups: list[list[str]] = []
    for root, listed in lists.items():
        if root not in layers:
            try:  # most packages come after their dependencies, in this order too
                layers[root] = 1 + max(map(layer_of, listed.split(","))) if listed else 0
            except KeyError:
                groups += _search_components(root, lists, layers)
    return layers, groups


def _search_components(root: str, lists: Mapping[str, str], layers: dict[str, int]) -> list[list[str]]:
    """Set the layers of ``root``, which has dependencies, and of all that it needs; return the components found.

    The algorithm is the path-based one of H. N. Gabow ("Path-based depth-first search for strong and biconnected
    components", 2000).
    """
    layer_of = layers.__getitem__
    groups: list[list[str]] = []
    places = {root: 0}  # of all packages on or above the path, in the order of discovery
    starts = [0]  # the first place of each component that may still merge with others
    ungrouped = [root]  # the packages whose component is incomplete
    names, first = lists[root].split(","), 0
    unvisited = iter(names)
    path: list[tuple[list[str], Iterator[str], int]] = []  # of each package: ``names``, ``unvisited``, ``first``
    while True:
        for name in unvisited:
            if name in layers:
                continue
            if name in places:  # an edge back to the path: all between are one component
                while starts[-1] > places[name]:
                    starts.pop()
            elif listed := lists[name]:
                path.append((names, unvisited, first))
                names, first = listed.split(","), len(ungrouped)
                unvisited = iter(names)
                starts.append(len(places))
                places[name] = len(places)
                ungrouped.append(name)
                break
            else:
                layers[name] = 0
        else:
            package = ungrouped[first]
            if starts[-1] == places[package]:
                starts.pop()
                if package == ungrouped[-1]:
                    ungrouped.pop()
                    layers[package] = -1  # below all others, if it depends on itself
                    layers[package] = 1 + max(map(layer_of, names))
                else:
                    groups.append(group := ungrouped[first:])
                    del ungrouped[first:]
                    layers.update(dict.fromkeys(group, -1))
                    names = ",".join(map(lists.__getitem__, group)).split(",")
                    layers.update(dict.fromkeys(group, 1 + max(map(layer_of, names))))
            if not path:
                return groups
            names, unvisited, first = path.pop()
