"""The web application: each page as HTML and as JSON, event streams, probes and metrics."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Route

from scoop_core import UnknownPackage

from scoop_explorer import __version__, exports, openapi
from scoop_explorer.answers import Needed
from scoop_explorer.data_directory import Follower
from scoop_explorer.deferred import WAIT_SECONDS, Deferred
from scoop_explorer.drawing import draw
from scoop_explorer.events import STREAMS_MAX, Events
from scoop_explorer.guard import EVENTS_PATH, REQUEST_SECONDS_MAX, Guard
from scoop_explorer.links import package_link, package_links, package_url, path_url
from scoop_explorer.live_index import LiveIndex
from scoop_explorer.metrics import MEDIA_TYPE, Metrics
from scoop_explorer.pages import PAGES, Explorer, Page
from scoop_explorer.parameters import TEXT_MAX, BadParameterError, Values, packages_of, parse
from scoop_explorer.presence import ServerPresence
from scoop_explorer.sources import Source
from scoop_explorer.surveyor import Surveyor

HEARTBEAT_SECONDS_MAX: Final = 10.0
"""The age of the last poll at which the follower counts as stuck."""

LAG_SECONDS_MAX: Final = 10.0
"""The lag at which the explorer is not ready."""

EXPORT_SECONDS: Final = 4.0
"""The wait for the whole answer of a file."""

GZIP_LEVEL: Final = 4
"""Compression of responses: a page of 50 kB takes half a millisecond, and a fifth of the bytes."""

_OF_PAGES: Final = frozenset(each.name for page in PAGES for each in page.page_parameters)
"""Parameters that the API does not have."""

_STATIC: Final = Path(__file__).parent / "static"

_MEDIA_TYPES: Final = {
    ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml",
    ".txt": "text/plain",
}  # fmt: skip


def _static_files() -> list[Path]:
    return sorted(path for path in _STATIC.rglob("*") if path.is_file())


class _RestOfPath(Convertor[str]):
    """The rest of a path, newlines included: the one of Starlette drops a newline at the end."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _RestOfPath())


def _packages(request: Request, page: Page) -> tuple[str, ...]:
    return packages_of(request, can_be_several=any(each.is_repeated for each in page.parameters))


def _names_query(packages: Sequence[str], wrong: str, right: str) -> str:
    """Return the query with the names of packages, one of them corrected."""
    return urlencode([("name", right if name == wrong else name) for name in packages])


class Problem(NamedTuple):
    """The reason for which a page has no answer."""

    kind: str
    """``unknown``: a package is not indexed; ``parameter``: a parameter cannot be used."""
    name: str
    """The package, or the reason."""
    similar: tuple[Needed, ...] | None
    """Names that may have been meant; None while they are looked for."""


def _url_of(request: Request, **changes: object) -> str:
    """Return the URL of a request with other parameters; None drops one."""
    items = [each for each in request.query_params.multi_items() if each[0] not in changes]
    items += [(name, str(value)) for name, value in changes.items() if value is not None]
    path = request.scope["raw_path"].decode("ascii", "replace")
    return f"{path}{'?' * bool(items)}{urlencode(items)}"


