"""The guard in front of the application: it rejects what no page expects, bounds time and numbers, and adds headers."""

import asyncio
import time
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scoop_explorer.metrics import Metrics

TARGET_BYTES_MAX: Final = 2_048
"""Path and query: two names of 255 characters, each of which may take three bytes, and the parameters."""

REQUEST_SECONDS_MAX: Final = 5.0
"""A page takes milliseconds; this bounds a client that does not read."""

REQUESTS_MAX: Final = 64
"""Requests in progress, without event streams: each takes milliseconds, so more only wait."""

EVENTS_PATH: Final = "/api/v1/events"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Serves ``app`` to requests whose Host header names one of ``hosts``, each for ``request_seconds_max`` at most.

    The Host header is checked because a page of another site could otherwise make its own name resolve to this machine,
    and read the index through the browser of a person with access.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str],
        metrics: Metrics,
        request_seconds_max: float = REQUEST_SECONDS_MAX,
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._metrics = metrics
        self._request_seconds_max = request_seconds_max
        self.requests = 0
        """Requests in progress, without event streams."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _in_origin_form(scope)
        start = time.perf_counter()
        has_begun = False
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun, status
            if message["type"] == "http.response.start":
                has_begun, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        app = self._rejection(scope) or self._app
        is_stream = scope["path"] == EVENTS_PATH
        self.requests += not is_stream
        try:
            async with asyncio.timeout(None if is_stream else self._request_seconds_max):
                await app(scope, receive, send_with_headers)
        except TimeoutError:
            if not has_begun:
                response = PlainTextResponse("this takes too long: try again later\n", 503, {"Retry-After": "5"})
                await response(scope, receive, send_with_headers)
        finally:
            self.requests -= not is_stream
            if not is_stream:
                self._metrics.request_has_ended(status, time.perf_counter() - start)

    def _rejection(self, scope: Scope) -> ASGIApp | None:
        """Return the response to a request that is not to be served."""
        headers = Headers(scope=scope)
        if _without_port(headers.get("host", "").lower()) not in self._hosts:
            return PlainTextResponse("unknown host: start the explorer with --host-name to serve this name\n", 421)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("only GET and HEAD are served\n", 405, {"Allow": "GET, HEAD"})
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            return PlainTextResponse("a request has no body\n", 413, {"Connection": "close"})
        if len(scope["raw_path"]) + len(scope["query_string"]) > TARGET_BYTES_MAX:
            return PlainTextResponse(f"the URL is too long (limit {TARGET_BYTES_MAX} bytes)\n", 414)
        if self.requests >= REQUESTS_MAX:
            return PlainTextResponse("too many requests: try again later\n", 503, {"Retry-After": "1"})
        return None


def _in_origin_form(scope: Scope) -> Scope:
    """Return a request whose target is a path. The host of a whole URL replaces that of the header, see RFC 9112."""
    scheme, separator, rest = scope["raw_path"].partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        return scope
    host, slash, path = rest.partition(b"/")
    raw_path = slash + path or b"/"
    headers = [each for each in scope["headers"] if each[0] != b"host"]
    return {
        **scope,
        "raw_path": raw_path,
        "path": unquote(raw_path.decode("ascii", "replace")),
        "headers": [(b"host", host), *headers],
    }


def _without_port(host: str) -> str:
    """Return the host of a Host header; IPv6 addresses keep their brackets."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
