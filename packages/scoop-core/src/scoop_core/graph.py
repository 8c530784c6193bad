"""The dependency graph: a state machine that answers INDEX, REMOVE and QUERY, one at a time or in batches.

This module is its public interface: requests and constructors. :mod:`~scoop_core.graph_state` holds the
data and the transitions, :mod:`~scoop_core.graph_queries` and :mod:`~scoop_core.graph_requests` answer questions.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, filterfalse, islice
from math import inf
from operator import contains, itemgetter
from typing import Final, Self, TypeVar, assert_never

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import ClosesCycle, MalformedRequest, MissingDependencies, RequestRefused, shown
from scoop_core.graph_order import PartialResponses
from scoop_core.graph_requests import GraphRequests
from scoop_core.graph_state import same_names, split_names
from scoop_core.messages import OK, Changes, Command, Request, Response, Tally, encode_response, parse_request
from scoop_core.names import is_name, listed_names, package_names, parse_name, parse_names

Graph = TypeVar("Graph", bound="DependencyGraph")

_RESPONSES: Final = {encode_response(response): response for response in Response}


def _are_keys(mapping: dict[str, int], names: list[str]) -> bool:
    """Return whether all ``names``, at least one, are keys. One look-up of all takes an eighth less time than many."""
    try:
        itemgetter(*names)(mapping)
    except KeyError:
        return False
    return True


def _split_lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines.pop():
        raise ValueError("a line has no newline at its end")
    return lines


@mypyc_attr(allow_interpreted_subclasses=True)
class DependencyGraph(GraphRequests):
    """The packages that are indexed, and the dependencies of each.

    With ``reject_cycles``, an INDEX that would close a cycle of dependencies fails; a package that
    depends on itself is a cycle of one.

    A graph is a collection of names: ``name in graph`` and ``len(graph)`` are O(1), iteration is in the order
    in which the packages were indexed, and two graphs are equal if the same packages depend on the same packages. It
    can be copied and pickled. It has no lock: a change takes several steps, so threads that share a graph must
    synchronize.

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

    __slots__ = ()

    # A collection of names

    def __contains__(self, package: object) -> bool:
        return package in self._dependent_counts

    def __len__(self) -> int:
        return len(self._dependent_counts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dependent_counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DependencyGraph):
            return NotImplemented
        lists = other._dependencies
        if self._dependencies == lists:
            return True
        if self._dependencies.keys() != lists.keys():
            return False
        return all(same_names(listed, lists[name]) for name, listed in self._dependencies.items())

    def __repr__(self) -> str:
        packages = f"{len(self):,} package{'s' * (len(self) != 1)}"
        names = [*islice(self, _NAMES_IN_REPR), *["..."] * (len(self) > _NAMES_IN_REPR)]
        return f"<{type(self).__name__}: {packages}{': ' * bool(names)}{', '.join(names)}>"

    def copy(self) -> Self:
        """Return an equal graph that is independent of this one; the attributes of a subclass are shared. O(P).

        >>> DependencyGraph().copy()
        <DependencyGraph: 0 packages>
        """
        twin = type(self).__new__(type(self))
        # __init__ is not called, because that of a subclass may need arguments.
        for attributes in self.__getstate__():
            for name, value in (attributes or {}).items():
                object.__setattr__(twin, name, value)
        twin._load(*self._copies())
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    # One request

    def index(self, package: str, dependencies: Iterable[str] = (), changes: Changes | None = None) -> Response:
        """Index ``package``, or replace the dependencies that it is indexed with.

        The change is appended to ``changes``, if given, here and below. FAIL, and nothing changes, if a dependency is
        not indexed. Raises :exc:`InvalidName`. O(dependencies), the old and the new; if the graph rejects cycles, also
        what the new ones need that follows the package in topological order.

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
        return _RESPONSES[self._change_one(self._index, package, ",".join(names), changes)]

    def remove(self, package: str, changes: Changes | None = None) -> Response:
        """Remove ``package``: FAIL while another package depends on it, OK also if it is not indexed.

        Raises :exc:`InvalidName`. O(its dependencies).

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> graph.remove("gmp"), graph.remove("isl"), graph.remove("gmp")
        (<Response.FAIL: 'FAIL'>, <Response.OK: 'OK'>, <Response.OK: 'OK'>)
        """
        return _RESPONSES[self._change_one(self._remove, package, "", changes)]

    def add_dependency(self, package: str, dependency: str, changes: Changes | None = None) -> Response:
        """Let ``package`` depend on ``dependency`` too: FAIL if that is not indexed, or closes a forbidden cycle.

        O(the dependencies of ``package``), and as for :meth:`index` in a graph that rejects cycles. Raises
        :exc:`UnknownPackage` for ``package``.

        >>> graph = DependencyGraph.from_mapping({"isl": [], "gmp": []})
        >>> graph.add_dependency("isl", "gmp"), graph.add_dependency("isl", "mpc"), graph.dependencies("isl")
        (<Response.OK: 'OK'>, <Response.FAIL: 'FAIL'>, ('gmp',))
        """
        return _RESPONSES[self._change_one(self._extend, self._known(package), dependency, changes)]

    def remove_dependency(self, package: str, dependency: str, changes: Changes | None = None) -> Response:
        """Let ``package`` no longer depend on ``dependency``: OK also if it does not.

        O(the dependencies of ``package``). Raises :exc:`UnknownPackage` for ``package``.

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> graph.remove_dependency("isl", "gmp"), graph.dependencies("isl")
        (<Response.OK: 'OK'>, ())
        """
        names = [name for name in self._names(package) if name != dependency]
        return _RESPONSES[self._change_one(self._index, package, ",".join(names), changes)]

    def query(self, package: str) -> Response:
        """Return OK if ``package`` is indexed, else FAIL. Raises :exc:`InvalidName`. O(1).

        >>> DependencyGraph().query("gmp")
        <Response.FAIL: 'FAIL'>
        """
        return _RESPONSES[self._query(package, "")]

    def apply(self, request: Request, changes: Changes | None = None) -> Response:
        """Answer one request, as :meth:`index`, :meth:`remove` or :meth:`query` do.

        >>> DependencyGraph().apply(parse_request("INDEX|isl|gmp"))
        <Response.FAIL: 'FAIL'>
        """
        match request.command:
            case Command.INDEX:
                return self.index(request.package, request.dependencies, changes)
            case Command.REMOVE:
                return self.remove(request.package, changes)
            case Command.QUERY:
                return self.query(request.package)
            case _:
                assert_never(request.command)

    def _change_one(
        self, transition: Callable[[str, str, Changes | None], str], package: str, text: str, changes: Changes | None
    ) -> str:
        """Make one transition, which can be undone efficiently if it is recorded."""
        if changes is not None and self._keeps_order:
            self._current_order().begin(self._dependencies, changes)
        return transition(package, text, changes)

    # Many requests

    def transaction(self) -> "Transaction":
        """Return a context manager through which several requests are made, or none.

        >>> graph = DependencyGraph.from_mapping({"gmp": []})
        >>> with graph.transaction() as transaction:
        ...     transaction.index("isl", ["gmp"])
        ...     transaction.index("cloog", ["isl", "ppl"])
        Traceback (most recent call last):
        scoop_core.errors.RequestRefused: cannot index cloog: ppl is not indexed
        >>> "isl" in graph
        False
        """
        return Transaction(self)

    def apply_lines(self, text: str, changes: Changes | None = None, tally: Tally | None = None) -> str:
        r"""Answer every line of ``text`` in order; return the responses, each with its newline, in one text.

        ``text`` is zero or more lines, each ended by a newline alone, as :class:`Connection` returns them: a
        CR is a part of the line here, and no name has one. A malformed line is answered ERROR. Changes are
        appended to ``changes``, and each response is counted in ``tally``, if given. Raises ValueError, and nothing
        changes, if the last line has no newline: it may be incomplete.

        Equivalent to :func:`parse_request` and :meth:`apply` line by line, but written for speed.

        >>> DependencyGraph().apply_lines("INDEX|a|\nQUERY|a|\nREMOVE|a\n", changes := Changes())
        'OK\nOK\nERROR\n'
        >>> changes.lines
        ['INDEX|a|']
        """
        counts = self._dependent_counts
        # Only QUERYs for indexed packages, the most common batch by far: cut it at the text between two names.
        # No key has a bar or a newline, so if each piece is a key, each line was well formed.
        name = text[6:-2]
        if "\n" not in name:
            if name in counts and text == f"QUERY|{name}|\n":
                if tally is not None:
                    tally.present_queries += 1
                return OK
        elif text.startswith("QUERY|") and text.endswith("|\n"):
            names = name.split("|\nQUERY|")
            if _are_keys(counts, names):
                if tally is not None:
                    tally.present_queries += len(names)
                return OK * len(names)
        return "".join(self._apply_each(_split_lines(text), changes, tally))

    def apply_lines_within(
        self, budget: int, text: str, changes: Changes | None = None, tally: Tally | None = None
    ) -> PartialResponses:
        r"""Answer the lines of ``text`` up to the first that needs a long search for a cycle.

        Like :meth:`apply_lines`, for a graph that rejects cycles. All searches together may visit ``budget`` packages
        and dependencies. Once :meth:`~CycleSearch.step` of the one that needs more has returned a result, the rest can
        be applied. The graph may be changed meanwhile.

        In a graph with a :attr:`search_limit`, a budget of at least the limit is enough for the first search.

        >>> graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
        >>> part = graph.apply_lines_within(1, "QUERY|a|\nINDEX|c|a\nQUERY|b|\n")
        >>> part.responses, part.rest
        ('OK\n', 'INDEX|c|a\nQUERY|b|\n')
        >>> while part.search.step(1) is None:
        ...     pass
        >>> graph.apply_lines_within(1, part.rest).responses
        'FAIL\nOK\n'
        """
        if not self._rejects_cycles:  # no line needs a search, and an order would go out of date
            return PartialResponses(self.apply_lines(text, changes, tally), "", None, 0)
        lines = _split_lines(text)
        order = self._current_order() if self._keeps_order else None
        if order is not None:
            order.begin_budget(budget)
        self._search_budget = float(budget)
        try:
            responses = self._apply_each(lines, changes, tally)
            cost = budget - int(self._search_budget if order is None else order.budget)
        finally:
            self._search_budget = inf
            if order is not None:
                order.budget = inf
        rest = "".join(f"{line}\n" for line in lines[len(responses) :])
        return PartialResponses("".join(responses), rest, None if order is None else order.pending, cost)

    def apply_batches(
        self, texts: Sequence[str], changes: Changes | None = None, tally: Tally | None = None
    ) -> list[str]:
        r"""Answer the texts of several clients in order; return one text of responses for each.

        As :meth:`apply_lines` on one text after the other, in less time for many texts of one line. Raises ValueError
        for a text that is not empty and has no newline at its end; the texts before it are applied.

        >>> DependencyGraph().apply_batches(["INDEX|a|\nQUERY|b|\n", "", "QUERY|a|\n"])
        ['OK\nFAIL\n', '', 'OK\n']
        """
        if len(texts) < 2 or "\n" in texts[0][:-1]:  # nothing to gain, and no need to look at all of them
            return [self.apply_lines(text, changes, tally) for text in texts]
        joined = "\r".join(texts)  # marks where each text begins, if none has a CR itself
        borders = len(texts) - 1
        is_one_line_each = (
            joined.count("\r") == joined.count("\n\r") == borders == joined.count("\n") - 1 and joined[-1] == "\n"
        )
        if is_one_line_each and joined.startswith("QUERY|") and joined.endswith("|\n"):
            names = joined[6:-2].split("|\n\rQUERY|")
            if len(names) == len(texts) and _are_keys(self._dependent_counts, names):
                if tally is not None:
                    tally.present_queries += len(names)
                return [OK] * len(names)
        # apply_lines answers a QUERY fastest, which outweighs its call if fewer than 1 request in 8 is a change.
        if not is_one_line_each or joined.count("\rQUERY|") > borders * 7 // 8:
            return [self.apply_lines(text, changes, tally) for text in texts]
        return self._apply_each(joined[:-1].split("\n\r"), changes, tally)

    def undo(self, changes: Changes) -> None:
        r"""Undo ``changes``, the last one first, so that the graph is as it was before them.

        They must be the last changes that were made and not undone. Raises ValueError, and nothing changes, if
        undoing them would make the graph inconsistent, because others were made after them.

        >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
        >>> graph.apply_lines("REMOVE|isl|\n", changes := Changes())
        'OK\n'
        >>> graph.undo(changes)
        >>> "isl" in graph
        True
        """
        if not changes:
            return
        order = self._order
        is_last = order is not None and order.can_undo(self._dependencies, changes)
        if not is_last:
            self._drop_order()
        undone: list[str] = []
        for line, previous in reversed(list(zip(changes.lines, changes.previous, strict=True))):
            if not self._undo_one(line, previous):
                break
            undone.append(line)
        # Only changes that are not the last ones can leave a cycle.
        if len(undone) < len(changes) or (self._is_acyclic and not is_last and self.cyclic_components()):
            for each in reversed(undone):
                self._redo_one(each)
            line = changes.lines[max(len(changes) - len(undone) - 1, 0)]
            raise ValueError(f"cannot undo {shown(line)}: other changes were made after it; undo them first")
        if order is not None and is_last:
            order.undo(changes)

    # Making a graph

    @classmethod
    def empty(cls, *, reject_cycles: bool = False) -> Self:
        """Return an empty graph, which the other constructors fill.

        It is made without arguments; a subclass whose ``__init__`` needs some overrides this method.

        >>> DependencyGraph.empty()
        <DependencyGraph: 0 packages>
        """
        graph = cls()
        graph._rejects_cycles = graph._is_acyclic = reject_cycles
        return graph

    @classmethod
    def from_requests(cls, requests: Iterable[Request], *, reject_cycles: bool = False) -> Self:
        """Return the graph that ``requests`` make, applied in order to an empty one.

        Raises :exc:`RequestRefused` for the first that is answered FAIL.

        >>> DependencyGraph.from_requests([parse_request("INDEX|gmp|")])
        <DependencyGraph: 1 package: gmp>
        """
        graph = cls.empty(reject_cycles=reject_cycles)
        for request in requests:
            if graph.apply(request) is Response.FAIL and (refusal := graph.explain(request)):
                raise RequestRefused(refusal)
        return graph

    @classmethod
    def from_lines(cls, lines: Iterable[str], *, reject_cycles: bool = False) -> Self:
        r"""Return the graph that a transcript of request lines makes, with or without newlines.

        Lines that begin with ``#`` are comments. Raises :exc:`MalformedRequest` for a malformed line,
        and :exc:`RequestRefused` for the first that is answered FAIL, both with the number of the line.

        >>> DependencyGraph.from_lines(["INDEX|gmp|\n", "INDEX|isl|gmp\n"])
        <DependencyGraph: 2 packages: gmp, isl>
        """
        number = 0

        def requests() -> Iterator[Request]:
            nonlocal number
            for line in listed_names(lines, "lines"):
                number += 1
                if not line.startswith("#"):
                    yield parse_request(line.removesuffix("\n"))

        try:
            return cls.from_requests(requests(), reject_cycles=reject_cycles)
        except (MalformedRequest, RequestRefused) as error:
            error.line = number
            raise

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, Iterable[str]], *, add_missing: bool = False, reject_cycles: bool = False
    ) -> Self:
        """Return the graph in which each key of ``mapping`` is a package that depends on the names of its value.

        The packages may come in any order and depend on each other in cycles. A dependency that is no key becomes a
        package without dependencies if ``add_missing`` is true. O(P + D). Raises :exc:`InvalidName`, and
        :exc:`RequestRefused` if a dependency is missing or ``reject_cycles`` forbids a cycle.

        >>> DependencyGraph.from_mapping({"isl": ["gmp"]}, add_missing=True)
        <DependencyGraph: 2 packages: isl, gmp>
        """
        lists: dict[str, str] = {}
        counts: Counter[str] = Counter()
        uncounted: list[str] = []  # each package after its dependencies, to learn whether all come in that order
        own: list[str] = []  # packages that depend on themselves, which do not count themselves
        for package, dependencies in mapping.items():
            names = list(listed_names(dependencies))
            if len(names) > 1 and len(set(names)) < len(names):
                names = list(dict.fromkeys(names))
            lists[package] = ",".join(names)
            if package in names:
                own.append(package)
            uncounted += names
            uncounted.append(package)
            if len(uncounted) > _NAMES_COUNTED_AT_ONCE:
                counts.update(uncounted)
                uncounted.clear()
        counts.update(uncounted)
        late = None if own or list(lists) != list(counts) else set[str]()
        counts.subtract(chain(lists, own))
        return cls._from_counted(lists, counts, late, add_missing=add_missing, reject_cycles=reject_cycles)

    @classmethod
    def from_lists(cls, packages: Iterable[str], listed: Iterable[str], *, reject_cycles: bool = False) -> Self:
        """Return the graph in which package ``i`` has the dependency list ``i``, a comma-separated text.

        A package given twice has the last of its lists. O(P + D). Raises ValueError if the lists differ in length, else
        what :meth:`from_mapping` raises.

        >>> DependencyGraph.from_lists(["cloog", "gmp", "isl"], ["gmp,isl", "", "gmp"])
        <DependencyGraph: 3 packages: cloog, gmp, isl>
        """
        lists = dict(zip(packages, listed, strict=True))
        for package, text in lists.items():
            if "," in text and len(set(names := text.split(","))) < len(names):
                lists[package] = ",".join(parse_names(text))
        return cls._from_counted(lists, _count_dependents(lists), None, add_missing=False, reject_cycles=reject_cycles)

    @classmethod
    def _from_counted(
        cls,
        lists: dict[str, str],
        counts: Mapping[str, int],
        late: set[str] | None,
        *,
        add_missing: bool,
        reject_cycles: bool,
    ) -> Self:
        """Return the graph with these lists, each name in them once; ``counts`` also has the missing packages."""
        for package in filterfalse(is_name, lists):
            parse_name(package)  # raises
        for name in list(filterfalse(lists.__contains__, counts)) if len(counts) > len(lists) else ():
            parse_name(name)
            if not add_missing:
                raise RequestRefused(_first_missing(lists))
            lists[name] = ""
        graph = cls.empty(reject_cycles=reject_cycles)
        graph._load(lists, dict(zip(lists, map(counts.__getitem__, lists), strict=True)), late)
        if reject_cycles and (cycles := graph.cyclic_components()):
            package = cycles[0][0]
            raise RequestRefused(ClosesCycle(package, graph.find_path(package, package)))
        return graph

    def subgraph(self, packages: str | Iterable[str]) -> Self:
        """Return the graph of ``packages`` and the dependencies among them, in the order of this graph.

        Its layers, order, edges and counts are those of the part. O(P), and O(d) of the packages. Raises
        :exc:`UnknownPackage`.

        >>> graph = DependencyGraph.from_mapping({"cloog": ["isl", "gmp"], "isl": ["gmp"], "gmp": []})
        >>> graph.subgraph(["gmp", "cloog"]).to_mapping()
        mappingproxy({'cloog': ('gmp',), 'gmp': ()})
        """
        chosen = set(map(self._known, package_names(packages)))
        return self._with_lists(self._lists_among(dict.fromkeys(filter(chosen.__contains__, self))))

    def _changed(self, lists: Mapping[str, str | None]) -> Self:
        """Return the graph in which the packages of ``lists`` differ; those with None are removed."""
        merged = {name: text for name, text in {**self._dependencies, **lists}.items() if text is not None}
        counts, is_acyclic = _count_dependents(merged), self._is_acyclic
        graph = self._from_counted(merged, counts, None, add_missing=False, reject_cycles=is_acyclic)
        graph.reject_cycles = self.reject_cycles  # of cycles that exist already, too
        return graph

    def _with_lists(self, lists: dict[str, str]) -> Self:
        """Return a graph with a part of the dependencies of this one."""
        return self._like(type(self), lists, _count_dependents(lists), None)

    def _like(self, kind: type[Graph], lists: dict[str, str], counts: dict[str, int], late: set[str] | None) -> Graph:
        """Return a graph with the rules of this one, and no cycle that it does not have."""
        graph = kind.empty(reject_cycles=self._is_acyclic)
        graph._load(lists, counts, late)
        graph.reject_cycles = self.reject_cycles  # of cycles that exist already, too
        graph.search_limit = self.search_limit
        return graph


@mypyc_attr(allow_interpreted_subclasses=True)
class Transaction:
    """Requests that are all made, or none, through one ``with`` block.

    One that is answered FAIL raises :exc:`RequestRefused`. If the block ends with this or any other exception, what it
    has changed is undone; only changes that it has made otherwise than through this object are in the way.

    >>> graph = DependencyGraph()
    >>> with graph.transaction() as transaction:
    ...     transaction.index("gmp")
    ...     transaction.apply(parse_request("INDEX|isl|gmp"))
    >>> [change.package for change in transaction.changes.entries], list(graph)
    (['gmp', 'isl'], ['gmp', 'isl'])
    """

    def __init__(self, graph: DependencyGraph) -> None:
        self._graph = graph
        self.changes: Changes = Changes()
        """What it has changed; with it, the graph can also be undone later."""

    def index(self, package: str, dependencies: Iterable[str] = ()) -> None:
        """Index ``package``.

        >>> with DependencyGraph().transaction() as transaction:
        ...     transaction.index("gmp")
        """
        self.apply(Request.of(Command.INDEX, package, dependencies))

    def remove(self, package: str) -> None:
        """Remove ``package``.

        >>> with DependencyGraph().transaction() as transaction:
        ...     transaction.remove("gmp")
        """
        self.apply(Request.of(Command.REMOVE, package))

    def apply(self, request: Request) -> None:
        """Make one request. Raises :exc:`RequestRefused`.

        >>> with DependencyGraph().transaction() as transaction:
        ...     transaction.apply(parse_request("INDEX|gmp|"))
        """
        if not self._graph.apply(request, self.changes) and (refusal := self._graph.explain(request)):
            raise RequestRefused(refusal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._graph.undo(self.changes)


def trusted_graph(
    graph_class: type[Graph],
    lists: dict[str, str],
    counts: dict[str, int],
    late: set[str] | None,
    *,
    reject_cycles: bool,
) -> Graph:
    """Return the graph with these lists and counts of dependents, which must be right: nothing is checked.

    At a million packages that takes a quarter of the time of :meth:`DependencyGraph.from_lists`. Cycles are
    accepted with ``reject_cycles`` too, which then holds for later requests.
    """
    graph = graph_class.empty()
    graph._load(lists, counts, late)
    graph.reject_cycles = reject_cycles
    return graph


def _count_dependents(lists: dict[str, str]) -> dict[str, int]:
    """Return how many other packages depend on each package, then on each missing name, by few calls for many names."""
    counts = Counter(dict.fromkeys(lists, 0))
    texts = list(filter(None, lists.values()))
    for start in range(0, len(texts), _LISTS_COUNTED_AT_ONCE):
        counts.update(",".join(texts[start : start + _LISTS_COUNTED_AT_ONCE]).split(","))
    # A package that depends on itself does not count itself; first a cheap test that errs to one side.
    for package in list(compress(lists, map(contains, lists.values(), lists))):
        counts[package] -= package in lists[package].split(",")
    return dict(counts)


def _first_missing(lists: Mapping[str, str]) -> MissingDependencies:
    """Return the first package with dependencies that are no packages, and the missing ones."""
    missing = ((package, [each for each in split_names(text) if each not in lists]) for package, text in lists.items())
    package, names = next((package, names) for package, names in missing if names)
    return MissingDependencies(package, tuple(map(parse_name, names)))


_NAMES_IN_REPR: Final = 3

_NAMES_COUNTED_AT_ONCE: Final = 5_000
_LISTS_COUNTED_AT_ONCE: Final = 1_000
"""Bounds the names that exist twice while a graph is made; few enough to stay in a cache of the processor."""
