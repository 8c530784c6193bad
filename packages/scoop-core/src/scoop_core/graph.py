"""The dependency graph: the state machine that says yes or no to INDEX, REMOVE and QUERY.

Two dictionaries hold everything, and both have every indexed package as a key:

``_dependent_counts``
    how many other packages depend on it. This one *is* the index: a name is indexed when it is a key
    here, and an INDEX looks up and counts each dependency in this dictionary alone, because at a
    million packages each further look-up is a further cache miss.
``_dependencies``
    its dependencies, as the text that arrived: ``"gmp,isl,pkg-config"``. A repeated INDEX is then one
    comparison, a line of a snapshot is ready-made, and the garbage collector has nothing to walk.

A package that depends on itself is not counted among its own dependents: it never blocks its own REMOVE.

Whatever is a key has been checked by :func:`~scoop_core.messages.parse_name`, so a dependency that is
indexed needs no further check, and only names that are *not* indexed are ever looked at by characters.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

from scoop_core.errors import InvalidName
from scoop_core.messages import Command, Request, Response, encode_response, parse_name, parse_names

_OK: Final = encode_response(Response.OK)
_FAIL: Final = encode_response(Response.FAIL)
_ERROR: Final = encode_response(Response.ERROR)
_RESPONSES: Final = {encode_response(response): response for response in Response}


class Changes:
    """What a batch of requests changed, in order: enough to repeat it, and enough to take it back.

    ``lines[i]`` is the request that made change ``i``, in its wire form without newline;
    ``previous[i]`` is the dependency list that it replaced, as text, or None where the package was not
    indexed before. Applied to an equal graph, the lines lead to an equal graph.
    """

    __slots__ = ("lines", "previous")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.previous: list[str | None] = []

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"<Changes: {len(self.lines)}>"

    def clear(self) -> None:
        """Forget all changes."""
        self.lines.clear()
        self.previous.clear()


class DependencyGraph:
    """Which packages are indexed, and what each depends on.

    With ``reject_cycles``, an INDEX that would close a cycle of dependencies fails; a package that
    depends on itself is a cycle of one.

    >>> graph = DependencyGraph()
    >>> graph.index("gmp")
    <Response.OK: 'OK'>
    >>> graph.index("isl", ["gmp"])
    <Response.OK: 'OK'>
    >>> graph.remove("gmp")
    <Response.FAIL: 'FAIL'>
    >>> graph.dependencies("isl")
    ('gmp',)
    """

    __slots__ = ("_dependencies", "_dependent_counts", "reject_cycles")

    def __init__(self, *, reject_cycles: bool = False) -> None:
        self.reject_cycles = reject_cycles
        self._dependent_counts: dict[str, int] = {}
        self._dependencies: dict[str, str] = {}

    # What is in it

    def __contains__(self, package: object) -> bool:
        return package in self._dependent_counts

    def __len__(self) -> int:
        return len(self._dependent_counts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dependent_counts)

    def __eq__(self, other: object) -> bool:
        """Two graphs are equal when the same packages depend on the same packages, in whatever order."""
        if not isinstance(other, DependencyGraph):
            return NotImplemented
        if self._dependencies.keys() != other._dependencies.keys():
            return False
        return all(_same_names(text, other._dependencies[name]) for name, text in self._dependencies.items())

    def __repr__(self) -> str:
        return f"<DependencyGraph: {len(self)} packages>"

    def dependencies(self, package: str) -> tuple[str, ...]:
        """Return what ``package`` depends on directly. Raises KeyError where it is not indexed."""
        return tuple(_split(self._dependencies[package]))

    def dependent_count(self, package: str) -> int:
        """Return how many other packages depend on ``package`` directly. Raises KeyError where it is not indexed."""
        return self._dependent_counts[package]

    # One request

    def index(self, package: str, dependencies: Iterable[str] = ()) -> Response:
        """Index ``package``, or replace the dependencies that it is indexed with.

        FAIL, and nothing changes, where a dependency is not indexed. Raises
        :exc:`~scoop_core.errors.InvalidName` where a name that is not indexed is no name.
        """
        if isinstance(dependencies, str):
            raise TypeError(f"dependencies are an iterable of names, not the one text {dependencies!r}")
        names = list(dependencies)
        for name in names:
            if name not in self._dependent_counts:
                parse_name(name)
        return _RESPONSES[self._index(package, ",".join(names), None)]

    def remove(self, package: str) -> Response:
        """Remove ``package``: FAIL while another package depends on it, OK also where it is not indexed.

        Raises :exc:`~scoop_core.errors.InvalidName` where it is no name.
        """
        return _RESPONSES[self._remove(package, "", None)]

    def query(self, package: str) -> Response:
        """Return OK where ``package`` is indexed, else FAIL.

        Raises :exc:`~scoop_core.errors.InvalidName` where it is no name.
        """
        return _RESPONSES[self._query(package, "")]

    def apply(self, request: Request) -> Response:
        """Answer one request."""
        match request.command:
            case Command.INDEX:
                return self.index(request.package, request.dependencies)
            case Command.REMOVE:
                return self.remove(request.package)
            case _:  # QUERY, the only one left
                return self.query(request.package)

    # A batch

    def apply_lines(self, text: str, changes: Changes) -> str:
        r"""Answer every line of ``text`` in order; return the answers, each with its newline, in one text.

        ``text`` is zero or more lines, each ended by a newline alone, as :class:`~scoop_core.Connection` hands
        them on: a CR is a part of the line here, and no name holds one. A line that is no request is answered
        ERROR. What changed is appended to ``changes``.

        This says the same as :func:`~scoop_core.parse_request` and :meth:`apply` line by line, and is
        written for speed: it makes no object per message, and asks what a line is only as far as the
        dictionaries cannot tell.

        >>> DependencyGraph().apply_lines("INDEX|a|\nQUERY|a|\nREMOVE|a\n", changes := Changes())
        'OK\nOK\nERROR\n'
        >>> changes.lines
        ['INDEX|a|']
        """
        counts = self._dependent_counts
        # Nothing but QUERYs for indexed packages, the most common batch by far: cut at what stands between
        # two names. No key holds a bar or a newline, so where each piece is a key, each line was well formed.
        if text.startswith("QUERY|") and text.endswith("|\n"):
            name = text[6:-2]
            if name in counts:
                return _OK
            names = name.split("|\nQUERY|")
            if all(map(counts.__contains__, names)):
                return _OK * len(names)

        dependencies = self._dependencies
        answers: list[str] = []
        lines = text.split("\n")
        lines.pop()  # what stands after the last newline: nothing
        for line in lines:
            try:
                command, package, listed = line.split("|")
            except ValueError:
                answers.append(_ERROR)
                continue
            try:
                if command == "QUERY":
                    answer = _OK if package in counts and not listed else self._query(package, listed)
                elif command == "INDEX":
                    # Most often the very list that is indexed already: an unknown package has None, equal to no text.
                    answer = _OK if dependencies.get(package) == listed else self._index(package, listed, changes)
                elif command == "REMOVE":
                    answer = self._remove(package, listed, changes)
                else:
                    answer = _ERROR
            except InvalidName:
                answer = _ERROR
            answers.append(answer)
        return "".join(answers)

    def undo(self, changes: Changes) -> None:
        """Take ``changes`` back, the last one first, so that the graph is what it was before them."""
        for line, previous in zip(reversed(changes.lines), reversed(changes.previous), strict=True):
            package = line.split("|")[1]
            if previous is None:
                self._forget(package)
            else:
                self._replace(package, previous)

    # The transitions

    def _query(self, package: str, listed: str) -> str:
        if listed:
            parse_names(listed)  # ignored, unless one of them is no name
        if package in self._dependent_counts:
            return _OK
        parse_name(package)
        return _FAIL

    def _index(self, package: str, listed: str, changes: Changes | None) -> str:
        counts = self._dependent_counts
        names = listed.split(",") if listed else []
        is_new = package not in counts
        if is_new:
            parse_name(package)
        if not all(map(counts.__contains__, names)):
            parse_names(listed)  # an invalid name is an error, a missing one a refusal
            return _FAIL
        if len(set(names)) < len(names):
            names = list(dict.fromkeys(names))
            listed = ",".join(names)
        if is_new:
            previous = None
            self._dependencies[package] = listed
            counts[package] = 0
            for name in names:
                counts[name] += 1
        else:
            previous = self._dependencies[package]
            if _same_names(previous, listed):
                self._dependencies[package] = listed  # so that the same line, next time, is one comparison
                return _OK
            if self.reject_cycles and self._would_close_cycle(package, names):
                return _FAIL
            self._replace(package, listed)
        if changes is not None:
            changes.lines.append(f"INDEX|{package}|{listed}")
            changes.previous.append(previous)
        return _OK

    def _remove(self, package: str, listed: str, changes: Changes | None) -> str:
        if listed:
            parse_names(listed)  # ignored, unless one of them is no name
        count = self._dependent_counts.get(package)
        if count is None:
            parse_name(package)
            return _OK
        if count:
            return _FAIL
        previous = self._forget(package)
        if changes is not None:
            changes.lines.append(f"REMOVE|{package}|")
            changes.previous.append(previous)
        return _OK

    def _replace(self, package: str, listed: str) -> None:
        """Give ``package``, which may be new, the dependencies ``listed``: all indexed, each once."""
        counts = self._dependent_counts
        for name in _split(self._dependencies.get(package, "")):
            counts[name] -= name != package
        self._dependencies[package] = listed
        counts.setdefault(package, 0)
        for name in _split(listed):
            counts[name] += name != package

    def _forget(self, package: str) -> str:
        """Drop ``package``, on which nothing else depends; return the dependencies that it had."""
        counts = self._dependent_counts
        listed = self._dependencies.pop(package)
        for name in _split(listed):
            counts[name] -= 1
        del counts[package]  # last, because the package may be one of the names
        return listed

    def _would_close_cycle(self, package: str, names: Iterable[str]) -> bool:
        """Tell whether depending on ``names`` puts ``package`` on a cycle that does not exist yet.

        Linear in the packages and dependencies that the new names need. An old dependency cannot close
        anything: a cycle through it exists already.
        """
        unexplored = list(set(names).difference(_split(self._dependencies[package])))
        if package in unexplored:
            return True
        if not self._dependent_counts[package]:
            return False
        explored = set(unexplored)
        while unexplored:
            for name in _split(self._dependencies[unexplored.pop()]):
                if name == package:
                    return True
                if name not in explored:
                    explored.add(name)
                    unexplored.append(name)
        return False

    # In and out, whole

    def rebuild_lines(self) -> Iterator[str]:
        """Yield the INDEX lines, without newline, that rebuild this graph in any package indexer.

        A package comes after its dependencies; dependencies are sorted, and so is whatever order is left
        open, so that equal graphs give equal lines. Where packages depend on each other in a cycle, one of
        them comes first without the dependencies that are still to come, and a second time, whole, once
        they have come. Takes time in proportion to packages and dependencies, but for the sorting, and no
        recursion. The graph must not change meanwhile.
        """
        written: set[str] = set()
        for package in sorted(self._dependencies):
            if package in written:
                continue
            names = sorted(_split(self._dependencies[package]))
            if written.issuperset(names):
                written.add(package)
                yield _index_line(package, names)
            else:
                yield from self._lines_up_to(package, names, written)

    def _lines_up_to(self, package: str, names: list[str], written: set[str]) -> Iterator[str]:
        """Yield the lines of ``package`` and of all that it needs, but for what is ``written``; add them to it."""
        entered = {package}
        path = [(package, names, iter(names))]
        incomplete: list[tuple[str, list[str]]] = []
        while path:
            package, names, unvisited = path[-1]
            for name in unvisited:
                if name not in written and name not in entered:
                    entered.add(name)
                    next_names = sorted(_split(self._dependencies[name]))
                    path.append((name, next_names, iter(next_names)))
                    break
            else:
                path.pop()
                present = [name for name in names if name in written]
                written.add(package)
                yield _index_line(package, present)
                if len(present) < len(names):  # the rest waits further up the path, so a cycle leads there
                    incomplete.append((package, names))
        for package, names in incomplete:
            yield _index_line(package, names)

    @classmethod
    def from_lists(
        cls,
        packages: Sequence[str],
        listed: Iterable[str],
        dependent_counts: Iterable[int],
        *,
        reject_cycles: bool = False,
    ) -> Self:
        """Return the graph in which package ``i`` has the dependency list ``i``, a text, and as many dependents.

        A package given twice has what it is given last. This is the way in for a snapshot of millions of
        packages, and it believes what it is told: names that are names, lists that hold none of them twice, all
        of them indexed, and counts that are right, as :meth:`rebuild_lines` and :meth:`dependent_count` tell
        them. To look up every dependency again would take longer than all the rest of a start.
        Raises ValueError where the three are not of one length.
        """
        graph = cls(reject_cycles=reject_cycles)
        graph._dependencies.update(zip(packages, listed, strict=True))
        graph._dependent_counts.update(zip(packages, dependent_counts, strict=True))
        return graph


def _split(listed: str) -> list[str]:
    return listed.split(",") if listed else []


def _same_names(listed: str, other: str) -> bool:
    """Tell whether two lists, neither of which holds a name twice, hold the same names."""
    return listed == other or (len(listed) == len(other) and set(listed.split(",")) == set(other.split(",")))


def _index_line(package: str, names: Iterable[str]) -> str:
    return f"INDEX|{package}|{','.join(names)}"
