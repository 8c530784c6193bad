"""The guard: hosts, methods, lengths, numbers and times of requests, and the headers of every response."""

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from scoop_explorer.guard import REQUESTS_MAX, Guard
from scoop_explorer.metrics import Metrics

from tests.support.explorer import Explored


@pytest.mark.parametrize("host", ["testserver", "TestServer:9600"])
def test_a_known_host_is_served(explored: Explored, host: str) -> None:
    assert explored.client.get("/livez", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "evil.example:80", "[::1]", "", "testserver@x"]
)
def test_an_unknown_host_is_rejected(explored: Explored, host: str) -> None:
    response = explored.client.get("/packages/openssl", headers={"host": host})
    assert (response.status_code, "openssl" in response.text) == (421, False)


def send(target: bytes, host: bytes) -> tuple[int, bytes]:
    """Request a target as it is from a guard of one host."""
    messages: list[MutableMapping[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"{scope['path']} {scope['raw_path']}")(scope, receive, send)

    async def call() -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request"}

        async def keep(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http", "method": "GET", "path": unquote(target.decode()), "raw_path": target, "query_string": b"",
            "headers": [(b"host", host)],
        }  # fmt: skip
        await Guard(app, ["here"], Metrics())(scope, receive, keep)

    asyncio.run(call())
    return messages[0]["status"], messages[1]["body"]


def test_a_target_that_is_a_whole_url_is_served_and_its_host_counts() -> None:
    assert send(b"http://here:80/packages/a%2Fb", b"other") == (200, b"/packages/a/b b'/packages/a%2Fb'")
    assert send(b"HTTP://here", b"here") == (200, b"/ b'/'")
    assert send(b"http://other/", b"here")[0] == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head_are_served(explored: Explored, method: str) -> None:
    response = explored.client.request(method, "/packages/openssl")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_head_has_no_body(explored: Explored) -> None:
    response = explored.client.head("/cycles")
    assert (response.status_code, response.content) == (200, b"")


def test_a_long_url_is_rejected(explored: Explored) -> None:
    assert explored.client.get(f"/search?q={'x' * 2_048}").status_code == 414


@pytest.mark.parametrize(
    "url", ["/", "/nowhere", "/api/v1/cycles", "/static/x/explorer.js", "/metrics", "/packages/x%00"]
)
def test_every_response_has_the_headers_that_restrict_a_browser(explored: Explored, url: str) -> None:
    headers = explored.client.get(url).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_static_files_are_kept_by_browsers_and_pages_are_not(explored: Explored) -> None:
    [script] = re.findall(r'src="(/static/[^"]+)"', explored.client.get("/").text)
    assert "immutable" in explored.client.get(script).headers["cache-control"]
    assert explored.client.get("/static/other/explorer.js").headers["cache-control"] == "no-cache"
    assert explored.client.get("/").headers["cache-control"] == "no-cache"


def test_a_request_that_takes_too_long_is_ended() -> None:
    async def stuck(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    response = TestClient(Guard(stuck, ["testserver"], Metrics(), request_seconds_max=0.01)).get("/")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


def test_requests_in_progress_are_limited() -> None:
    async def run() -> list[int]:
        release = asyncio.Event()
        statuses: list[int] = []

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await release.wait()
            await PlainTextResponse("ok")(scope, receive, send)

        guard = Guard(slow, ["here"], Metrics())

        async def request() -> None:
            async def receive() -> dict[str, object]:
                return {"type": "http.request"}

            async def send(message: object) -> None:
                assert isinstance(message, dict)
                statuses.extend([message["status"]] if "status" in message else [])

            scope = {
                "type": "http",
                "method": "GET",
                "path": "/",
                "raw_path": b"/",
                "query_string": b"",
                "headers": [(b"host", b"here")],
            }
            await guard(scope, receive, send)

        waiting = [asyncio.ensure_future(request()) for _ in range(REQUESTS_MAX)]
        await asyncio.sleep(0)
        await request()
        release.set()
        await asyncio.gather(*waiting)
        return statuses

    assert asyncio.run(run()) == [503] + [200] * REQUESTS_MAX


def test_metrics_count_requests_and_show_the_source(explored: Explored) -> None:
    explored.client.get("/packages/nowhere")
    text = explored.client.get("/metrics").text
    assert "scoop_explorer_packages 3370\n" in text
    assert "scoop_explorer_lag_seconds 0\n" in text
    assert "scoop_explorer_source_up 1\n" in text
    assert 'scoop_explorer_requests_total{status="404"}' in text
    assert 'scoop_explorer_request_seconds_bucket{le="+Inf"}' in text
    assert "process_resident_memory_bytes" in text
