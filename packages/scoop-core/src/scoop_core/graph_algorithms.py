"""Algorithms on a function from a node to its successors, or on the dependency lists of packages as text.

Each takes linear time in the nodes and edges that it visits, and does not recurse.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain


def reachable(starts: Iterable[str], successors: Callable[[str], Iterable[str]]) -> set[str]:
    """Return the nodes at the ends of the paths from ``starts``; one of them only if a path leads to it."""
    found: set[str] = set()
    unexplored = list(starts)
    while unexplored:
        for node in successors(unexplored.pop()):
            if node not in found:
                found.add(node)
                unexplored.append(node)
    return found


def shortest_path(
    start: str,
    names: Iterable[str],
    goal: str,
    lists: Mapping[str, str],
    dependents: Callable[[str], Iterable[str]] | None,
) -> tuple[str, ...]:
    """Return a shortest path from ``start`` through one of ``names`` to ``goal``, both included; empty if none exists.

    ``lists`` holds the dependencies of each package as a comma-separated text. With ``dependents`` of a package, the
    search is from both ends, which visits far fewer packages. A step visits all that are at the same distance.

    >>> shortest_path("a", ["b", "c"], "d", {"b": "dd", "c": "b,d", "d": "", "dd": ""}, None)
    ('a', 'c', 'd')
    """
    ahead, behind = [set(names)], [{goal}]  # the packages at each distance from ``start``, and from ``goal``
    found, found_behind = {""}, set[str]()
    while not (meeting := ahead[-1] & behind[-1]):
        if dependents is None or len(ahead[-1]) <= len(behind[-1]):
            found |= ahead[-1]
            ahead.append(set(",".join(map(lists.__getitem__, ahead[-1])).split(",")) - found)
        else:
            found_behind |= behind[-1]
            behind.append(set(chain.from_iterable(map(dependents, behind[-1]))) - found_behind)
        if not ahead[-1] or not behind[-1]:
            return ()
    path = [min(meeting)]
    for level in reversed(ahead[:-1]):
        path.append(min(name for name in level if path[-1] in lists[name] and path[-1] in lists[name].split(",")))
    path.append(start)
    path.reverse()
    for level in reversed(behind[:-1]):
        path.append(min(level.intersection(lists[path[-1]].split(","))))
    return tuple(path)


def successors_first(nodes: Iterable[str], successors: Callable[[str], Iterable[str]]) -> list[str]:
    """Return ``nodes`` and all nodes that they reach, each after its successors.

    If a cycle makes that impossible, a node comes before those of its successors through which it was
    reached, and after the others (a depth-first search, postorder).
    """
    order: list[str] = []
    found: set[str] = set()
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


def dependencies_first(names: set[str], dependencies: Callable[[str], Iterable[str]]) -> list[str]:
    """Return ``names``, each after those of its ``dependencies`` among them, as :func:`successors_first` does.

    It takes half of the time of intersecting each list with ``names`` for that.
    """
    order: list[str] = []
    unvisited = names.copy()
    for root in sorted(names):
        if root not in unvisited:
            continue
        unvisited.remove(root)
        path = [(root, iter(dependencies(root)))]
        while path:
            name, remaining = path[-1]
            for dependency in remaining:
                if dependency in unvisited:
                    unvisited.remove(dependency)
                    path.append((dependency, iter(dependencies(dependency))))
                    break
            else:
                path.pop()
                order.append(name)
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
