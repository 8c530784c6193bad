"""The Homebrew list as a data directory, explored once for all tests of a module that only read."""

from collections.abc import Iterator

import pytest

from scoop_core import DependencyGraph

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, exploring
from tests.support.homebrew import packages


@pytest.fixture(scope="session")
def homebrew() -> DependencyGraph:
    return DependencyGraph.from_mapping(packages())


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory, homebrew: DependencyGraph) -> Iterator[Explored]:
    path = tmp_path_factory.mktemp("explorer") / "data"
    create_directory(path, homebrew)
    with exploring(path) as explored:
        yield explored
