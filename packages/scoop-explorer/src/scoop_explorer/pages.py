"""The pages: for each, its URLs, its question, its template, and what the OpenAPI document says about it."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.requests import Request

from scoop_core import DependencyGraph, ScoopError, UnknownPackage, parse_name

from scoop_explorer import questions
from scoop_explorer.answers import (
    Changes,
    Cycles,
    Overview,
    Package,
    Path,
    Rebuild,
    RelatedPackages,
    Removal,
    SearchResult,
)
from scoop_explorer.deferred import Deferred
from scoop_explorer.live_index import LiveIndex
from scoop_explorer.surveyor import Surveyor

T = TypeVar("T")

SEARCH_LIMIT: Final = 50
"""Names on the search page."""

SEARCH_LIMIT_MAX: Final = 200
"""The limit of the parameter ``limit``."""

SEARCH_OFFSET_MAX: Final = 10_000
"""The limit of the parameter ``offset`` of a search: all matches before it are found again."""

OFFSET_MAX: Final = 100_000_000

_LATEST: Final = 12
"""Changes on the start page."""


class BadParameterError(Exception):
    """A parameter of a URL cannot be used."""


@dataclass
class Explorer:
    """The sources of the answer to one request."""

    index: LiveIndex
    deferred: Deferred
    surveyor: Surveyor
    is_outdated: bool = False
    """True if a part of the answer is older than the last change."""

    def check_indexed(self, *packages: str) -> None:
        """Raise :exc:`UnknownPackage` if one of the packages is not indexed, also while expensive questions wait."""
        self.index.ask(lambda graph: [graph.dependent_count(package) for package in packages])

    async def ask(self, key: Hashable, question: Callable[[DependencyGraph, int], T]) -> T | None:
        """Return the answer to an expensive question, as :meth:`Deferred.ask` does."""
        found = await self.deferred.ask(key, question)
        self.is_outdated |= found.is_outdated
        return found.answer


Ask = Callable[[Explorer, Request], Awaitable[Any]]
"""Returns the answer of a page, or None if it is not there yet."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a page. ``is_path`` if it is the rest of the path."""

    name: str
    description: str
    is_path: bool = False
    is_required: bool = False
    is_number: bool = False


@dataclass(frozen=True)
class Page:
    """One page. The name of the package follows ``path`` and ``api_path`` if ``is_about_package``."""

    path: str
    api_path: str
    template: str
    summary: str
    answer_type: type
    ask: Ask
    parameters: tuple[Parameter, ...] = ()
    is_about_package: bool = False

    @staticmethod
    def is_complete(answer: Any) -> bool:
        """Return whether nothing of an answer is still being found."""
        match answer:
            case None | Package(reach=None) | Overview(survey=None):
                return False
        return True


