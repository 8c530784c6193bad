"""The pages: for each, its URLs, its question, its template, and what the OpenAPI document says about it."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from scoop_core import DependencyGraph

from scoop_explorer import questions
from scoop_explorer.answers import (
    Cycles,
    Graph,
    History,
    LatestChanges,
    Needed,
    Overview,
    Package,
    Path,
    Rebuild,
    RelatedPackages,
    Removal,
    SearchResult,
)
from scoop_explorer.deferred import WAIT_SECONDS, Deferred
from scoop_explorer.history import history_of
from scoop_explorer.live_index import CHANGES_KEPT, LiveIndex
from scoop_explorer.parameters import OFFSET_MAX, Parameter, Values, known_form
from scoop_explorer.surveyor import Surveyor

T = TypeVar("T")

SEARCH_LIMIT: Final = 50
"""Names on the search page."""

SEARCH_LIMIT_MAX: Final = 200
"""The limit of the parameter ``limit`` of a search."""

SEARCH_OFFSET_MAX: Final = 10_000
"""The limit of the parameter ``offset`` of a search: nobody reads more."""

LIMIT_MAX: Final = 5_000
"""The limit of the parameter ``limit`` of lists."""

SIMILAR: Final = 8
"""Names suggested for one that is not indexed."""

ARRANGED_AT_ONCE: Final = 2_000
"""Names that are sorted and filtered in a millisecond, without a question of their own."""

_LATEST: Final = 12
"""Changes on the start page."""


@dataclass
class Explorer:
    """The sources of the answer to one request, which waits for it until ``deadline`` of ``clock``."""

    index: LiveIndex
    deferred: Deferred
    surveyor: Surveyor
    clock: Callable[[], float]
    deadline: float
    as_of_batch: int
    """The batch of the oldest part of the answer."""

    @classmethod
    def of(
        cls,
        index: LiveIndex,
        deferred: Deferred,
        surveyor: Surveyor,
        clock: Callable[[], float],
        seconds: float = WAIT_SECONDS,
    ) -> "Explorer":
        """Return the sources for a request that waits so many seconds."""
        return cls(index, deferred, surveyor, clock, clock() + seconds, index.batch)

    @property
    def is_outdated(self) -> bool:
        """Return whether a part of the answer is older than the last change."""
        return self.as_of_batch != self.index.batch

    def check_indexed(self, *packages: str) -> None:
        """Raise :exc:`UnknownPackage` if one of the packages is not indexed, also while expensive questions wait."""
        self.index.ask(lambda graph: [graph.dependent_count(known_form(package)) for package in packages])

    async def ask(
        self, key: Hashable, question: Callable[[DependencyGraph, int], T], *, is_beside_changes: bool = False
    ) -> T | None:
        """Return the answer to an expensive question, as :meth:`Deferred.ask` does."""
        seconds = max(0.0, self.deadline - self.clock())
        found = await self.deferred.ask(key, question, seconds, is_beside_changes=is_beside_changes)
        if found.answer is not None:
            self.as_of_batch = min(self.as_of_batch, found.batch)
        return found.answer

    async def similar(self, query: str) -> tuple[Needed, ...] | None:
        """Return names that differ little from one that is not indexed; None if they are not found in time."""
        found = await self.ask(("similar", query), partial(_similar, self.index, query), is_beside_changes=True)
        return None if found is None else self.with_dependents(found)

    def with_dependents(self, names: Sequence[str]) -> tuple[Needed, ...]:
        """Return packages with the numbers of their dependents, without those that are not indexed any more."""
        return self.index.ask(
            lambda graph: tuple(Needed(name, graph.dependent_count(name)) for name in names if name in graph)
        )


def _similar(index: LiveIndex, query: str, graph: DependencyGraph, _batch: int) -> tuple[str, ...]:
    return tuple(index.names.similar(query, SIMILAR, graph, partial(questions.dependent_count, graph)))


Ask: TypeAlias = Callable[[Explorer, Values], Awaitable[Any]]
"""Returns the answer of a page, or None if it is not there yet."""


@dataclass(frozen=True)
class Page:
    """One page. The name of the package follows ``path`` and ``api_path`` if ``is_about_package``."""

    path: str
    api_path: str
    template: str
    """Empty if only the API has it."""
    summary: str
    answer_type: type
    ask: Ask
    parameters: tuple[Parameter, ...] = ()
    page_parameters: tuple[Parameter, ...] = ()
    """Those of the page that the API does not have."""
    is_form: bool = False
    """True if the page without parameters is a form."""

    @property
    def is_about_package(self) -> bool:
        """Return whether its path ends with a name."""
        return any(each.is_path for each in self.parameters)

    @staticmethod
    def is_complete(answer: Any) -> bool:
        """Return whether nothing of an answer is still being found."""
        match answer:
            case None | Package(reach=None) | Overview(survey=None):
                return False
            case SearchResult(total=None) | SearchResult(similar=None):
                return False
            case Package(has_orders=True, removal=None) | Package(has_orders=True, rebuild=None):
                return False
        return True


# The answers


async def _overview(explorer: Explorer, _values: Values) -> Overview:
    surveyor = explorer.surveyor
    if surveyor.survey is not None:
        explorer.as_of_batch = min(explorer.as_of_batch, surveyor.survey.batch)
    return Overview(surveyor.survey, len(surveyor.cyclic_groups), explorer.index.changes[:_LATEST])


async def _package(explorer: Explorer, values: Values) -> Package:
    name = values.name
    near = explorer.index.ask(lambda graph: questions.neighbours(graph, name))
    drawing = explorer.index.ask(lambda graph: questions.around(graph, [name], ("dependents", "dependencies")))
    answer = Package(near, not near.dependents.total, drawing, None, has_orders=True, removal=None, rebuild=None)
    reach = await explorer.ask(("reach", name), lambda graph, _: questions.reach(graph, name))
    if reach is None:
        return answer
    if reach.dependents.total > questions.ORDERED_MAX:
        return replace(answer, reach=reach, has_orders=False)
    order = await _order(explorer, (name,))
    steps = await _steps(explorer, (name,))
    if order is not None:
        first = questions.removal(order, (name,), 0, min(questions.FIRST_REMOVED, len(order) - 1))
        answer = replace(answer, removal=first)
    if steps is not None:
        answer = replace(answer, rebuild=questions.rebuild_sizes(steps))
    return replace(answer, reach=reach)


async def _order(explorer: Explorer, names: tuple[str, ...]) -> questions.RemovalOrder | None:
    return await explorer.ask(("removal", names), lambda graph, _: questions.removal_order(graph, names))


async def _steps(explorer: Explorer, names: tuple[str, ...]) -> questions.RebuildSteps | None:
    return await explorer.ask(("rebuild", names), lambda graph, _: questions.rebuild_steps(graph, names))


async def related(relation: str, explorer: Explorer, values: Values) -> questions.Related | None:
    """Return the whole list of a page about related packages, sorted and filtered."""
    name, scope = values.name, values.text("scope") or "direct"
    sort, contained = values.text("sort"), values.text("filter")
    explorer.check_indexed(name)
    key = (relation, name, scope)
    found = await explorer.ask(key, lambda graph, _: questions.related(graph, name, relation, scope))
    if found is None or (not contained and sort in {"", "order"}):
        return found
    if len(found) <= ARRANGED_AT_ONCE:
        return explorer.index.ask(lambda graph: questions.arranged(graph, found, sort, contained))
    return await explorer.ask(
        (*key, sort, contained, explorer.as_of_batch),
        lambda graph, _: questions.arranged(graph, found, sort, contained),
    )


async def _related(relation: str, explorer: Explorer, values: Values) -> RelatedPackages | None:
    found = await related(relation, explorer, values)
    if found is None:
        return None
    limit = values.number("limit", questions.NAMES_PER_PAGE)
    part = questions.listing(found.names, values.number("offset"), limit)
    figures = explorer.index.ask(lambda graph: questions.related_part(graph, found, part.names))
    return RelatedPackages(values.name, relation, values.text("scope") or "direct", part, figures)


async def removal_order(explorer: Explorer, values: Values) -> questions.RemovalOrder | None:
    """Return the whole order of a removal."""
    explorer.check_indexed(*values.packages)
    return await _order(explorer, values.packages)


async def _removal(explorer: Explorer, values: Values) -> Removal | None:
    order = await removal_order(explorer, values)
    if order is None:
        return None
    names, offset = values.packages, values.number("offset")
    drawing = None if offset else explorer.index.ask(lambda graph: questions.around(graph, names, ("dependents",)))
    return questions.removal(order, names, offset, values.number("limit", questions.NAMES_PER_PAGE), drawing)


async def rebuild_steps(explorer: Explorer, values: Values) -> questions.RebuildSteps | None:
    """Return all steps of a rebuild."""
    explorer.check_indexed(*values.packages)
    return await _steps(explorer, values.packages)


async def _rebuild(explorer: Explorer, values: Values) -> Rebuild | None:
    steps = await rebuild_steps(explorer, values)
    if steps is None:
        return None
    limit = values.number("limit", questions.NAMES_PER_PAGE)
    return questions.rebuild(steps, values.packages, values.number("step"), values.number("offset"), limit)


async def found_path(explorer: Explorer, values: Values) -> questions.FoundPath | None:
    """Return the whole path between two packages."""
    start, goal = values.package("from"), values.package("to")
    explorer.check_indexed(start, goal)
    return await explorer.ask(("path", start, goal), lambda graph, _: questions.path(graph, start, goal))


async def _path(explorer: Explorer, values: Values) -> Path | None:
    found = await found_path(explorer, values)
    if found is None:
        return None
    drawn = found.packages[: questions.GRAPH_NODES]
    drawing = explorer.index.ask(
        lambda graph: questions.among(graph, drawn) if all(name in graph for name in drawn) else None
    )
    offset, limit = values.number("offset"), values.number("limit", questions.PATH_SHOWN)
    return questions.path_part(found, values.text("from"), values.text("to"), offset, limit, drawing)


async def _graph(explorer: Explorer, values: Values) -> Graph:
    directions = {"both": ("dependents", "dependencies")}
    direction = values.text("direction") or "both"
    names = [known_form(name) for name in values.packages]
    wanted = directions.get(direction, (direction,))
    levels = int(values.text("levels") or questions.GRAPH_LEVELS)
    return explorer.index.ask(lambda graph: questions.around(graph, names, wanted, levels))


async def _cycles(explorer: Explorer, values: Values) -> Cycles | None:
    survey, groups = explorer.surveyor.survey, explorer.surveyor.cyclic_groups
    if survey is None:
        return None
    explorer.as_of_batch = min(explorer.as_of_batch, survey.batch)
    group, offset = values.number("group"), values.number("offset")
    if package := values.text("package"):
        explorer.check_indexed(package)
        group = next((each.number for each in groups if package in each.packages.names), len(groups) + 1)
    limit = values.number("limit", questions.NAMES_PER_PAGE if group else questions.GROUPS_SHOWN)
    if group:
        shown = tuple(questions.part_of_group(each, offset, limit) for each in groups[group - 1 : group])
    else:
        most = min(limit, questions.GROUPS_SHOWN)
        shown = tuple(map(questions.part_of_group, groups[offset : offset + most]))
    return Cycles(len(groups), shown, group - 1 if group else offset, is_single=bool(group))


async def known_changes(explorer: Explorer, values: Values) -> LatestChanges:
    """Return the latest changes."""
    changes = explorer.index.changes
    since = values.number("since")
    first = changes[-1].batch if len(changes) == CHANGES_KEPT else explorer.index.loaded_batch
    wanted = [change for change in changes if change.batch > since]
    return LatestChanges(tuple(wanted[: values.number("limit", CHANGES_KEPT)]), max(since, first), len(wanted))


async def _history(explorer: Explorer, values: Values) -> History | None:
    batches = explorer.index.history()
    if batches is None:
        return History(values.name, (), 0, 0, "", "a dump has no history")
    key = ("history", values.name)
    return await explorer.ask(key, lambda *_: history_of(batches, values.name), is_beside_changes=True)


async def ranked(explorer: Explorer, values: Values) -> questions.Matches | None:
    """Return all matches of a search that are kept, the best first."""
    query = values.text("q")
    names, popular = explorer.index.names, explorer.surveyor.popular
    return await explorer.ask(
        ("search", query, bool(popular)),
        lambda graph, _: questions.Matches(
            *names.rank(query, graph, partial(questions.dependent_count, graph), popular)
        ),
        is_beside_changes=True,
    )


async def _search(explorer: Explorer, values: Values) -> SearchResult:
    query, offset, limit = values.text("q"), values.number("offset"), values.number("limit", SEARCH_LIMIT)
    found = await ranked(explorer, values)
    if found is None:
        names = explorer.index.names
        beginning = explorer.index.ask(lambda graph: names.find(query, offset + limit, graph, only_prefixes=True))
        first = beginning.names[offset:]
        return SearchResult(query, explorer.with_dependents(first), None, offset, ())
    similar = () if found.total or not query else await explorer.similar(query)
    hits = explorer.with_dependents(found.names[offset : offset + limit])
    return SearchResult(query, hits, found.total, offset, similar)


# The table

_NAME: Final = Parameter(
    "name", "The name of the package; slashes may be encoded or not.", is_path=True, is_required=True, is_package=True
)
_NAMES: Final = replace(
    _NAME, description="The name of the package; further ones follow as name in the query.", is_repeated=True
)
_OFFSET: Final = Parameter("offset", "The number of entries to skip.", maximum=OFFSET_MAX)
_LIMIT: Final = Parameter("limit", f"The largest number of entries, up to {LIMIT_MAX}.", maximum=LIMIT_MAX)
_SORT: Final = Parameter(
    "sort", "The order: as they can be built, or by name, by dependents (most first), or by distance.",
    choices=("order", "name", "dependents", "distance"),
)  # fmt: skip
_RELATED: Final = (
    _NAME,
    Parameter("scope", "Only direct ones, or all.", choices=("direct", "all")),
    _SORT,
    Parameter("filter", "A part of the names to list, in any case."),
    _OFFSET,
    _LIMIT,
)


def _format(*names: str) -> Parameter:
    return Parameter("format", "A file with the whole list.", choices=names)


START: Final = Page("/", "/overview", "start.html", "Figures of the index, and the latest changes", Overview, _overview)
SEARCH: Final = Page(
    "/search", "/search", "search.html", "Names that match a query, the best first", SearchResult, _search,
    (
        Parameter("q", "A part of a name, in any case; empty for all names."),
        Parameter("limit", f"The largest number of names, up to {SEARCH_LIMIT_MAX}.", maximum=SEARCH_LIMIT_MAX),
        Parameter("offset", f"The number of names to skip, up to {SEARCH_OFFSET_MAX}.", maximum=SEARCH_OFFSET_MAX),
    ),
    (Parameter("go", "Whether to open the package with this name.", choices=("no", "yes")), _format("csv")),
)  # fmt: skip

_VIEW: Final = Parameter("view", "The look of the list.", choices=("names", "table"))

PAGES: Final = (
    START,
    SEARCH,
    Page(
        "/packages", "/packages", "package.html", "A package: its neighbours, and what it reaches", Package, _package,
        (_NAME,), (_format("dot"),),
    ),
    Page(
        "/dependencies", "/dependencies", "related.html", "The packages that a package needs", RelatedPackages,
        partial(_related, "dependencies"), _RELATED, (_VIEW, _format("csv", "dot", "json")),
    ),
    Page(
        "/dependents", "/dependents", "related.html", "The packages that need a package", RelatedPackages,
        partial(_related, "dependents"), _RELATED, (_VIEW, _format("csv", "dot", "json")),
    ),
    Page(
        "/removal", "/removal", "removal.html", "The requests that remove packages and all that needs them", Removal,
        _removal, (_NAMES, _OFFSET, _LIMIT), (_format("text", "json"),), is_form=True,
    ),
    Page(
        "/rebuild", "/rebuild", "rebuild.html", "What a change of packages rebuilds, step by step", Rebuild, _rebuild,
        (
            _NAMES,
            Parameter("step", "The number of the only step to list, from 1.", maximum=OFFSET_MAX),
            Parameter("offset", "The number of steps to skip; of packages, if step is given.", maximum=OFFSET_MAX),
            _LIMIT,
        ), (_format("csv", "json"),), is_form=True,
    ),
    Page(
        "/path", "/path", "path.html", "A shortest path between two packages, and what cuts all paths", Path, _path,
        (
            Parameter("from", "The package at the start.", is_required=True, is_package=True),
            Parameter("to", "The package at the end.", is_required=True, is_package=True),
            _OFFSET,
            _LIMIT,
        ), (_format("text", "dot"),), is_form=True,
    ),
    Page(
        "/cycles", "/cycles", "cycles.html", "Groups of packages that need each other", Cycles, _cycles,
        (
            Parameter("group", "The number of the only group to list, from 1.", maximum=OFFSET_MAX),
            Parameter("package", "A package of the only group to list.", is_package=True),
            Parameter("offset", "The number of groups to skip; of packages, if a group is given.", maximum=OFFSET_MAX),
            _LIMIT,
        ), (_format("csv", "dot"),),
    ),
    Page(
        "/history", "/history", "history.html", "The changes of a package, with time and identity", History, _history,
        (_NAME,),
    ),
    Page(
        "/changes", "/changes", "changes.html", "The latest changes, the newest first", LatestChanges, known_changes,
        (
            Parameter("since", "The batch after which changes are listed.", maximum=10**9 - 1),
            Parameter("limit", f"The largest number of changes, up to {CHANGES_KEPT}.", maximum=CHANGES_KEPT),
        ), (_format("csv"),),
    ),
    Page(
        "/graph", "/graph", "", "The packages around some, to be drawn", Graph, _graph,
        (
            _NAMES,
            Parameter("direction", "One direction only.", choices=("both", "dependents", "dependencies")),
            Parameter("levels", "The largest distance; 2 if that many can be drawn.", choices=("2", "1")),
        ),
    ),
)  # fmt: skip
