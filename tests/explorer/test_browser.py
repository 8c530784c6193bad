"""The explorer in a real browser, beside a real server. ``nox -s browser`` runs it, where Chromium is installed."""

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: nox -s browser installs it")
pytest.importorskip("axe_playwright_python", reason="axe is not installed: nox -s browser installs it")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from scoop_core import DependencyGraph

from scoop_explorer.events import STREAMS_MAX

from tests.support.data_directory import create_directory
from tests.support.explorer import ExplorerProcess
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (on Debian: apt install chromium)"),
]

DOCS = Path(__file__).parents[2] / "docs"

EXTRA_RULES = ("label-content-name-mismatch", "landmark-unique", "focus-order-semantics", "target-size")
EVERY_RULE = {"rules": {name: {"enabled": True} for name in EXTRA_RULES}}
"""The rules of axe that are not on by themselves."""

WAIT_MS = 60_000
"""Longest wait for something on a page; only a bug takes longer."""

PAGES = {
    "start": "/",
    "search": "/search?q=ssl",
    "nothing found": "/search?q=no-such-name",
    "package": "/packages/openssl",
    "removable package": "/packages/zzuf",
    "dependents": "/dependents/openssl?scope=all",
    "removal": "/removal/openssl",
    "rebuild": "/rebuild/makedepend",
    "path": "/path?from=fftw&to=openssl",
    "cycles": "/cycles",
    "history": "/history/openssl",
    "changes": "/changes",
    "table": "/dependents/openssl?scope=all&view=table&sort=dependents",
    "typing mistake": "/path?from=opnessl&to=zzuf",
    "form of a path": "/path",
    "form of a removal": "/removal",
    "several packages": "/removal?name=openssl&name=cmake",
    "package in a cycle": "/packages/bootstrap-a",
    "rebuild of a cycle": "/rebuild/bootstrap-a",
    "part of a step": "/rebuild/makedepend?step=3",
    "nothing with a filter": "/dependents/openssl?filter=zzzz",
    "not indexed": "/packages/openss",
    "mistake in a url": "/changes?x=1",
    "no page": "/nowhere",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, homebrew: DependencyGraph) -> Path:
    """The Homebrew list with a cycle."""
    path = tmp_path_factory.mktemp("browser") / "data"
    graph = homebrew.copy()
    graph.index("bootstrap-a")
    graph.index("bootstrap-b", ["bootstrap-a"])
    graph.index("bootstrap-a", ["bootstrap-b"])
    create_directory(path, graph)
    return path


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[ServerProcess]:
    with ServerProcess("--data-dir", str(directory)) as server:
        yield server


@pytest.fixture(scope="module")
def explorer(directory: Path) -> Iterator[ExplorerProcess]:
    with ExplorerProcess(directory) as explorer:
        wait_until(explorer.is_ready)
        yield explorer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def new_context(browser: Browser, explorer: ExplorerProcess, **options: object) -> BrowserContext:
    context = browser.new_context(base_url=explorer.url, **options)  # type: ignore[arg-type]  # as in new_context
    context.set_default_timeout(WAIT_MS)
    return context


@pytest.fixture
def page(browser: Browser, explorer: ExplorerProcess) -> Iterator[Page]:
    """A page that fails the test if the console reports an error, such as a violation of the policy."""
    context = new_context(browser, explorer)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert [each for each in problems if "404" not in each] == []


def ask(server: ServerProcess, *lines: str) -> list[str]:
    """Send requests as a client; return the responses."""
    client = server.connect()
    try:
        return client.ask(*lines)
    finally:
        client.close()


