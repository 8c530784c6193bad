"""The web application: each page as HTML and as JSON, event streams, probes and metrics."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
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

from scoop_explorer import __version__, openapi
from scoop_explorer.deferred import Deferred
from scoop_explorer.drawing import draw
from scoop_explorer.events import STREAMS_MAX, Events
from scoop_explorer.guard import EVENTS_PATH, REQUEST_SECONDS_MAX, Guard
from scoop_explorer.links import package_link, package_links, package_url, path_url
from scoop_explorer.live_index import LiveIndex
from scoop_explorer.metrics import MEDIA_TYPE, Metrics
from scoop_explorer.pages import PAGES, BadParameterError, Explorer, Page, package_name
from scoop_explorer.presence import ServerPresence
from scoop_explorer.sources import Source
from scoop_explorer.surveyor import Surveyor
from scoop_server.storage.follower import Follower

HEARTBEAT_SECONDS_MAX: Final = 10.0
"""The age of the last poll at which the follower counts as stuck."""

LAG_SECONDS_MAX: Final = 10.0
"""The lag at which the explorer is not ready."""

_SIMILAR: Final = 8
"""Names suggested for a package that is not indexed."""

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
        app = Starlette(routes=self._routes(), lifespan=self._lifespan)
        self.asgi = Guard(app, hosts, self._metrics, request_seconds_max)

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
        )
        # As JSON.stringify writes it.
        environment.filters["compact_json"] = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
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
            as_page, as_json = self._html_endpoint(page), self._json_endpoint(page)
            if page.is_about_package:
                routes += [Route(f"{page.path}/{{name:rest}}", as_page), Route(f"{api_path}/{{name:rest}}", as_json)]
            routes += [Route(page.path, as_page), Route(api_path, as_json)]
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
        async def endpoint(request: Request) -> Response:
            if page.is_about_package and not (request.path_params.get("name") or request.query_params.get("name")):
                return RedirectResponse("/search")
            if not self.index.is_loaded:
                return self._render(request, "error.html", 503, kind="loading", name="", names=())
            explorer = Explorer(self.index, self.deferred, self.surveyor)
            await self.index.settle()
            try:
                answer = await page.ask(explorer, request)
            except UnknownPackage as error:
                return self._unknown(request, error.package)
            except BadParameterError as error:
                return self._render(request, "error.html", 400, kind="parameter", name=str(error), names=())
            package = package_name(request) if page.is_about_package else ""
            return self._render(
                request, page.template, 200,
                answer=answer, package=package, page=page.path, is_outdated=explorer.is_outdated,
            )  # fmt: skip

        return endpoint

    def _json_endpoint(self, page: Page) -> Any:
        async def endpoint(request: Request) -> Response:
            status = asdict(self.index.status())
            if not self.index.is_loaded:
                return JSONResponse({"status": status, "error": "no index yet"}, 503, {"Retry-After": "1"})
            explorer = Explorer(self.index, self.deferred, self.surveyor)
            await self.index.settle()
            try:
                answer = await page.ask(explorer, request)
            except UnknownPackage as error:
                return JSONResponse({"status": status, "error": str(error)}, 404)
            except BadParameterError as error:
                return JSONResponse({"status": status, "error": str(error)}, 400)
            body = {"status": status, "answer": None if answer is None else asdict(answer)}
            is_final = page.is_complete(answer) and not explorer.is_outdated
            return JSONResponse(body) if is_final else JSONResponse(body, 202, {"Retry-After": "1"})

        return endpoint

    def _render(self, request: Request, template: str, code: int, **values: Any) -> Response:
        url = request.url
        text = self._templates.get_template(template).render(
            status=self.index.status(),
            code=code,
            path=url.path,
            asked=request.query_params,
            api_url=f"{openapi.PREFIX}{self._api_target(request)}" if code == 200 else "",
            **values,
        )
        headers = {"Retry-After": "2"} if code == 503 else {}
        return HTMLResponse(text, code, headers)

    @staticmethod
    def _api_target(request: Request) -> str:
        """Return the target of the request below the prefix of the API, as it was sent."""
        path = request.scope["raw_path"].decode("ascii", "replace")
        query = request.scope["query_string"].decode("ascii", "replace")
        return f"{'/overview' if path == '/' else path}{'?' * bool(query)}{query}"

    def _unknown(self, request: Request, name: str) -> Response:
        names = self.index.names
        found = self.index.ask(lambda graph: names.find(name[:255], _SIMILAR, graph)).names if name else ()
        return self._render(request, "error.html", 404, kind="unknown", name=name, names=found)

    async def _not_found(self, request: Request) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": "no such path: see /api/v1/openapi.json"}, 404)
        return self._render(request, "error.html", 404, kind="page", name="", names=())

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
