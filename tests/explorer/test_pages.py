"""Every page, as HTML and as JSON, on the Homebrew list, on hostile names, and beside a failing source."""

import html
import json
import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest

from scoop_core import DependencyGraph, IndexedGraph, decode_dot

from scoop_explorer import openapi, questions
from scoop_explorer.links import package_url

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, exploring
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

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
    "/history/openssl",
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
    assert "Can it be removed? No. 554 packages need openssl directly, 677 directly or indirectly." in words
    first, second = homebrew.removal_requests(["openssl", *homebrew.transitive_dependents("openssl")])[:2]
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
    monkeypatch.setattr(questions, "ORDERED_MAX", 1)
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"c": ["b"], "b": ["a"], "a": []}))
    with exploring(tmp_path / "data") as explored:
        words = text_of(explored.page("/packages/a"))
        assert "2 directly or indirectly" in words
        assert "The whole order (this takes a while)." in words
        assert "3 packages: the steps (this takes a while)." in words
        assert answer(explored, "/removal/a")["requests"]["names"] == ["REMOVE|c|", "REMOVE|b|", "REMOVE|a|"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/dependents/openssl?offset=9999", "The list ends before this part. The whole list Previous"),
        ("/removal/openssl?offset=9999", "The list ends before this part. The whole list Previous"),
        ("/rebuild/openssl?offset=99", "The list ends before this part. All steps"),
        ("/rebuild/openssl?step=99", "The list ends before this part. All steps"),
        ("/search?q=ssl&offset=9999", "No more packages are listed. The first ones Previous"),
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
        near, reach, rebuild = package["neighbours"], package["reach"], package["rebuild"]
        assert near["dependencies"]["total"] == len(graph.dependencies(name))
        assert near["dependents"]["total"] == graph.dependent_count(name)
        assert reach["dependencies"]["total"] == len(graph.transitive_dependencies(name))
        assert reach["dependents"]["total"] == len(graph.transitive_dependents(name))
        assert reach["layer"] == layer_of[name]
        affected = graph.subgraph([name, *graph.transitive_dependents(name)])
        assert rebuild["sizes"] == [len(step) for step in affected.layers()]
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


def test_a_search_puts_first_what_fits_and_what_many_packages_need(
    explored: Explored, homebrew: DependencyGraph
) -> None:
    found = answer(explored, "/search?q=ssl&limit=6")
    assert found["hits"][0] == {"name": "openssl", "dependents": 554}
    assert found["total"] == sum("ssl" in name.lower() for name in homebrew)
    assert answer(explored, "/search?q=python")["hits"][0]["name"] == "python"
    assert answer(explored, "/search?q=PYTHON")["hits"][0]["name"] == "python"
    assert [each["name"] for each in answer(explored, "/search?limit=3")["hits"]] == ["a", "a2ps", "a52dec"]
    page = explored.page("/search?q=ssl")
    assert 'value="ssl"' in page
    assert f"{found['total']} packages" in page
    assert "openssl needed by 554" in text_of(page)


def test_a_search_for_a_name_with_a_typing_mistake_suggests_it(explored: Explored) -> None:
    for typed in ("opnessl", "openssk", "opensssl", "OPNESSL"):
        found = answer(explored, f"/search?q={typed}")
        assert (found["total"], found["similar"][0]["name"]) == (0, "openssl"), typed
        assert "Did you mean …? openssl needed by 554" in text_of(explored.page(f"/search?q={typed}"))
    assert answer(explored, "/search?q=zq")["similar"] == []


def test_enter_on_an_exact_name_opens_it(explored: Explored) -> None:
    response = explored.client.get("/search?q=openssl&go=yes", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/packages/openssl")
    assert "Search for" in explored.page("/search?q=openss&go=yes")
    assert "Search for" in explored.page("/search?q=openssl")


def test_a_path_keeps_its_form_and_suggests_names(explored: Explored) -> None:
    page = explored.page("/path?from=opnessl&to=zzuf", 404)
    assert 'name="from" value="opnessl"' in page
    assert 'name="to" value="zzuf"' in page
    assert '<a href="/path?to=zzuf&amp;from=openssl">openssl</a>' in page
    page = explored.page("/path?from=openssl", 400)
    assert "missing parameter to" in page
    assert 'name="from" value="openssl"' in page
    assert "unknown parameter 'form'" in html.unescape(explored.page("/path?form=openssl&to=zzuf", 400))


def test_several_packages_are_removed_or_rebuilt_together(explored: Explored, homebrew: DependencyGraph) -> None:
    names = ["openssl", "cmake", "zzuf"]
    affected = {*names, *homebrew.transitive_dependents(names)}
    for query in ("/removal?name=openssl&name=cmake&name=zzuf", "/removal/openssl?name=cmake%2C+zzuf"):
        removal = answer(explored, query)
        assert removal["packages"] == names
        assert removal["requests"]["total"] == len(affected)
    rebuild = answer(explored, "/rebuild/openssl?name=cmake&name=zzuf")
    assert rebuild["total"] == len(affected)
    assert "How to remove openssl , cmake and zzuf" in text_of(explored.page(query))
    page = explored.page("/removal?name=openssl&name=opnessl", 404)
    assert '<a href="/removal?name=openssl&amp;name=openssl">openssl</a>' in page
    assert "Package" in text_of(explored.page("/removal"))


def test_lists_are_sorted_filtered_and_shown_as_a_table(explored: Explored, homebrew: DependencyGraph) -> None:
    graph = IndexedGraph.from_graph(homebrew)
    url = "/dependents/openssl?scope=all&limit=1000"
    rows = answer(explored, f"{url}&sort=dependents&filter=lib")["packages"]
    counts = [row["dependents"] for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert {row["name"] for row in rows} == {
        name for name in graph.transitive_dependents("openssl") if "lib" in name.lower()
    }
    for row in rows[:20]:
        assert row["dependents"] == graph.dependent_count(row["name"])
        assert row["distance"] == len(graph.find_path(row["name"], "openssl")) - 1
    distances = [row["distance"] for row in answer(explored, f"{url}&sort=distance")["packages"]]
    assert distances == sorted(distances)
    names = answer(explored, f"{url}&sort=name")["listing"]["names"]
    assert names == sorted(graph.transitive_dependents("openssl"))
    page = explored.page("/dependents/openssl?scope=all&view=table&sort=name")
    assert '<th scope="col" aria-sort="ascending">' in page
    assert "No name has it. Without the filter" in text_of(explored.page("/dependents/openssl?filter=zzzz"))


def test_whole_answers_are_downloaded(explored: Explored, homebrew: DependencyGraph) -> None:
    def get(url: str) -> tuple[str, str]:
        response = explored.client.get(url)
        assert response.status_code == 200
        return response.headers["content-disposition"], response.text

    name, text = get("/removal/openssl?format=text")
    assert name == 'attachment; filename="removal-openssl.txt"'
    assert set(homebrew.copy().apply_lines(text).split()) == {"OK"}
    assert text.count("\n") == 678
    name, text = get("/dependents/openssl?scope=all&format=csv&sort=name")
    assert name == 'attachment; filename="dependents-openssl.csv"'
    lines = text.splitlines()
    assert lines[0] == "name,dependents,distance"
    assert len(lines) == 678
    _, text = get("/dependencies/fftw?scope=all&format=json")
    assert {each["name"] for each in json.loads(text)} == set(homebrew.transitive_dependencies("fftw"))
    _, text = get("/dependencies/fftw?scope=all&format=dot")
    part = decode_dot(text)
    assert set(part) == {"fftw", *homebrew.transitive_dependencies("fftw")}
    _, text = get("/rebuild/makedepend?format=csv")
    assert text.splitlines()[:3] == ["step,name,cycle", "1,makedepend,", "2,openssl,"]
    assert get("/path?from=fftw&to=openssl&format=text")[1].split() == ["fftw", "open-mpi", "openssl"]
    assert len(json.loads(get("/removal/openssl?format=json")[1])["requests"]) == 678
    assert get("/search?q=ssl&format=csv")[1].splitlines()[1] == "openssl,554"
    for url in ("/packages/openssl?format=dot", "/cycles?format=csv", "/cycles?format=dot", "/changes?format=csv"):
        assert get(url)[1]
    assert explored.client.get("/removal/openssl?format=csv").status_code == 400


def test_a_path_tells_what_cuts_it(explored: Explored) -> None:
    path = answer(explored, "/path?from=fftw&to=openssl")
    assert path["cut_packages"]["names"] == ["open-mpi"]
    words = text_of(explored.page("/path?from=fftw&to=openssl"))
    assert "Each of these packages is on every path between the two: open-mpi" in words


def test_the_changes_since_a_batch_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ServerProcess("--data-dir", str(path)) as server, exploring(path) as explored:
        client = server.connect()
        for name in "abc":
            assert client.ask(f"INDEX|{name}|") == ["OK"]
        client.close()
        wait_until(lambda: explored.application.index.batch == 3)
        found = answer(explored, "/changes?since=1")
        assert [each["package"] for each in found["changes"]] == ["c", "b"]
        assert (found["since"], found["total"]) == (1, 2)
        found = answer(explored, "/changes?limit=1")
        assert ([each["package"] for each in found["changes"]], found["total"]) == (["c"], 3)


def test_an_answer_has_a_tag_until_the_next_change(explored: Explored) -> None:
    for url in ("/api/v1/packages/openssl", "/api/v1/changes", "/api/v1/search?q=ssl"):
        explored.json(url.removeprefix("/api/v1"))
        tag = explored.client.get(url).headers["etag"]
        response = explored.client.get(url, headers={"if-none-match": f'"other", {tag}'})
        assert (response.status_code, response.content) == (304, b"")
        assert explored.client.get(url, headers={"if-none-match": '"other"'}).status_code == 200


def test_long_responses_are_compressed_but_not_the_stream(explored: Explored) -> None:
    page = explored.client.get("/dependents/openssl?scope=all", headers={"accept-encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in explored.client.get("/", headers={"accept-encoding": "identity"}).headers


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
        removal = answer(explored, "/packages/a")["removal"]
        assert removal["requests"]["names"] == ["INDEX|a|", "REMOVE|d|", "REMOVE|b|"]
        assert (removal["requests"]["total"], removal["releases"]) == (4, 1)
        lines = answer(explored, "/removal/a")["requests"]["names"]
        assert lines == ["INDEX|a|", "REMOVE|d|", "REMOVE|b|", "REMOVE|a|"]
        words = text_of(explored.page("/packages/a"))
        assert "What would have to go first, in this order release a d b" in words
        assert "The whole order, as 4 requests ; a comes last." in words
        assert "It needs 1 other package that needs it too, directly or indirectly" in words
        assert "It is in layer 1 . Can" not in words
        assert "can be built first" not in words
        assert "It needs itself." in explored.page("/packages/c")
        rebuild = text_of(explored.page("/rebuild/a"))
        assert "Step 1 2 A cycle of 2 packages, built as a whole: a b Step 2 1 d" in rebuild
        assert "in no group" in explored.page("/cycles?package=e")
        assert "Group 1: 2 packages" in explored.page("/cycles?package=b")


def test_a_package_that_is_not_indexed_is_a_404_with_similar_names(explored: Explored) -> None:
    words = text_of(explored.page("/packages/openss", 404))
    assert "openss is not indexed The index has no package of this name, among 3,370." in words
    assert "Did you mean …? openssl needed by 554" in words
    assert "Names that contain it" in words
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
    page = explored.page(url, 400)
    assert "expected " in page
    assert "unknown parameter 'x'" in html.unescape(explored.page(url.partition("?")[0] + "?x=1", 400))
    explored.json(url, 400)
    explored.json(url.partition("?")[0] + "?x=1", 400)


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
    is_too_long = len(name) > 255 and "search" in url
    assert response.status_code == (400 if is_too_long else 200 if "search" in url else 404)
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
        url = "/path?from=c449&to=c0"
        assert follow_next(explored, url, r"(to) \d+ of 450 packages") == ["to"] * 3
        parts = [answer(explored, f"{url}&offset={offset}")["packages"] for offset in (0, 200, 400)]
        assert [name for part in parts for name in part] == [f"c{number}" for number in reversed(range(450))]
        assert "The list ends before this part" in explored.page(f"{url}&offset=999")
        assert len(follow_next(explored, "/rebuild/c0", r'id="step-(\d+)"')) == 450
        [more] = re.findall(r'href="([^"]+)">\+640 more', explored.page("/rebuild/root"))
        assert more == "/rebuild/root?step=2"
        assert len(set(follow_next(explored, more, link))) == 700
        assert "+426 more" in explored.page("/packages/c0")
        assert len(answer(explored, "/packages/c0")["rebuild"]["sizes"]) == 100
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
        assert first["graph"]["nodes"]  # a shortest cycle of a group that is too large to be drawn
        for url in ("/rebuild/r0", "/rebuild/r0?step=1", "/rebuild/r0?step=1&offset=500"):
            words = text_of(explored.page(url))
            assert re.search(r"Step 1 600 A cycle of 600 packages, built as a whole: r0 .* \+540 more", words)


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

    for url in (*PAGES, "/graph/openssl"):
        target = "/overview" if url == "/" else url
        path = openapi.PREFIX + re.sub(r"/openssl\b", "/{name}", target.partition("?")[0])
        operation = document["paths"][path]["get"]
        explored.json(target)
        body = explored.client.get(f"/api/v1{target}").json()
        check(body, operation["responses"]["200"]["content"]["application/json"]["schema"])
    check(explored.client.get("/api/v1/path").json(), schemas["Error"])
    assert len(document["paths"]) == len(PAGES) + 2