class Application:
    """The explorer of ``source``. ``asgi`` serves requests whose Host header names one of ``hosts``.

    ``survey_command`` is that of :class:`~scoop_explorer.surveyor.Surveyor`.
    """

    def __init__(
        self,
        source: Source,
        hosts: Collection[str],
        survey_command: Sequence[str] = (),
        request_seconds_max: float = REQUEST_SECONDS_MAX,
    ) -> None:
        is_served = ServerPresence(source.path) if isinstance(source, Follower) else lambda: None
        self.index = LiveIndex(source, self._index_has_changed, is_served)
        self.surveyor = Surveyor(self.index, survey_command)
        self.deferred = Deferred(self.index)
        self.events = Events(self.index.status)
        self._static = {str(path.relative_to(_STATIC)): path.read_bytes() for path in _static_files()}
        self._digest = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        self._openapi = openapi.document(__version__)
        self._metrics = Metrics(*self._gauges())
        self._templates = self._environment()
        self._instance = f"{time.time_ns():x}"
        app = Starlette(routes=self._routes(), lifespan=self._lifespan)
        compressed = GZipMiddleware(app, minimum_size=1_000, compresslevel=GZIP_LEVEL)
        self.asgi = Guard(compressed, hosts, self._metrics, request_seconds_max)

    def _index_has_changed(self) -> None:
        self.surveyor.index_has_changed()
        self.events.notify()

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.events.start()
        self.index.start()
        self.surveyor.start()
        try:
            yield
        finally:
            self.events.close()
            self.index.stop()
            self.surveyor.stop()
            self.deferred.close()

    def _environment(self) -> Environment:
        environment = Environment(
            loader=PackageLoader("scoop_explorer"),
            auto_reload=False,  # each look at a file would let a long question go first
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(
            version=__version__,
            static=f"/static/{self._digest}",
            draw=draw,
            package_link=package_link,
            package_links=package_links,
            package_url=package_url,
            path_url=path_url,
            names_query=_names_query,
        )
        # As JSON.stringify writes it.
        environment.filters["compact_json"] = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        environment.filters["as_json"] = lambda value: json.dumps(asdict(value), separators=(",", ":"))
        environment.filters["count"] = lambda number: f"{number:,}"
        environment.filters["plural"] = lambda number, one, many="": (
            f"{number:,} {one if number == 1 else many or f'{one}s'}"
        )
        return environment

    # Routes

    def _routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = []
        for page in PAGES:
            api_path = f"{openapi.PREFIX}{page.api_path}"
            endpoints = [(api_path, self._json_endpoint(page))]
            if page.template:
                endpoints.append((page.path, self._html_endpoint(page)))
            for path, endpoint in endpoints:
                if page.is_about_package:
                    routes.append(Route(f"{path}/{{name:rest}}", endpoint))
                routes.append(Route(path, endpoint))
        return [
            *routes,
            Route(EVENTS_PATH, self._stream),
            Route(f"{openapi.PREFIX}/openapi.json", self._document),
            Route("/static/{version}/{file:path}", self._static_file),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics_page),
            Route("/{rest:rest}", self._not_found),
        ]

    def _html_endpoint(self, page: Page) -> Any:
        parameters = (*page.parameters, *page.page_parameters)

        async def endpoint(request: Request) -> Response:
            if page.is_about_package and not page.is_form and not _packages(request, page):
                return RedirectResponse("/search")
            if not self.index.is_loaded:
                return self._render(request, "error.html", 503, kind="loading", name="", similar=())
            explorer = self._explorer(EXPORT_SECONDS if request.query_params.get("format") else WAIT_SECONDS)
            await self.index.settle()
            if page.is_form and not request.query_params and not _packages(request, page):
                return self._render_page(request, page, explorer, 200)
            try:
                return await self._answer(request, page, explorer, parse(request, parameters))
            except UnknownPackage as error:
                problem = Problem("unknown", error.package, await explorer.similar(error.package[:TEXT_MAX]))
            except BadParameterError as error:
                problem = Problem("parameter", str(error), ())
            code = 404 if problem.kind == "unknown" else 400
            if page.is_form:
                return self._render_page(request, page, explorer, code, problem=problem)
            return self._render(request, "error.html", code, **problem._asdict())

        return endpoint

    async def _answer(self, request: Request, page: Page, explorer: Explorer, values: Values) -> Response:
        """Return the page of a request without mistakes, a file, or the way to a page."""
        if values.text("go") == "yes" and self.index.ask(lambda graph: values.text("q") in graph):
            return RedirectResponse(package_url(values.text("q")), 303)
        if form := values.text("format"):
            export = await exports.export(page.api_path, form, explorer, values)
            if export is None:
                return PlainTextResponse("the answer takes a while: try again later\n", 503, {"Retry-After": "5"})
            disposition = {"Content-Disposition": f'attachment; filename="{export.name}"'}
            return StreamingResponse(export.chunks(), 200, disposition, export.media_type)
        return self._render_page(request, page, explorer, 200, answer=await page.ask(explorer, values))

    def _render_page(
        self,
        request: Request,
        page: Page,
        explorer: Explorer,
        code: int,
        answer: object = None,
        problem: "Problem | None" = None,
    ) -> Response:
        """Return a page; its form alone if it has neither an answer nor a problem, and none is being found."""
        is_asked = not page.is_form or bool(request.query_params or _packages(request, page))
        is_pending = problem.similar is None if problem else is_asked and not page.is_complete(answer)
        return self._render(
            request, page.template, code,
            answer=answer, problem=problem, packages=_packages(request, page), page=page.path, pending=is_pending,
            is_outdated=explorer.is_outdated, as_of_batch=explorer.as_of_batch,
        )  # fmt: skip

    def _explorer(self, seconds: float = WAIT_SECONDS) -> Explorer:
        return Explorer.of(self.index, self.deferred, self.surveyor, time.monotonic, seconds)

    def _json_endpoint(self, page: Page) -> Any:
        async def endpoint(request: Request) -> Response:
            if not self.index.is_loaded:
                return self._error("no index yet", 503)
            explorer = self._explorer()
            await self.index.settle()
            try:
                answer = await page.ask(explorer, parse(request, page.parameters))
            except UnknownPackage as error:
                return self._error(str(error), 404)
            except BadParameterError as error:
                return self._error(str(error), 400)
            status = self.index.status()
            body = {
                "status": asdict(status),
                "as_of_batch": explorer.as_of_batch,
                "answer": None if answer is None else asdict(answer),
            }
            if not page.is_complete(answer):
                return JSONResponse(body, 202, {"Retry-After": "1"})
            state = (self.index.epoch, status.batch, explorer.as_of_batch, bool(status.problem), status.is_served)
            etag = f'W/"{self._instance}-{"-".join(str(int(each or 0)) for each in state)}"'
            if etag in request.headers.get("if-none-match", "").split(", "):
                return Response(status_code=304, headers={"ETag": etag})
            return JSONResponse(body, 200, {"ETag": etag})

        return endpoint

    def _error(self, problem: str, code: int) -> Response:
        headers = {"Retry-After": "1"} if code == 503 else {}
        return JSONResponse({"status": asdict(self.index.status()), "error": problem}, code, headers)

    def _render(self, request: Request, template: str, code: int, **values: Any) -> Response:
        values = {
            "status": self.index.status(), "code": code, "path": request.url.path, "asked": request.query_params,
            "api_url": f"{openapi.PREFIX}{self._api_target(request)}" if code == 200 else "",
            "here": partial(_url_of, request), "is_outdated": False, "pending": False, "problem": None, **values,
        }  # fmt: skip
        text = self._templates.get_template(template).render(values)
        headers = {"Retry-After": "2"} if code == 503 else {}
        return HTMLResponse(text, code, headers)

    @staticmethod
    def _api_target(request: Request) -> str:
        """Return the target of the request below the prefix of the API."""
        path = request.scope["raw_path"].decode("ascii", "replace")
        kept = [(name, value) for name, value in request.query_params.multi_items() if name not in _OF_PAGES]
        return f"{'/overview' if path == '/' else path}{'?' * bool(kept)}{urlencode(kept)}"

    async def _not_found(self, request: Request) -> Response:
        if request.url.path.startswith("/api/"):
            return self._error("no such path: see /api/v1/openapi.json", 404)
        return self._render(request, "error.html", 404, kind="page", name="", similar=())

    # Beside the pages

    async def _stream(self, _request: Request) -> Response:
        if self.events.count >= STREAMS_MAX:
            return PlainTextResponse("too many event streams\n", 503, {"Retry-After": "30"})
        unbuffered = {"X-Accel-Buffering": "no"}  # for nginx, which would keep events back
        return StreamingResponse(self.events.stream(), 200, unbuffered, "text/event-stream")

    async def _document(self, _request: Request) -> Response:
        return JSONResponse(self._openapi)

    async def _static_file(self, request: Request) -> Response:
        name = request.path_params["file"]
        if name not in self._static:
            raise HTTPException(404)
        is_ours = request.path_params["version"] == self._digest  # not that of a page of another release
        headers = {"Cache-Control": "public, max-age=31536000, immutable"} if is_ours else {}
        return Response(self._static[name], 200, headers, _MEDIA_TYPES[Path(name).suffix])

    async def _livez(self, _request: Request) -> Response:
        is_stuck = self.index.is_loaded and time.monotonic() - self.index.polled_at > HEARTBEAT_SECONDS_MAX
        if is_stuck or not self.index.is_alive:
            return PlainTextResponse("stuck: the source has not been read for a while\n", 503)
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        status = self.index.status()
        if not status.is_loaded:
            return PlainTextResponse(f"loading{': ' * bool(status.problem)}{status.problem}\n", 503)
        if status.lag_seconds > LAG_SECONDS_MAX:
            return PlainTextResponse(f"{status.lag_seconds:.0f} s behind: {status.problem or 'catching up'}\n", 503)
        return PlainTextResponse("ok\n")

    async def _metrics_page(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)

    def _gauges(self) -> list[tuple[str, str, Any]]:
        index = self.index
        return [
            ("scoop_explorer_packages", "Packages in the index.", lambda: index.status().packages),
            ("scoop_explorer_batch", "The last batch of changes that is shown.", lambda: index.batch),
            ("scoop_explorer_lag_seconds", "Time since everything was shown.", lambda: index.status().lag_seconds),
            ("scoop_explorer_source_up", "1 if the source can be read.", lambda: float(not index.status().problem)),
            ("scoop_explorer_event_streams", "Open event streams.", lambda: self.events.count),
            ("scoop_explorer_questions", "Expensive questions in progress.", lambda: self.deferred.waiting),
        ]
