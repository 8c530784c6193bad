"""``scoop sync``: from any index to any repository, by an exact source, by a record, or by neither."""

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, Request

from scoop_client.cli.main import main
from scoop_client.cli.sync import requests_between
from scoop_client.inputs import read_graph

from tests.support.command import Result, Scoop
from tests.support.graph_strategies import graphs, requests
from tests.support.process import ServerProcess
from tests.support.scripted_server import ScriptedServer, wait_for_end

DATA: Final = Path(__file__).parent / "data"


def apply_all(index: DependencyGraph, sent: tuple[Request, ...]) -> None:
    for request in sent:
        assert index.apply(request), request


class TestRequests:
    @given(graphs(), graphs())
    def test_from_any_index_to_any_repository(self, index: DependencyGraph, repository: DependencyGraph) -> None:
        apply_all(index, requests_between(index.copy(), repository, is_exact=True))
        assert index == repository

    @given(graphs(), graphs(), st.lists(requests(), max_size=8))
    def test_from_any_index_that_a_record_does_not_describe(
        self, recorded: DependencyGraph, repository: DependencyGraph, others: list[Request]
    ) -> None:
        index = recorded.copy()
        for request in others:  # others may index and remove what is in the repository
            if request.package in repository and set(request.dependencies) <= {*recorded, *repository}:
                index.apply(request)
        apply_all(index, requests_between(recorded, repository, is_exact=False))
        assert index == repository

    @given(graphs(acyclic=True), graphs(acyclic=True), st.booleans())
    def test_a_server_that_rejects_cycles(
        self, known: DependencyGraph, repository: DependencyGraph, is_exact: bool
    ) -> None:
        index = DependencyGraph.from_mapping(known.to_mapping(), reject_cycles=True)
        apply_all(index, requests_between(known, repository, is_exact=is_exact))
        assert index == repository

    @given(graphs(), graphs())
    def test_packages_of_others_stay(self, known: DependencyGraph, repository: DependencyGraph) -> None:
        foreign = {f"foreign-{name}": [name] for name in repository}
        index = DependencyGraph.from_mapping({**known.to_mapping(), **repository.to_mapping(), **foreign})
        apply_all(index, requests_between(known, repository, is_exact=False))
        assert index == DependencyGraph.from_mapping({**repository.to_mapping(), **foreign})


