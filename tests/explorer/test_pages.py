"""Every page, as HTML and as JSON, on the Homebrew list, on hostile names, and beside a failing source."""

import html
import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest

from scoop_core import DependencyGraph, IndexedGraph

from scoop_explorer import openapi, questions
from scoop_explorer.links import package_url

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, exploring

PAGES = (
    "/",
    "/search?q=ssl",
    "/packages/openssl",
    "/dependencies/openssl",
    "/dependents/openssl?scope=all",
    "/removal/openssl",
    "/rebuild/openssl",
    "/path?from=fftw&to=openssl",
    "/cycles",
    "/changes",
)

HOSTILE = (
    "..",
    ".",
    "../../etc/passwd",
    "/",
    "//evil.example/x",
    "a/b/../c",
    "@scope/name",
    "c++",
    "a:b~c",
    "-" * 255,
    "javascript:alert",
)
"""Names that the protocol allows, and that mean something in a URL."""

NO_NAMES = (
    "<script>alert(1)</script>",
    "a b",
    '"><img src=x onerror=alert(1)>',
    "x" * 256,
    "é",
    "{{7*7}}",
    "a\nb",
    "\0",
)


def text_of(page: str) -> str:
    """Return the words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def answer(explored: Explored, url: str) -> dict[str, Any]:
    return cast("dict[str, Any]", explored.json(url))


@pytest.mark.parametrize("url", PAGES)
def test_every_page_has_a_title_one_heading_landmarks_the_lag_and_its_json(explored: Explored, url: str) -> None:
    page = explored.page(url)
    assert len(re.findall(r"<h1\b", page)) == 1
    assert re.search(r"<title>[^<]+ · Scoop explorer</title>", page)
    for landmark in ("<main", "<header", "<nav", "<footer", 'role="search"', 'lang="en"', 'href="#main"'):
        assert landmark in page
    assert re.search(r"Following <b>.+</b>, .*\d s behind", page)
    [api_url] = re.findall(r'rel="alternate" type="application/json" href="([^"]+)"', page)
    assert explored.json(html.unescape(api_url).removeprefix("/api/v1")) is not None


@pytest.mark.parametrize("url", PAGES)
def test_no_page_has_inline_scripts_or_styles_or_foreign_files(explored: Explored, url: str) -> None:
    page = explored.page(url)
    assert not re.search(r"<script(?![^>]* src=\"/static/)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)


def test_the_page_of_openssl_shows_why_it_cannot_be_removed_and_the_order_of_removal(
    explored: Explored, homebrew: DependencyGraph
) -> None:
    words = text_of(explored.page("/packages/openssl"))
    assert "Can it be removed? No. 554 packages need openssl directly, 677 directly or not." in words
    first, second = homebrew.removal_requests("openssl", *homebrew.transitive_dependents("openssl"))[:2]
    assert f"What would have to go first, in this order {first.package} {second.package}" in words
    assert "The whole order, as 678 requests ; openssl comes last." in words


def test_the_whole_order_of_a_removal_is_answered_ok(explored: Explored, homebrew: DependencyGraph) -> None:
    lines: list[str] = []
    while len(lines) < 678:
        requests = answer(explored, f"/removal/openssl?offset={len(lines)}")["requests"]
        assert (requests["total"], requests["offset"]) == (678, len(lines))
        lines += requests["names"]
    graph = homebrew.copy()
    assert set(graph.apply_lines("".join(f"{line}\n" for line in lines)).split()) == {"OK"}
    assert "openssl" not in graph


def test_an_order_of_too_many_packages_has_a_page_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ORDERED_MAX", 2)
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"c": ["b"], "b": ["a"], "a": []}))
    with exploring(tmp_path / "data") as explored:
        words = text_of(explored.page("/packages/a"))
        assert "2 directly or not" in words
        assert "The whole order, as 3 requests (this takes a while)." in words
        assert "3 packages: the steps (this takes a while)." in words
        assert answer(explored, "/removal/a")["requests"]["names"] == ["REMOVE|c|", "REMOVE|b|", "REMOVE|a|"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/dependents/openssl?offset=9999", "The list ends before this part. Previous"),
        ("/removal/openssl?offset=9999", "The list ends before this part. Previous"),
        ("/rebuild/openssl?offset=99", "The list ends before this part. All steps"),
        ("/rebuild/openssl?step=99", "The list ends before this part. All steps"),
        ("/search?q=ssl&offset=9999", "No more packages have it in their names. Previous"),
    ],
)
def test_a_part_behind_the_end_of_a_list_says_so(explored: Explored, url: str, words: str) -> None:
    assert words in text_of(explored.page(url))


def test_a_package_that_nothing_needs_can_be_removed(explored: Explored) -> None:
    assert "Can it be removed? Yes. No other package needs it." in text_of(explored.page("/packages/zzuf"))


def test_counts_and_layer_are_those_of_the_graph(explored: Explored, homebrew: DependencyGraph) -> None:
    graph = IndexedGraph.from_graph(homebrew)
    layer_of = {name: number for number, names in enumerate(graph.layers(), 1) for name in names}
    for name in ("openssl", "pkg-config", "fftw", "zzuf", "a2ps", "boost"):
        package = answer(explored, f"/packages/{name}")
        near, reach = package["neighbours"], package["reach"]
        assert near["dependencies"]["total"] == len(graph.dependencies(name))
        assert near["dependents"]["total"] == graph.dependent_count(name)
        assert reach["dependencies"]["total"] == len(graph.transitive_dependencies(name))
        assert reach["dependents"]["total"] == len(graph.transitive_dependents(name))
        assert reach["layer"] == layer_of[name]
        affected = graph.subgraph([name, *graph.transitive_dependents(name)])
        assert reach["rebuild_steps"] == [len(step) for step in affected.layers()]
        assert package["is_removable"] is not bool(graph.dependent_count(name))


def test_all_names_of_a_list_are_on_its_parts(explored: Explored, homebrew: DependencyGraph) -> None:
    names: list[str] = []
    for offset in (0, 500):
        listing = answer(explored, f"/dependents/openssl?scope=all&offset={offset}")["listing"]
        names += listing["names"]
    assert names == list(homebrew.transitive_dependents("openssl"))
    first, second = (
        explored.page("/dependents/openssl?scope=all"),
        explored.page("/dependents/openssl?scope=all&offset=500"),
    )
    assert 'rel="next" href="/dependents/openssl?scope=all&amp;offset=500"' in first
    assert 'rel="prev" href="/dependents/openssl?scope=all&amp;offset=0"' in second


def test_the_rebuild_page_has_the_steps(explored: Explored) -> None:
    words = text_of(explored.page("/rebuild/makedepend"))
    assert "679 packages in 11 steps" in words
    assert "Step 1 1 makedepend Step 2 1 openssl" in words


def test_a_path_is_a_sentence_in_either_direction(explored: Explored) -> None:
    assert "fftw needs open-mpi , which needs openssl ." in text_of(explored.page("/path?from=fftw&to=openssl"))
    other = text_of(explored.page("/path?from=openssl&to=fftw"))
    assert "openssl does not need fftw . It is the other way round: fftw needs open-mpi" in other
    assert "Neither zzuf nor openssl needs the other" in text_of(explored.page("/path?from=zzuf&to=openssl"))
    assert "Show the path" in text_of(explored.page("/path"))


def test_the_search_puts_prefixes_first(explored: Explored) -> None:
    assert answer(explored, "/search?q=ssl&limit=6")["names"][:3] == ["ssldump", "sslh", "ssllabs-scan"]
    assert answer(explored, "/search?q=openssl")["names"][0] == "openssl"
    assert answer(explored, "/search?q=&limit=3")["names"] == ["a", "a2ps", "a52dec"]
    assert 'value="ssl"' in explored.page("/search?q=ssl")


def test_the_drawing_is_capped(explored: Explored) -> None:
    page = explored.page("/packages/openssl")
    assert page.count('class="curve"') == 9 + 1 + 2
    assert "+545 more" in page


def test_cycles_and_what_would_break_them(tmp_path: Path) -> None:
    create_directory(
        tmp_path / "data",
        DependencyGraph.from_mapping({"a": ["b"], "b": ["a"], "c": ["c"], "d": ["a"], "e": []}),
    )
    with exploring(tmp_path / "data") as explored:
        cycles = answer(explored, "/cycles")
        assert [group["packages"]["names"] for group in cycles["groups"]] == [["a", "b"], ["c"]]
        assert [group["breaking_total"] for group in cycles["groups"]] == [1, 1]
        words = text_of(explored.page("/cycles"))
        assert "2 groups of packages that all need each other" in words
        assert "c needs itself" in words
        package = answer(explored, "/packages/a")
        assert package["reach"]["removal_requests"] == 4  # one of them releases the cycle
        assert package["reach"]["removal"]["names"][0] == "d"
        assert "It needs itself." in explored.page("/packages/c")


def test_a_package_that_is_not_indexed_is_a_404_with_similar_names(explored: Explored) -> None:
    words = text_of(explored.page("/packages/openss", 404))
    assert "openss is not indexed The index has no package of this name, among 3,370." in words
    assert "Similar names openssl" in words
    assert explored.json("/packages/openss", 404) is None


@pytest.mark.parametrize(
    "url",
    ["/nowhere", "/static/../cli.py", "/static/x/..%2f..%2fcli.py", "/api/v1/nowhere", "/static/x", "/static/x/y"],
)
def test_other_paths_are_a_404(explored: Explored, url: str) -> None:
    assert explored.client.get(url).status_code == 404


@pytest.mark.parametrize(
    "url",
    ["/removal/openssl?offset=-1", "/removal/openssl?offset=x", "/dependents/openssl?scope=some", "/search?limit=201"],
)
def test_parameters_are_checked(explored: Explored, url: str) -> None:
    assert "This URL has a mistake" in explored.page(url, 400)
    explored.json(url, 400)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("hostile") / "data"
    create_directory(path, DependencyGraph.from_mapping({name: [] for name in HOSTILE} | {"root": list(HOSTILE)}))
    with exploring(path) as explored:
        yield explored


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_mean_something_in_a_url_have_pages(hostile: Explored, name: str) -> None:
    for page in ("packages", "dependents", "dependencies", "removal", "rebuild"):
        assert html.escape(name) in hostile.page(package_url(name, page))
    assert answer(hostile, package_url(name))["neighbours"]["name"] == name


def test_every_link_of_a_page_leads_to_the_package_that_it_names(hostile: Explored) -> None:
    links = re.findall(
        r'<li><a href="([^"]+)">([^<]+)</a></li>', hostile.page("/dependencies/root").partition("<main")[2]
    )
    assert sorted(html.unescape(name) for _, name in links) == sorted(HOSTILE)
    for link, name in links:
        assert f'<h1 class="name">{name}</h1>' in hostile.page(html.unescape(link))


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    "url", ["/packages/{}", "/packages?name={}", "/search?q={}", "/path?from={}&to=zzuf", "/removal/{}"]
)
def test_text_that_is_no_name_is_escaped(explored: Explored, name: str, url: str) -> None:
    response = explored.client.get(url.format(quote(name, safe="")))
    assert response.status_code == (200 if "search" in url else 404)
    assert "<script>alert" not in response.text
    assert "<img" not in response.text
    assert "49" not in text_of(response.text).replace("3,370", "").partition("· Scoop")[0]


def follow_next(explored: Explored, url: str, pattern: str) -> list[str]:
    """Return what matches on a page and on all that follow it."""
    found: list[str] = []
    while url:
        page = explored.page(url)
        part = re.findall(pattern, page)
        assert len(part) <= 1_000
        found += part
        following = re.findall(r'rel="next" href="([^"]+)"', page)
        url = html.unescape(following[0]) if following else ""
    return found


def test_long_lists_have_parts(tmp_path: Path) -> None:
    chain = {"c0": [], "root": [], **{f"c{number}": [f"c{number - 1}"] for number in range(1, 450)}}
    wide = {f"w{number}": ["root"] for number in range(700)}
    cycles: dict[str, list[str]] = {}
    for number in range(45):
        cycles |= {f"x{number}": [f"y{number}"], f"y{number}": [f"x{number}"]}
    ring = {f"r{number}": [f"r{(number + 1) % 600}", *([f"r{number - 1}"] if number else [])] for number in range(600)}
    create_directory(tmp_path / "data", DependencyGraph.from_mapping(chain | wide | cycles | ring))
    with exploring(tmp_path / "data") as explored:
        link = r'<a href="/packages/([cwrxy]\d+)">'
        path = follow_next(explored, "/path?from=c449&to=c0", rf'(?:needs |sentence">){link}')
        assert path == [f"c{number}" for number in reversed(range(450))]
        assert "The path ends before this part" in explored.page("/path?from=c449&to=c0&offset=999")
        assert len(follow_next(explored, "/rebuild/c0", r'id="step-(\d+)"')) == 450
        [more] = re.findall(r'href="([^"]+)">\+640 more', explored.page("/rebuild/root"))
        assert more == "/rebuild/root?step=2"
        assert len(set(follow_next(explored, more, link))) == 700
        assert "+426 more" in explored.page("/packages/c0")
        assert len(answer(explored, "/packages/c0")["reach"]["rebuild_steps"]) == 100
        assert len(set(follow_next(explored, "/search?q=w", r'<li><a href="/packages/(w\d+)">'))) == 700
        assert len(follow_next(explored, "/cycles", r'id="group-(\d+)"')) == 46
        [more, *_] = re.findall(r'href="([^"]+)">\+540 more', explored.page("/cycles"))
        assert more == "/cycles?group=1"
        first = answer(explored, more)["groups"][0]
        second = answer(explored, f"{more}&offset=500")["groups"][0]
        assert len({*first["packages"]["names"], *second["packages"]["names"]}) == 600
        assert len(first["breaking"]) + len(second["breaking"]) == first["breaking_total"]
        assert "+100 more" in explored.page(more)
        assert "+99 more" in explored.page(more)


def test_the_openapi_document_describes_every_answer(explored: Explored) -> None:
    document = cast("dict[str, Any]", explored.client.get("/api/v1/openapi.json").json())
    schemas = document["components"]["schemas"]

    def check(value: object, schema: dict[str, Any]) -> None:
        if "anyOf" in schema:
            if value is not None:
                check(value, schema["anyOf"][0])
        elif "$ref" in schema:
            check(value, schemas[schema["$ref"].rpartition("/")[2]])
        elif schema["type"] == "object":
            assert isinstance(value, dict)
            assert set(value) == set(schema["properties"])
            for name, part in value.items():
                check(part, schema["properties"][name])
        elif schema["type"] == "array":
            assert isinstance(value, list)
            for item in value:
                check(item, schema["items"])
        else:
            kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
            assert isinstance(value, kinds[schema["type"]])  # type: ignore[arg-type]  # a type or a tuple of them

    for url in PAGES:
        target = "/overview" if url == "/" else url
        path = openapi.PREFIX + re.sub(r"/openssl\b", "/{name}", target.partition("?")[0])
        operation = document["paths"][path]["get"]
        explored.json(target)
        body = explored.client.get(f"/api/v1{target}").json()
        check(body, operation["responses"]["200"]["content"]["application/json"]["schema"])
    assert len(document["paths"]) == len(PAGES)