def number(request: Request, name: str, default: int, limit: int) -> int:
    """Return a number from the query. Raises :exc:`BadParameterError`."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= limit):
        raise BadParameterError(f"expected an integer from 0 to {limit} as {name}, got {text[:20]!r}")
    return int(text)


def package_name(request: Request) -> str:
    """Return the name of the package that a page is about. Raises :exc:`UnknownPackage` if it cannot be one."""
    name = str(request.path_params.get("name") or request.query_params.get("name", ""))
    return _known_form(name)


def _known_form(name: str) -> str:
    try:
        return parse_name(name)
    except ScoopError:
        raise UnknownPackage(name) from None


async def _overview(explorer: Explorer, _request: Request) -> Overview:
    surveyor = explorer.surveyor
    return Overview(surveyor.survey, len(surveyor.cyclic_groups), explorer.index.changes[:_LATEST])


async def _package(explorer: Explorer, request: Request) -> Package:
    name = package_name(request)
    neighbours = explorer.index.ask(lambda graph: questions.neighbours(graph, name))
    reach = await explorer.ask(("reach", name), lambda graph, batch: questions.reach(graph, name, batch))
    return Package(neighbours, not neighbours.dependents.total, reach)


def _related(relation: str) -> Ask:
    async def ask(explorer: Explorer, request: Request) -> RelatedPackages | None:
        name = package_name(request)
        explorer.check_indexed(name)
        scope = request.query_params.get("scope", "direct")
        if scope not in {"direct", "all"}:
            raise BadParameterError(f"expected direct or all as scope, got {scope[:20]!r}")
        offset = number(request, "offset", 0, OFFSET_MAX)
        return await explorer.ask(
            (relation, name, scope, offset), lambda graph, _: questions.related(graph, name, relation, scope, offset)
        )

    return ask


async def _removal(explorer: Explorer, request: Request) -> Removal | None:
    name = package_name(request)
    explorer.check_indexed(name)
    offset = number(request, "offset", 0, OFFSET_MAX)
    return await explorer.ask(("removal", name, offset), lambda graph, _: questions.removal(graph, name, offset))


async def _rebuild(explorer: Explorer, request: Request) -> Rebuild | None:
    name = package_name(request)
    explorer.check_indexed(name)
    step, offset = number(request, "step", 0, OFFSET_MAX), number(request, "offset", 0, OFFSET_MAX)
    return await explorer.ask(
        ("rebuild", name, step, offset), lambda graph, _: questions.rebuild(graph, name, step, offset)
    )


async def _path(explorer: Explorer, request: Request) -> Path | None:
    texts = [request.query_params.get(name, "").strip() for name in ("from", "to")]
    if not all(texts):
        return Path(texts[0], texts[1], (), is_reversed=False)
    start, goal = map(_known_form, texts)
    explorer.check_indexed(start, goal)
    offset = number(request, "offset", 0, OFFSET_MAX)
    return await explorer.ask(
        ("path", start, goal, offset), lambda graph, _: questions.path(graph, start, goal, offset)
    )


async def _cycles(explorer: Explorer, request: Request) -> Cycles | None:
    group, offset = number(request, "group", 0, OFFSET_MAX), number(request, "offset", 0, OFFSET_MAX)
    survey, groups = explorer.surveyor.survey, explorer.surveyor.cyclic_groups
    if survey is None:
        return None
    if group:
        shown = tuple(
            questions.part_of_group(each, offset, questions.NAMES_PER_PAGE) for each in groups[group - 1 : group]
        )
    else:
        shown = tuple(map(questions.part_of_group, groups[offset : offset + questions.GROUPS_SHOWN]))
    return Cycles(survey.batch, len(groups), shown, group - 1 if group else offset, is_single=bool(group))


async def _changes(explorer: Explorer, _request: Request) -> Changes:
    return Changes(explorer.index.changes)


async def _search(explorer: Explorer, request: Request) -> SearchResult:
    query = request.query_params.get("q", "").strip()[:255]
    limit = number(request, "limit", SEARCH_LIMIT, SEARCH_LIMIT_MAX)
    offset = number(request, "offset", 0, SEARCH_OFFSET_MAX)
    names = explorer.index.names
    found, has_more = explorer.index.ask(lambda graph: names.find(query, offset + limit, graph))
    return SearchResult(query, found[offset:], has_more, offset)


_NAME: Final = Parameter(
    "name", "The name of the package; slashes may be encoded or not.", is_path=True, is_required=True
)
_OFFSET: Final = Parameter("offset", "The number of entries to skip.", is_number=True)
_SCOPE: Final = Parameter("scope", "direct or all; direct if missing.")

START: Final = Page("/", "/overview", "start.html", "Figures of the index, and the latest changes", Overview, _overview)
SEARCH: Final = Page(
    "/search", "/search", "search.html", "Names that match a query", SearchResult, _search,
    (
        Parameter("q", "A part of a name, in any case; empty for the first names."),
        Parameter("limit", f"The largest number of names, up to {SEARCH_LIMIT_MAX}.", is_number=True),
        Parameter("offset", f"The number of names to skip, up to {SEARCH_OFFSET_MAX}.", is_number=True),
    ),
)  # fmt: skip

PAGES: Final = (
    START,
    SEARCH,
    Page(
        "/packages", "/packages", "package.html", "A package: its neighbours, and what it reaches", Package, _package,
        (_NAME,), is_about_package=True,
    ),
    Page(
        "/dependencies", "/dependencies", "related.html", "The packages that a package needs", RelatedPackages,
        _related("dependencies"), (_NAME, _SCOPE, _OFFSET), is_about_package=True,
    ),
    Page(
        "/dependents", "/dependents", "related.html", "The packages that need a package", RelatedPackages,
        _related("dependents"), (_NAME, _SCOPE, _OFFSET), is_about_package=True,
    ),
    Page(
        "/removal", "/removal", "removal.html", "The requests that remove a package and all that needs it", Removal,
        _removal, (_NAME, _OFFSET), is_about_package=True,
    ),
    Page(
        "/rebuild", "/rebuild", "rebuild.html", "What a change of a package rebuilds, step by step", Rebuild, _rebuild,
        (
            _NAME,
            Parameter("step", "The number of the only step to list, from 1; missing for several.", is_number=True),
            Parameter("offset", "The number of steps to skip; of packages, if step is given.", is_number=True),
        ), is_about_package=True,
    ),
    Page(
        "/path", "/path", "path.html", "A shortest path between two packages", Path, _path,
        (
            Parameter("from", "The package at the start.", is_required=True),
            Parameter("to", "The package at the end.", is_required=True),
            _OFFSET,
        ),
    ),
    Page(
        "/cycles", "/cycles", "cycles.html", "Groups of packages that need each other", Cycles, _cycles,
        (
            Parameter("group", "The number of the only group to list, from 1; missing for several.", is_number=True),
            Parameter("offset", "The number of groups to skip; of packages, if group is given.", is_number=True),
        ),
    ),
    Page("/changes", "/changes", "changes.html", "The latest changes", Changes, _changes),
)  # fmt: skip
