"""Any URL is answered: a page, or a status with the reason, and never an internal server error."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph

from scoop_explorer.guard import TARGET_BYTES_MAX

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, exploring

NAMES = ("gmp", "isl", "..", "a/b", "%2F", "x" * 255)

Get = Callable[[bytes], tuple[int, str]]
"""Requests a target as it is; returns the status and the text."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("urls") / "data"
    graph: dict[str, list[str]] = {name: [] for name in NAMES if "%" not in name} | {"isl": ["gmp"], "self": ["self"]}
    create_directory(path, DependencyGraph.from_mapping(graph))
    with exploring(path) as explored:
        yield explored


@pytest.fixture(scope="module")
def get(hostile: Explored) -> Get:
    def get(target: bytes) -> tuple[int, str]:
        """Call the application without a client, which would repair the target."""
        raw_path, _, query = target.partition(b"?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": unquote(raw_path.decode("ascii", "replace")), "raw_path": raw_path, "query_string": query,
            "root_path": "", "headers": [(b"host", b"testserver")], "client": None, "server": None, "state": {},
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def call() -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: Any) -> None:
                sent.append(message)

            await hostile.application.asgi(scope, receive, send)

        assert hostile.client.portal is not None
        hostile.client.portal.call(call)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return cast("int", sent[0]["status"]), body.decode()

    return get


PATHS = st.sampled_from(
    [
        "/", "/search", "/packages", "/dependencies", "/dependents", "/removal", "/rebuild", "/path", "/cycles",
        "/changes", "/nowhere", "/static", "/livez", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/nowhere",
    ]
)  # fmt: skip
PREFIXES = st.sampled_from(["", "/api/v1"])
TEXTS = st.one_of(
    st.sampled_from([*NAMES, "../../etc/passwd", "\0", "\n", "gmp\n", "\ngmp", "<script>alert(1)</script>", "{{7*7}}"]),
    st.sampled_from(["-1", "0", "1", "500", "100000001", "9" * 20, "٣", "all", "direct", " gmp ", "\ud800"]),
    st.text(max_size=20),
    st.text(min_size=1, max_size=1).map(lambda text: text * 300),
)
ENCODED = st.one_of(
    TEXTS.map(lambda text: quote(text, safe="", errors="surrogatepass")),
    TEXTS.map(lambda text: quote(text, safe="/%&=?#.;", errors="surrogatepass")),
    st.binary(max_size=20).map(lambda data: quote(data, safe="/")),
    st.sampled_from(["%", "%2", "%zz", "%00", "%2F", "%2e%2e%2f", "%ED%A0%80", "%C0%AF", "+", "&&", "=", "%0A%0D"]),
)
KEYS = st.sampled_from(
    ["q", "name", "from", "to", "scope", "offset", "limit", "x", "format", "sort", "filter", "go", "since", "view"]
)
PARAMETERS = st.lists(st.tuples(KEYS, ENCODED), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)


@given(PREFIXES, PATHS, st.lists(ENCODED, max_size=2), PARAMETERS)
def test_any_target_is_answered(get: Get, prefix: str, path: str, parts: list[str], query: str) -> None:
    target = prefix + "/".join([path.rstrip("/") if parts else path, *parts]) + "?" * bool(query) + query
    status, text = get(target.encode("ascii"))
    assert status in {200, 202, 303, 307, 400, 404, 414, 503}, target
    assert text.startswith("{") or "<script>alert" not in text  # the API answers JSON, which no browser runs
    assert "Traceback" not in text
    if len(target) > TARGET_BYTES_MAX + 1:
        assert status == 414


@pytest.mark.parametrize("page", ["packages", "dependencies", "dependents", "removal", "rebuild"])
@pytest.mark.parametrize("name", ["gmp%0A", "%0Agmp", "%0A", "gmp%00", "gmp%20", "gm%70%0A%0A", "%ED%A0%80", "x" * 256])
def test_a_name_with_another_character_is_another_name(get: Get, page: str, name: str) -> None:
    for target in (f"/{page}/{name}", f"/api/v1/{page}/{name}"):
        assert get(target.encode())[0] == 404, target


def test_the_last_of_repeated_parameters_counts(hostile: Explored, get: Get) -> None:
    assert "isl</a> needs" in hostile.page("/path?from=gmp&from=isl&to=isl&to=gmp")
    assert get(b"/removal/gmp?offset=x&offset=0")[0] == 200


def test_a_query_that_is_longer_than_a_name_is_rejected(get: Get) -> None:
    assert get(b"/search?q=" + b"x" * 256)[0] == 400
