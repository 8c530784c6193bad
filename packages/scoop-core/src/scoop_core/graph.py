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

Whatever is a key has been checked by :func:`parse_name`, so a dependency that is
indexed needs no further check, and only names that are *not* indexed are ever looked at by characters.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice, takewhile
from operator import contains, itemgetter
from typing import Final, Self, assert_never

from scoop_core.errors import InvalidName, RequestRefused
from scoop_core.graph_queries import GraphQueries, same_names, split_names
from scoop_core.messages import (
    Command,
    Request,
    Response,
    encode_response,
    is_name,
    listed_names,
    parse_name,
    parse_names,
    parse_request,
)
from scoop_core.refusals import ClosesCycle, MissingDependencies
from scoop_core.tally import UNKNOWN, Tally

_OK: Final = encode_response(Response.OK)
_FAIL: Final = encode_response(Response.FAIL)
_ERROR: Final = encode_response(Response.ERROR)
_RESPONSES: Final = {encode_response(response): response for response in Response}


def _are_keys(mapping: dict[str, int], names: list[str]) -> bool:
    """Tell whether all ``names``, one at least, are keys: one look-up of them all takes an eighth less than many."""
    try:
        itemgetter(*names)(mapping)
    except KeyError:
        return False
    return True


class Changes:
    r"""What a batch of requests changed, in order: enough to repeat it, and enough to take it back.

    ``lines[i]`` is the request that made change ``i``, in its wire form without newline;
    ``previous[i]`` is the dependency list that it replaced, as text, or None where the package was not
    indexed before. Applied to an equal graph, the lines lead to an equal graph.

    >>> changes = Changes()
    >>> DependencyGraph().apply_lines("INDEX|gmp|\nINDEX|isl|gmp\nINDEX|gcc|mpfr\nREMOVE|isl|\n", changes)
    'OK\nOK\nFAIL\nOK\n'
    >>> list(zip(changes.lines, changes.previous))
    [('INDEX|gmp|', None), ('INDEX|isl|gmp', None), ('REMOVE|isl|', 'gmp')]
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
        r"""Forget all changes.

        >>> DependencyGraph().apply_lines("INDEX|gmp|\n", changes := Changes())
        'OK\n'
        >>> changes.clear()
        >>> len(changes)
        0
        """
        self.lines.clear()
        self.previous.clear()


class DependencyGraph(GraphQueries):
    """Which packages are indexed, and what each depends on.

    With ``reject_cycles``, an INDEX that would close a cycle of dependencies fails; a package that
    depends on itself is a cycle of one.

    A graph is a collection of names: ``name in graph`` and ``len(graph)`` are O(1), iteration is in the order
    in which the packages came, and two graphs are equal when the same packages depend on the same packages,
    in whatever order. It can be copied and pickled. It has no lock: threads that share one take turns, as
    they would with a dictionary that takes several steps to change.

    >>> graph = DependencyGraph()
    >>> graph.index("gmp")
    <Response.OK: 'OK'>
    >>> graph.index("isl", ["gmp"])
    <Response.OK: 'OK'>
    >>> graph.remove("gmp")
    <Response.FAIL: 'FAIL'>
    >>> graph
    <DependencyGraph: 2 packages: gmp, isl>
    >>> "isl" in graph, len(graph), list(graph), graph == graph.copy()
    (True, 2, ['gmp', 'isl'], True)
    """

    __slots__ = ("_dependencies", "_dependent_counts", "reject_cycles")

    def __init__(self, *, reject_cycles: bool = False) -> None:
        self.reject_cycles: bool = reject_cycles
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
        return all(same_names(text, other._dependencies[name]) for name, text in self._dependencies.items())

    def __repr__(self) -> str:
        packages = f"{len(self):,} package{'s' * (len(self) != 1)}"
        names = [*islice(self, _NAMES_IN_REPR), *["..."] * (len(self) > _NAMES_IN_REPR)]
        return f"<DependencyGraph: {packages}{': ' * bool(names)}{', '.join(names)}>"

    def copy(self) -> Self:
        """Return a graph of its own that is equal and treats cycles alike. O(P), and shares the texts.

        >>> graph = DependencyGraph()
        >>> graph.copy().index("gmp")
        <Response.OK: 'OK'>
        >>> "gmp" in graph
        False
        """
        twin = type(self)(reject_cycles=self.reject_cycles)
        twin._dependent_counts = self._dependent_counts.copy()
        twin._dependencies = self._dependencies.copy()
        return twin

    __copy__ = copy

    # One request

    def index(self, package: str, dependencies: Iterable[str] = ()) -> Response:
        """Index ``package``, or replace the dependencies that it is indexed with.

        FAIL, and nothing changes, where a dependency is not indexed. Raises
        :exc:`InvalidName` where a name that is not indexed is no name. O(dependencies), the old ones and the
        new; where the graph rejects cycles, also what the new ones need.

        >>> graph = DependencyGraph()
        >>> graph.index("isl", ["gmp"])
        <Response.FAIL: 'FAIL'>
        >>> graph.index("gmp"), graph.index("isl", ["gmp"])
        (<Response.OK: 'OK'>, <Response.OK: 'OK'>)
        """
        names = list(listed_names(dependencies))
        for name in names:
            if name not in self._dependent_counts:
                parse_name(name)
        return _RESPONSES[self._index(package, ",".join(names), None)]

    def remove(self, package: str) -> Response:
        """Remove ``package``: FAIL while another package depends on it, OK also where it is not indexed.

        Raises :exc:`InvalidName` where it is no name. O(its dependencies).

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> graph.remove("gmp"), graph.remove("isl"), graph.remove("gmp")
        (<Response.FAIL: 'FAIL'>, <Response.OK: 'OK'>, <Response.OK: 'OK'>)
        """
        return _RESPONSES[self._remove(package, "", None)]

    def query(self, package: str) -> Response:
        """Return OK where ``package`` is indexed, else FAIL.

        Raises :exc:`InvalidName` where it is no name. O(1).

        >>> DependencyGraph().query("gmp")
        <Response.FAIL: 'FAIL'>
        """
        return _RESPONSES[self._query(package, "")]

    def apply(self, request: Request) -> Response:
        """Answer one request, as :meth:`index`, :meth:`remove` or :meth:`query` do.

        >>> graph = DependencyGraph()
        >>> graph.apply(Request.of(Command.INDEX, "isl", ["gmp"]))
        <Response.FAIL: 'FAIL'>
        """
        match request.command:
            case Command.INDEX:
                return self.index(request.package, request.dependencies)
            case Command.REMOVE:
                return self.remove(request.package)
            case Command.QUERY:
                return self.query(request.package)
            case _:
                assert_never(request.command)

    # A batch

    def apply_lines(self, text: str, changes: Changes | None = None, tally: Tally | None = None) -> str:
        r"""Answer every line of ``text`` in order; return the answers, each with its newline, in one text.

        ``text`` is zero or more lines, each ended by a newline alone, as :class:`Connection` hands them on: a
        CR is a part of the line here, and no name holds one. A line that is no request is answered ERROR. What
        changed is appended to ``changes``, and each answer is counted in ``tally``, if given. Raises ValueError, and
        nothing changes, where the last line has no newline: it may not be whole.

        This says the same as :func:`parse_request` and :meth:`apply` line by line, and is
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
        name = text[6:-2]
        if "\n" not in name:
            if name in counts and text == f"QUERY|{name}|\n":
                if tally is not None:
                    tally.present_queries += 1
                return _OK
        elif text.startswith("QUERY|") and text.endswith("|\n"):
            names = name.split("|\nQUERY|")
            if _are_keys(counts, names):
                if tally is not None:
                    tally.present_queries += len(names)
                return _OK * len(names)
        lines = text.split("\n")
        if lines.pop():
            raise ValueError("a line has no newline at its end")
        return "".join(self._apply_each(lines, changes, tally))

    def apply_batches(
        self, texts: Sequence[str], changes: Changes | None = None, tally: Tally | None = None
    ) -> list[str]:
        r"""Answer the texts of several clients in order; return one text of answers for each.

        The answers, the changes and the counts are those of :meth:`apply_lines` on one text after the other; many
        texts of one line take less time together. Raises ValueError for a text that is not empty and has no
        newline at its end; the texts before it are applied.

        >>> DependencyGraph().apply_batches(["INDEX|a|\nQUERY|b|\n", "", "QUERY|a|\n"])
        ['OK\nFAIL\n', '', 'OK\n']
        """
        joined = "\r".join(texts)  # shows where each text begins, as long as none holds a CR itself
        borders = len(texts) - 1
        is_one_line_each = (
            joined.count("\r") == joined.count("\n\r") == borders == joined.count("\n") - 1 and joined[-1] == "\n"
        )
        if is_one_line_each and joined.startswith("QUERY|") and joined.endswith("|\n"):
            names = joined[6:-2].split("|\n\rQUERY|")
            if len(names) == len(texts) and _are_keys(self._dependent_counts, names):
                if tally is not None:
                    tally.present_queries += len(names)
                return [_OK] * len(names)
        # apply_lines answers a QUERY at the first look, which for fewer than 1 change in 8 outweighs its call.
        if not is_one_line_each or joined.count("\rQUERY|") > borders * 7 // 8:
            return [self.apply_lines(text, changes, tally) for text in texts]
        return self._apply_each(joined[:-1].split("\n\r"), changes, tally)

    def _apply_each(  # noqa: C901  # the one place where what is common is told apart on the spot
        self, lines: list[str], changes: Changes | None, tally: Tally | None
    ) -> list[str]:
        """Answer ``lines`` one by one.

        What most requests come to is done on the spot, because a call and the look-ups at its start take a sixth
        of the time of a change; all the rest is left to the transitions below, which say the same in plain words.
        """
        counts, dependencies = self._dependent_counts, self._dependencies
        answers: list[str] = []
        failed: list[str] = []  # the commands that were answered so
        broken: list[str] = []
        indexes = removes = 0
        changes = Changes() if changes is None else changes
        changed_lines, replaced = changes.lines, changes.previous
        for line in lines:
            try:
                command, package, listed = line.split("|")
            except ValueError:
                command, answer = UNKNOWN, _ERROR
            else:
                try:
                    if command == "QUERY":
                        answer = _OK if package in counts and not listed else self._query(package, listed)
                    elif command == "INDEX":
                        indexes += 1
                        previous = dependencies.get(package)
                        if previous == listed:  # most often the very list that is indexed already
                            answer = _OK
                        elif previous is None and is_name(package) and self._count_dependent_on(listed):
                            dependencies[package] = listed
                            counts[package] = 0
                            changed_lines.append(line)
                            replaced.append(None)
                            answer = _OK
                        else:
                            answer = self._index(package, listed, changes)
                    elif command == "REMOVE":
                        removes += 1
                        if not listed and counts.get(package) == 0:
                            previous = self._forget(package)
                            changed_lines.append(line)
                            replaced.append(previous)
                            answer = _OK
                        else:
                            answer = self._remove(package, listed, changes)
                    else:
                        command, answer = UNKNOWN, _ERROR
                except InvalidName:
                    answer = _ERROR
            answers.append(answer)
            if answer is not _OK:
                (failed if answer is _FAIL else broken).append(command)
        if tally is not None:
            tally._count(len(answers), indexes, removes, failed, broken)
        return answers

    def undo(self, changes: Changes) -> None:
        r"""Take ``changes`` back, the last one first, so that the graph is what it was before them.

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> graph.apply_lines("REMOVE|isl|\nREMOVE|gmp|\n", changes := Changes())
        'OK\nOK\n'
        >>> graph.undo(changes)
        >>> graph
        <DependencyGraph: 2 packages: gmp, isl>
        """
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
        previous = self._dependencies.get(package)
        if previous is None:
            parse_name(package)
        names = split_names(listed)
        if len(set(names)) < len(names):
            names = [*parse_names(listed)]  # it is an error if any is no name
            listed = ",".join(names)
        if previous is None:
            if not self._count_dependent_on(listed):
                parse_names(listed)  # an invalid name is an error, a missing one a refusal
                return _FAIL
            self._dependencies[package] = listed
            counts[package] = 0
        else:
            if not all(map(counts.__contains__, names)):
                parse_names(listed)
                return _FAIL
            if same_names(previous, listed):
                self._dependencies[package] = listed  # so that the same line, next time, is one comparison
                return _OK
            if self.reject_cycles and self._would_close_cycle(package, names):
                return _FAIL
            self._replace(package, listed)
        if changes is not None:
            changes.lines.append(f"INDEX|{package}|{listed}")
            changes.previous.append(previous)
        return _OK

    def _count_dependent_on(self, listed: str) -> bool:
        """Count a new package that depends on ``listed``; do nothing and return False where one is missing or repeated.

        Most often none is, so each is looked up once.
        """
        if not listed:
            return True
        counts = self._dependent_counts
        names = listed.split(",")
        if len({*names}) < len(names):
            return False
        try:
            for name in names:
                counts[name] += 1
        except KeyError:
            for name in takewhile(counts.__contains__, names):
                counts[name] -= 1
            return False
        return True

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
        for name in split_names(self._dependencies.get(package, "")):
            counts[name] -= name != package
        self._dependencies[package] = listed
        counts.setdefault(package, 0)
        for name in split_names(listed):
            counts[name] += name != package

    def _forget(self, package: str) -> str:
        """Drop ``package``, on which nothing else depends; return the dependencies that it had."""
        counts = self._dependent_counts
        listed = self._dependencies.pop(package)
        if listed:
            for name in listed.split(","):
                counts[name] -= 1
        del counts[package]  # last, because the package may be one of the names
        return listed

    def _would_close_cycle(self, package: str, names: Iterable[str]) -> bool:
        """Tell whether depending on ``names`` puts ``package`` on a cycle that does not exist yet.

        Linear in the packages and dependencies that the new names need. An old dependency cannot close
        anything: a cycle through it exists already.
        """
        unexplored = list(set(names).difference(split_names(self._dependencies[package])))
        if package in unexplored:
            return True
        if not self._dependent_counts[package]:
            return False
        explored = set(unexplored)
        while unexplored:
            for name in split_names(self._dependencies[unexplored.pop()]):
                if name == package:
                    return True
                if name not in explored:
                    explored.add(name)
                    unexplored.append(name)
        return False

    # In and out, whole

    def to_lines(self) -> Iterator[str]:
        """Yield the INDEX lines, without newline, that rebuild this graph in any package indexer.

        A package comes after its dependencies; dependencies are sorted, and so is whatever order is left
        open, so that equal graphs give equal lines. Where packages depend on each other in a cycle, one of
        them comes first without the dependencies that are still to come, and a second time, whole, once
        they have come. Takes time in proportion to packages and dependencies, but for the sorting, and no
        recursion. The graph must not change meanwhile.

        >>> list(DependencyGraph.from_mapping({"a": ["b"], "b": ["a", "c"], "c": []}).to_lines())
        ['INDEX|c|', 'INDEX|b|c', 'INDEX|a|b', 'INDEX|b|a,c']
        """
        written: set[str] = set()
        for package in sorted(self._dependencies):
            if package in written:
                continue
            names = sorted(split_names(self._dependencies[package]))
            if written.issuperset(names):
                written.add(package)
                yield _index_line(package, names)
            else:
                yield from self._lines_up_to(package, names, written)

    def to_requests(self) -> tuple[Request, ...]:
        """Return the requests of :meth:`to_lines`, all at once. O(P log P + D log D).

        >>> DependencyGraph.from_mapping({"gmp": []}).to_requests()
        (Request(command=<Command.INDEX: 'INDEX'>, package='gmp', dependencies=()),)
        """
        return tuple(map(parse_request, self.to_lines()))

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
                    next_names = sorted(split_names(self._dependencies[name]))
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
    def from_requests(cls, requests: Iterable[Request], *, reject_cycles: bool = False) -> Self:
        """Return the graph that ``requests`` lead to, applied in order to an empty one.

        Raises :exc:`RequestRefused` for the first that is not answered OK.

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> DependencyGraph.from_requests(graph.to_requests()) == graph
        True
        """
        graph = cls(reject_cycles=reject_cycles)
        for request in requests:
            if graph.apply(request) is Response.FAIL and (refusal := graph.explain(request)):
                raise RequestRefused(refusal)
        return graph

    @classmethod
    def from_lines(cls, lines: Iterable[str], *, reject_cycles: bool = False) -> Self:
        r"""Return the graph that a transcript of request lines leads to, with or without newlines.

        Lines that begin with ``#`` are notes. Raises :exc:`MalformedRequest` for a line that is no request,
        and :exc:`RequestRefused` for the first that is not answered OK. A snapshot can be read in this way
        too, but only :func:`~scoop_core.decode_snapshot` verifies that it is whole.

        >>> DependencyGraph.from_lines(["INDEX|gmp|\n", "INDEX|isl|gmp\n"])
        <DependencyGraph: 2 packages: gmp, isl>
        """
        requests = (parse_request(line.removesuffix("\n")) for line in lines if not line.startswith("#"))
        return cls.from_requests(requests, reject_cycles=reject_cycles)

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, Iterable[str]], *, add_missing: bool = False, reject_cycles: bool = False
    ) -> Self:
        """Return the graph in which each key of ``mapping`` is a package that depends on the names of its value.

        The packages may come in any order and depend on each other in cycles. A name that is only a
        dependency, and no key, is an error, because it is often a slip of the pen; with ``add_missing`` it
        becomes a package without dependencies. O(P + D). Raises :exc:`InvalidName` where a name is none, and
        :exc:`RequestRefused` where a dependency is missing, or where ``reject_cycles`` forbids a cycle.

        >>> DependencyGraph.from_mapping({"isl": ["gmp"]}, add_missing=True)
        <DependencyGraph: 2 packages: isl, gmp>
        """
        requests = [Request.of(Command.INDEX, package, names) for package, names in mapping.items()]
        lists = {request.package: request.dependencies for request in requests}
        if add_missing:
            for name in dict.fromkeys(name for names in lists.values() for name in names):
                lists.setdefault(name, ())
        graph = cls.from_lists(list(lists), map(",".join, lists.values()), reject_cycles=reject_cycles)
        if reject_cycles and (cycles := graph.cyclic_components()):
            package = cycles[0][0]
            raise RequestRefused(ClosesCycle(package, graph.find_path(package, package)))
        return graph

    @classmethod
    def from_lists(
        cls,
        packages: Sequence[str],
        listed: Iterable[str],
        dependent_counts: Iterable[int] | None = None,
        *,
        reject_cycles: bool = False,
    ) -> Self:
        """Return the graph in which package ``i`` has the dependency list ``i``, a comma-separated text.

        A package given twice has what it is given last. This is the way in for millions of packages: it trusts
        that the names are names and that no list holds one twice, as :meth:`to_lines` writes them. With
        ``dependent_counts``, how many other packages depend on package ``i``, it trusts these too, and looks up
        no dependency at all, which would take longer than all the rest. Cycles are accepted, with
        ``reject_cycles`` too, which then holds for what comes later. O(P + D). Raises ValueError where the lists
        differ in length; without ``dependent_counts`` also :exc:`RequestRefused` where a dependency is not among
        the packages, or :exc:`InvalidName` where it is no name either.

        >>> DependencyGraph.from_lists(["cloog", "gmp", "isl"], ["gmp,isl", "", "gmp"])
        <DependencyGraph: 3 packages: cloog, gmp, isl>
        """
        graph = cls(reject_cycles=reject_cycles)
        graph._dependencies.update(zip(packages, listed, strict=True))
        if dependent_counts is None:
            graph._count_dependents()
        else:
            graph._dependent_counts.update(zip(packages, dependent_counts, strict=True))
        return graph

    def _count_dependents(self) -> None:
        """Fill the counts from the lists, in a few calls instead of one a dependency."""
        dependencies = self._dependencies
        counts = Counter(dict.fromkeys(dependencies, 0))
        texts = list(filter(None, dependencies.values()))
        for start in range(0, len(texts), _LISTS_COUNTED_AT_ONCE):
            counts.update(",".join(texts[start : start + _LISTS_COUNTED_AT_ONCE]).split(","))
        if len(counts) > len(dependencies):
            raise RequestRefused(self._first_missing())
        # A package that depends on itself does not count itself; first a cheap test that errs to one side.
        holds_own_name = map(contains, dependencies.values(), dependencies)
        for package in list(compress(dependencies, holds_own_name)):
            counts[package] -= package in dependencies[package].split(",")
        self._dependent_counts = dict(counts)

    def _first_missing(self) -> MissingDependencies:
        """Return what a graph misses that is being made, and in which not every dependency is a package."""
        misses = (
            MissingDependencies(package, self.missing_dependencies(package, split_names(listed)))
            for package, listed in self._dependencies.items()
        )
        return next(each for each in misses if each.missing)


_NAMES_IN_REPR: Final = 3

_LISTS_COUNTED_AT_ONCE: Final = 10_000
"""Bounds the names that exist twice while a graph is loaded; more at once gains nothing."""


def _index_line(package: str, names: Iterable[str]) -> str:
    return f"INDEX|{package}|{','.join(names)}"