class Place:
    """A server with a data directory, and the list of a repository."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self.address = f"127.0.0.1:{server.port}"
        self.data = directory / "scoop-data"
        self.repository = directory / "repository"
        self.record = directory / "record"

    def index(self) -> DependencyGraph:
        return read_graph(str(self.data))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("shared")
    with ServerProcess(working_directory=directory) as server:
        yield Place(server, directory)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ServerProcess(working_directory=tmp_path) as server:
        yield Place(server, tmp_path)


@pytest.mark.any_python
@given(st.lists(st.tuples(graphs(), st.booleans()), min_size=1, max_size=4))
def test_a_real_server_follows_a_repository(shared: Place, steps: list[tuple[DependencyGraph, bool]]) -> None:
    for repository, is_exact in steps:
        shared.repository.write_text("".join(f"{line}\n" for line in repository.to_lines()))
        known = ["--from", str(shared.data)] if is_exact else ["--record", str(shared.record)]
        if not is_exact:  # the index is that of the last step
            shared.record.write_text("".join(f"{line}\n" for line in shared.index().to_lines()))
        arguments = ["sync", str(shared.repository), "--into", shared.address, "--allow-empty", *known]
        with contextlib.redirect_stderr(io.StringIO()) as err:
            assert main(arguments) == 0
        assert err.getvalue().endswith("OK, 0 failed\n")
        assert shared.index() == repository


class TestCommand:
    def sync(self, scoop: Scoop, place: Place, repository: str, *arguments: str) -> Result:
        place.repository.write_text(repository)
        return scoop("sync", str(place.repository), "--into", place.address, *arguments)

    def test_what_is_added_changed_and_removed(self, scoop: Scoop, place: Place) -> None:
        assert self.sync(scoop, place, "isl: gmp\nmpc: isl\nold: mpc\n", "--from", str(place.data)).err == (
            "4 packages to add, 0 to change, 0 to remove\n4 requests answered: 4 OK, 0 failed\n"
        )
        known = ("--from", str(place.data))
        result = self.sync(scoop, place, "isl: gmp\nmpc: gmp\nnew: mpc\n", *known, "--dry-run")
        assert result == (
            0,
            "INDEX|mpc|gmp\nINDEX|new|mpc\nREMOVE|old|\n",
            "1 package to add, 1 to change, 1 to remove\n3 requests printed, 0 rejected\n",
        )
        assert "old" in place.index()
        assert self.sync(scoop, place, "isl: gmp\nmpc: gmp\nnew: mpc\n", *known, "--json").json() == [
            {"answered": 3, "ok": 3, "failed": 0, "rejected": 0, "complete": True}
        ]
        assert place.index() == read_graph(str(place.repository))

    def test_a_record_removes_what_the_last_sync_indexed(self, scoop: Scoop, place: Place) -> None:
        scoop("--server", place.address, "index", "foreign")
        known = ("--record", str(place.record))
        assert self.sync(scoop, place, "isl: gmp\n", *known).err.startswith("2 packages to index, 0 to remove\n")
        assert place.record.read_text() == "INDEX|gmp|\nINDEX|isl|gmp\n"
        assert self.sync(scoop, place, "gmp\n", *known).err.startswith("1 package to index, 1 to remove\n")
        assert set(place.index()) == {"gmp", "foreign"}
        assert place.record.read_text() == "INDEX|gmp|\n"

    def test_without_a_source_nothing_is_removed(self, scoop: Scoop, place: Place) -> None:
        self.sync(scoop, place, "isl: gmp\n")
        assert self.sync(scoop, place, "gmp\n").err.startswith("1 package to index, 0 to remove\n")
        assert set(place.index()) == {"gmp", "isl"}

    def test_a_record_survives_the_loss_of_the_server(self, scoop: Scoop, place: Place) -> None:
        def answer_nothing(sock: socket.socket, _number: int) -> None:
            wait_for_end(sock)

        place.record.write_text("INDEX|old|\n")
        place.repository.write_text("isl: gmp\n")
        with ScriptedServer(answer_nothing) as server:
            arguments = ("sync", str(place.repository), "--record", str(place.record))
            assert scoop(*arguments, "--into", server.address, "--response-timeout", "50ms").status == 3
        assert set(read_graph(str(place.record))) == {"old", "isl", "gmp"}
        assert scoop(*arguments, "--into", place.address).err.startswith("2 packages to index, 1 to remove\n")

    def test_a_change_meanwhile_fails_and_the_rest_is_made(self, scoop: Scoop, place: Place) -> None:
        scoop("--server", place.address, "index", "gmp")
        scoop("--server", place.address, "index", "isl", "gmp")
        (place.data.parent / "yesterday").write_text("gmp\nother\n")  # isl was indexed after it
        result = self.sync(scoop, place, "mpc\nnew: other\n", "--from", f"{place.data.parent}/yesterday")
        assert result.status == 1
        assert result.err == (
            "2 packages to add, 0 to change, 1 to remove\n"
            "INDEX|new|other: other is not indexed\n"
            "REMOVE|gmp|: other packages depend on it; scoop impact --direct names them\n"
            "3 requests answered: 1 OK, 2 failed\n"
            "others have changed the index since it was read; sync again\n"
        )
        assert "mpc" in place.index()
        again = self.sync(scoop, place, "mpc\nnew: other\n", "--from", str(place.data))
        assert again.status == 0
        assert set(place.index()) == {"mpc", "new", "other"}

    def test_missing_dependencies_are_reported_and_fail_on_request(self, scoop: Scoop, place: Place) -> None:
        packages = place.repository
        packages.write_text("Package: isl\nDepends: gmp\n\nPackage: mpc\nDepends: isl\n")
        arguments = ("sync", "debian", str(packages), "--into", place.address, "--from", str(place.data))
        report = "left out gmp: isl depends on it, and no package of the lists satisfies that\n"
        strict = scoop(*arguments, "--strict")
        assert strict.status == 1
        assert strict.err == f"{report}scoop: the repository is incomplete, and --strict is set: nothing has changed\n"
        assert len(place.index()) == 0
        assert scoop(*arguments).err.startswith(f"{report}2 packages to add")
        assert place.index().to_mapping() == {"isl": (), "mpc": ("isl",)}

    def test_an_empty_repository_needs_an_option(self, scoop: Scoop, place: Place) -> None:
        known = ("--from", str(place.data))
        self.sync(scoop, place, "isl: gmp\n", *known)
        result = self.sync(scoop, place, "", *known)
        assert (result.status, len(place.index())) == (2, 2)
        assert result.err.endswith(" has no packages; --allow-empty removes all 2 of the index\n")
        assert self.sync(scoop, place, "", *known, "--allow-empty").status == 0
        assert len(place.index()) == 0

    @pytest.mark.parametrize(
        ("ecosystem", "file"),
        [
            ("debian", "Packages"),
            ("homebrew", "formula.json"),
            ("python", "pylock.toml"),
            ("npm", "package-lock.json"),
            ("cargo", "Cargo.lock"),
        ],
    )
    def test_every_ecosystem(self, scoop: Scoop, place: Place, ecosystem: str, file: str) -> None:
        path = str(DATA / file)
        assert scoop("sync", ecosystem, path, "--into", place.address, "--from", str(place.data)).status == 0
        place.repository.write_text(scoop("import", ecosystem, path).out)
        assert place.index() == read_graph(str(place.repository))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["sync", "list"], "expected --into SERVER, or --dry-run"),
            (
                ["sync", "list", "--from", "a", "--record", "b", "--dry-run"],
                "expected --from or --record, got both",
            ),
            (["sync", "debain", "--dry-run"], "cannot read debain: no such file or directory"),
            (
                ["sync", "debain", "Packages", "--dry-run"],
                "expected one of debian, homebrew, python, npm, cargo before PATH and its options, got 'debain'",
            ),
            (["sync", "npm", "--build", "--dry-run"], "--build is no option of npm"),
        ],
    )
    def test_usage(self, scoop: Scoop, arguments: list[str], message: str) -> None:
        assert scoop(*arguments) == (2, "", f"scoop: {message}\n")