def test_a_search_suggests_while_typing_and_a_click_leads_on(page: Page) -> None:
    page.goto("/")
    search = page.get_by_role("combobox", name="Search packages")
    search.press_sequentially("openss")
    page.get_by_role("option", name="openssl needed by 554", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("openssl")
    expect(page.get_by_text("554 packages need")).to_be_visible()
    page.locator(".plane [data-node=open-mpi] a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("open-mpi")
    page.locator("#needs ~ .chips").get_by_role("link", name="openssl").click()
    page.get_by_role("link", name=re.compile("The whole order")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("How to remove openssl")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.goto("/cycles")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_role("combobox")
    expect(search).to_be_focused()
    page.keyboard.type("openssl")
    options = page.get_by_role("option")
    expect(options.first).to_have_text("openssl needed by 554")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(search).to_have_attribute("aria-activedescendant", "q-suggestion-0")
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_text("openssl needed by 554")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_title("openssl · Scoop explorer")
    page.keyboard.press("/")
    page.keyboard.type("ssl")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Search for “ssl”")
    page.keyboard.press("/")
    page.keyboard.type("zzuf")
    page.keyboard.press("Enter")
    expect(page).to_have_title("zzuf · Scoop explorer")


def test_suggestions_are_links_and_fill_the_fields_of_a_path(page: Page) -> None:
    page.goto("/path?from=opnessl&to=zzuf")
    search = page.get_by_role("combobox", name="Search packages")
    search.press_sequentially("opnessl")
    option = page.get_by_role("option", name="openssl needed by 554", exact=True)
    with page.context.expect_page() as opened:
        option.click(button="middle")
    expect(opened.value).to_have_title("openssl · Scoop explorer")
    opened.value.close()
    start = page.get_by_label("Why does")
    expect(start).to_have_value("opnessl")
    start.fill("")
    start.press_sequentially("fftw")
    page.get_by_role("option", name=re.compile("^fftw")).first.click()
    goal = page.get_by_label("need", exact=True)
    goal.fill("")
    goal.dispatch_event("blur")  # as of a window that loses the focus, and whose active field stays the same
    goal.press_sequentially("opnessl")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")  # longer than a field waits before it closes
    expect(page.get_by_role("option", name=re.compile("^openssl"))).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name=re.compile("^openssl"))).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(goal).to_have_value("openssl")
    page.get_by_role("button", name="Show the path").click()
    expect(page.locator(".sentence")).to_have_text("fftw needs open-mpi, which needs openssl.")


def test_a_change_by_a_client_appears_without_reload(page: Page, server: ServerProcess) -> None:
    page.goto("/")
    page.evaluate("window.isSamePage = true")
    assert ask(server, "INDEX|live-test|openssl,zzuf") == ["OK"]
    expect(page.locator(".changes li").first).to_contain_text("live-test")
    expect(page.locator(".changes li").first).to_contain_text("needs openssl, zzuf")
    assert page.evaluate("window.isSamePage") is True
    page.goto("/packages/zzuf")
    page.evaluate("window.isSamePage = true")
    expect(page.locator(".verdict")).to_contain_text("No. 1 package needs zzuf directly")
    link = page.locator("#needed-by ~ .chips").get_by_role("link", name="live-test", exact=True)
    link.focus()
    assert ask(server, "INDEX|live-test-2|zzuf") == ["OK"]
    expect(page.locator(".verdict")).to_contain_text("No. 2 packages need zzuf directly")
    expect(link).to_be_focused()
    assert ask(server, "REMOVE|live-test|", "REMOVE|live-test-2|") == ["OK", "OK"]
    expect(page.locator(".verdict")).to_contain_text("Yes.")
    assert page.evaluate("window.isSamePage") is True


class Proxy:
    """A reverse proxy between a browser and an explorer, which may also answer everything with 502."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._is_down = False
        threading.Thread(target=self._accept, daemon=True).start()

    def fail(self) -> None:
        """End all connections, and answer further ones with 502."""
        self._is_down = True
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def recover(self, port: int) -> None:
        self._target, self._is_down = port, False

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.fail()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._is_down:
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndown")
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                self._open += [client, server]
                threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
                self._copy(client, server)

    @staticmethod
    def _copy(source: socket.socket, goal: socket.socket) -> None:
        with suppress(OSError):
            with suppress(ConnectionResetError):  # an explorer was killed: its client must see an end too
                while data := source.recv(65_536):
                    goal.sendall(data)
            goal.shutdown(socket.SHUT_WR)


def test_ten_tabs_share_a_stream_and_all_follow(
    browser: Browser, explorer: ExplorerProcess, server: ServerProcess
) -> None:
    context = new_context(browser, explorer)
    pages = [context.new_page() for _ in range(10)]
    for page in pages:
        page.goto("/changes")
    assert ask(server, "INDEX|for-ten-tabs|") == ["OK"]
    for page in pages:
        expect(page.locator(".changes li").first).to_contain_text("for-ten-tabs")
    assert "scoop_explorer_event_streams 1\n" in explorer.get("/metrics")[1]
    context.close()
    assert ask(server, "REMOVE|for-ten-tabs|") == ["OK"]


def test_a_page_whose_stream_is_refused_says_so_and_catches_up(
    browser: Browser, explorer: ExplorerProcess, server: ServerProcess
) -> None:
    request = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as others:
        for _ in range(STREAMS_MAX):
            stream = others.enter_context(socket.create_connection(("127.0.0.1", explorer.port)))
            stream.sendall(request)
            assert b" 200 " in stream.recv(100)
        context = new_context(browser, explorer)
        page = context.new_page()
        page.goto("/packages/zzuf")
        expect(page.locator("#standing")).to_contain_text("Not connected", timeout=HONEST_MS)
        assert ask(server, "INDEX|after-the-refusal|zzuf") == ["OK"]
    expect(page.locator(".verdict")).to_contain_text("No. 1 package needs zzuf directly")
    expect(page.locator("#standing")).to_be_hidden()
    context.close()
    assert ask(server, "REMOVE|after-the-refusal|") == ["OK"]


HONEST_MS = 5_000
"""The time within which a page must say that it is not connected."""


def test_every_page_says_when_it_is_not_connected_and_catches_up(browser: Browser, tmp_path: Path) -> None:
    create_directory(
        tmp_path / "data", DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": [], "a": ["b"], "b": ["a"]})
    )
    explorer = ExplorerProcess(tmp_path / "data")
    wait_until(explorer.is_ready)
    proxy = Proxy(explorer.port)
    context = browser.new_context(base_url=proxy.url)
    urls = {name: url.replace("openssl", "gmp").replace("fftw", "isl") for name, url in PAGES.items()}
    pages = []
    for url in urls.values():
        pages.append(context.new_page())
        pages[-1].goto(url)
        expect(pages[-1].locator("#source")).to_contain_text("up to date")

    def all_say(words: str, within: int = HONEST_MS) -> None:
        deadline = time.monotonic() + within / 1_000
        for page in pages:
            left = max(1.0, 1_000 * (deadline - time.monotonic()))
            expect(page.locator("footer")).to_contain_text(words, timeout=left, use_inner_text=True)

    proxy.fail()
    all_say("Not connected")
    titles = [page.title() for page in pages]
    assert not any("502" in title for title in titles)
    proxy.recover(explorer.port)
    all_say("up to date")
    explorer.kill()
    all_say("Not connected")
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
        assert ask(server, "INDEX|isl|gmp", "INDEX|cloog|gmp") == ["OK", "OK"]
        with ExplorerProcess(tmp_path / "data") as restarted:
            wait_until(restarted.is_ready)
            proxy.recover(restarted.port)
            all_say("up to date")
            package = pages[list(urls).index("package")]
            expect(package.locator(".verdict")).to_contain_text("No. 2 packages need gmp")
    context.close()
    proxy.close()


def test_selected_text_and_a_pressed_link_outlast_changes(page: Page, server: ServerProcess) -> None:
    page.goto("/changes")
    assert ask(server, "INDEX|busy-a|zzuf") == ["OK"]
    first = page.locator(".changes li").first
    expect(first).to_contain_text("busy-a")
    first.get_by_role("link", name="busy-a", exact=True).hover()
    page.mouse.down()
    assert ask(server, "INDEX|busy-b|zzuf") == ["OK"]
    expect(page.locator("#standing")).to_contain_text("there is a newer state")
    page.mouse.up()
    expect(page).to_have_title("busy-a · Scoop explorer")
    page.goto("/changes")
    first.locator("time").dblclick()
    selected = page.evaluate("getSelection().toString()")
    assert selected
    assert ask(server, "INDEX|busy-c|zzuf") == ["OK"]
    expect(page.locator("#standing")).to_have_text("Paused while text is selected: there is a newer state")
    assert page.evaluate("getSelection().toString()") == selected
    page.evaluate("getSelection().removeAllRanges()")
    expect(first).to_contain_text("busy-c")
    assert set(ask(server, *(f"REMOVE|busy-{each}|" for each in "abc"))) == {"OK"}


def test_a_page_that_was_behind_says_so_no_longer_than_it_is(page: Page) -> None:
    def serve_late(route: Route) -> None:
        text = route.fetch().text().replace("up to date", "0.4 s behind")
        route.fulfill(body=re.sub(r'(data-state="[^"]*),false\]"', r'\1,true]"', text), content_type="text/html")

    page.route("**/packages/zzuf", serve_late, times=1)
    page.goto("/packages/zzuf")
    expect(page.locator("#source")).to_contain_text("up to date")


def test_a_page_asks_again_on_a_connection_that_has_fallen_silent(page: Page, server: ServerProcess) -> None:
    page.goto("/packages/zzuf")
    page.route("**/packages/zzuf", lambda _: None, times=1)  # no answer
    assert ask(server, "INDEX|after-silence|zzuf") == ["OK"]
    expect(page.locator(".verdict")).to_contain_text("No. 1 package needs zzuf directly")
    assert ask(server, "REMOVE|after-silence|") == ["OK"]


def test_a_page_keeps_its_elements_while_others_change(page: Page, server: ServerProcess) -> None:
    page.goto("/packages/zzuf")
    page.evaluate("window.drawing = document.querySelector('h1')")
    assert ask(server, "INDEX|keeps|zzuf") == ["OK"]
    expect(page.locator(".verdict")).to_contain_text("No. 1 package needs zzuf directly")
    assert page.evaluate("window.drawing.isConnected") is True
    assert ask(server, "REMOVE|keeps|") == ["OK"]


def test_a_drawing_is_expanded_collapsed_filtered_and_started_again(page: Page) -> None:
    page.goto("/packages/openssl")
    nodes = page.locator(".plane .node")
    expect(page.locator(".plane .centre")).to_have_text(re.compile("^openssl"))
    count = nodes.count()
    assert 9 + 1 + 2 <= count <= 40
    expect(page.locator(".drawing")).to_be_hidden()
    page.locator(".plane [data-act=expand][data-name=openssl][data-direction=dependents]").click()
    expect(nodes).not_to_have_count(count)
    assert nodes.count() > count
    page.locator(".plane [data-act=collapse][data-name=openssl][data-direction=dependents]").click()
    expect(page.locator(".plane [data-node=open-mpi]")).to_have_count(0)
    expect(page.locator(".plane [data-node=makedepend]")).to_be_visible()
    page.get_by_label("Show only names with").fill("pkg")
    expect(nodes).to_have_count(2)
    page.get_by_role("button", name="Start again").click()
    expect(nodes).to_have_count(count)
    assert page.locator(".plane .curve").count() >= count - 1


def test_the_list_of_a_drawing_does_the_same_with_the_keyboard(page: Page) -> None:
    page.goto("/path?from=fftw&to=openssl")
    expect(page.locator(".plane .node")).to_have_count(3)
    page.get_by_text("The same as a list (3)").click()
    first = page.locator(".nodes li").first
    expect(first).to_contain_text("fftw needs open-mpi")
    button = first.get_by_role("button", name=re.compile("more that fftw needs"))
    button.focus()
    page.keyboard.press("Enter")
    again = page.get_by_role("button", name=re.compile("^Hide the .* that fftw needs"))
    expect(again).to_be_focused()
    assert page.locator(".nodes li").count() > 3
    assert page.locator(".plane svg").get_attribute("aria-hidden") == "true"
    results = Axe().run(page, options=EVERY_RULE)
    assert results.violations_count == 0, results.generate_report()


def test_paths_removals_and_cycles_are_drawn_too(page: Page) -> None:
    for url, name in (
        ("/path?from=fftw&to=openssl", "open-mpi"),
        ("/removal/openssl", "openssl"),
        ("/cycles", "bootstrap-b"),
        ("/packages/bootstrap-a", "bootstrap-b"),
    ):
        page.goto(url)
        expect(page.locator(f".plane [data-node={name}]")).to_be_visible()


def test_a_drawing_follows_changes_and_keeps_what_was_expanded(page: Page, server: ServerProcess) -> None:
    page.goto("/packages/zzuf")
    assert ask(server, "INDEX|drawn-a|zzuf", "INDEX|drawn-b|drawn-a", "INDEX|drawn-c|drawn-b") == ["OK"] * 3
    expect(page.locator(".plane [data-node=drawn-b]")).to_be_visible()
    page.locator(".plane [data-act=expand][data-name=drawn-b][data-direction=dependents]").click()
    expect(page.locator(".plane [data-node=drawn-c]")).to_be_visible()
    assert ask(server, "INDEX|drawn-d|drawn-a") == ["OK"]
    expect(page.locator(".plane [data-node=drawn-d]")).to_be_visible()
    expect(page.locator(".plane [data-node=drawn-c]")).to_be_visible()
    assert set(ask(server, *(f"REMOVE|drawn-{each}|" for each in "dcba"))) == {"OK"}


def test_a_drawing_begins_at_the_package_on_a_phone(browser: Browser, explorer: ExplorerProcess) -> None:
    context = new_context(browser, explorer, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto("/packages/openssl")
    page.locator(".plane .centre").wait_for()
    plane = page.locator(".plane").bounding_box()
    centre = page.locator(".plane .centre rect").bounding_box()
    assert plane is not None
    assert centre is not None
    assert plane["x"] <= centre["x"] + centre["width"] / 2 <= plane["x"] + plane["width"]
    assert plane["y"] <= centre["y"] <= plane["y"] + plane["height"]
    context.close()


def test_no_name_is_wider_than_its_box(browser: Browser, tmp_path: Path) -> None:
    names = ["W" * 25, "m" * 24, "i" * 25, "MW@" * 80]
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"centre": names, **{name: [] for name in names}}))
    with ExplorerProcess(tmp_path / "data") as explorer:
        wait_until(explorer.is_ready)
        for is_scripted, boxes in ((True, ".plane .node"), (False, ".drawing svg > a")):
            context = new_context(browser, explorer, java_script_enabled=is_scripted)
            page = context.new_page()
            page.goto("/packages/centre")
            page.locator(boxes).first.wait_for()
            for box in page.locator(boxes).all():
                text, rect = box.locator("text").first.bounding_box(), box.locator("rect").bounding_box()
                assert text is not None
                assert rect is not None
                assert text["x"] + text["width"] <= rect["x"] + rect["width"]
            context.close()


def test_everything_works_without_javascript(browser: Browser, explorer: ExplorerProcess) -> None:
    context = new_context(browser, explorer, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("searchbox", name="Search packages").fill("openssl")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".verdict")).to_contain_text(
        "No. 554 packages need openssl directly, 677 directly or indirectly."
    )
    expect(page.locator(".ordered li").first).to_be_visible()
    page.get_by_label("need", exact=True).fill("pkg-config")
    page.get_by_role("button", name="Show the path").click()
    expect(page.locator(".sentence")).to_have_text("openssl needs pkg-config.")
    context.close()


@pytest.mark.parametrize("width", [320, 640], ids=["small screen", "zoom of 200% on 1280"])
def test_no_page_scrolls_sideways(browser: Browser, explorer: ExplorerProcess, width: int) -> None:
    context = new_context(browser, explorer, viewport={"width": width, "height": 700})
    page = context.new_page()
    for name, url in PAGES.items():
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser: Browser, explorer: ExplorerProcess, scheme: str, name: str) -> None:
    context = new_context(browser, explorer, color_scheme=scheme)
    page = context.new_page()
    page.goto(PAGES[name])
    expect(page.locator("[data-pending]")).to_have_count(0)
    results = Axe().run(page, options=EVERY_RULE)
    assert results.violations_count == 0, results.generate_report()
    context.close()


def test_axe_finds_nothing_while_names_are_suggested(page: Page) -> None:
    page.goto("/cycles")
    page.get_by_role("combobox").press_sequentially("ssl")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    results = Axe().run(page, options=EVERY_RULE)
    assert results.violations_count == 0, results.generate_report()


def test_a_page_prints_its_answer_without_its_controls(page: Page) -> None:
    page.goto("/packages/openssl")
    page.emulate_media(media="print")
    expect(page.locator(".top")).to_be_hidden()
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator(".drawing svg")).to_be_visible()


def test_a_source_that_disappears_is_reported_without_reload(browser: Browser, tmp_path: Path) -> None:
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}))
    with ExplorerProcess(tmp_path / "data") as explorer:
        context = new_context(browser, explorer)
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("2 packages")
        (tmp_path / "data").rename(tmp_path / "gone")
        expect(page.locator("#problem")).to_contain_text("The source cannot be read.")
        page.goto("/packages/gmp")
        expect(page.locator(".verdict")).to_contain_text("No. 1 package needs gmp")
        (tmp_path / "gone").rename(tmp_path / "data")
        expect(page.locator("#problem")).to_be_empty()
        context.close()


def test_the_pictures_of_the_documentation(
    browser: Browser, explorer: ExplorerProcess, server: ServerProcess, tmp_path: Path
) -> None:
    """They are written into docs with SCOOP_PICTURES=1 only, so that a test leaves the checkout as it is."""
    directory = DOCS if os.environ.get("SCOOP_PICTURES") else tmp_path
    lines = [
        "INDEX|rustls|cmake",
        "INDEX|quic|openssl,rustls",
        "INDEX|rustls|cmake,pkg-config",
        "REMOVE|z80dasm|",
    ]
    assert set(ask(server, *lines)) == {"OK"}
    pictures = (
        ("start", "/", "light", 1_200, 800),
        ("package", "/packages/openssl", "light", 1_200, 900),
        ("package-dark", "/packages/openssl", "dark", 1_200, 900),
        ("path", "/path?from=fftw&to=openssl", "light", 1_200, 380),
        ("phone", "/packages/openssl", "light", 390, 844),
    )
    for name, url, scheme, width, height in pictures:
        context = new_context(browser, explorer, color_scheme=scheme, viewport={"width": width, "height": height})
        page = context.new_page()
        page.goto(url)
        expect(page.locator("[data-pending]")).to_have_count(0)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=directory / f"explorer-{name}.png", animations="disabled")
        context.close()
    undo = ["REMOVE|quic|", "REMOVE|rustls|", "INDEX|z80dasm|"]
    assert set(ask(server, *undo)) == {"OK"}
