"""Debian's archive, as the machine's apt lists have it: 60,000 packages with real names and large cycles."""

import html
import re
from collections.abc import Iterator

import pytest

from scoop_core import DependencyGraph

from scoop_client.ecosystems.debian import find_apt_lists, import_debian
from scoop_client.errors import InvalidInput
from scoop_explorer.links import package_url

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, exploring

pytestmark = pytest.mark.campaign  # ten seconds of processor time


@pytest.fixture(scope="module")
def debian() -> DependencyGraph:
    try:
        find_apt_lists()
    except InvalidInput as error:
        pytest.skip(f"no lists of apt: {error}")
    return import_debian().to_graph()


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory, debian: DependencyGraph) -> Iterator[Explored]:
    path = tmp_path_factory.mktemp("debian") / "data"
    create_directory(path, debian)
    with exploring(path) as explored:
        yield explored


def test_the_figures_of_the_archive_are_on_the_start_page(explored: Explored, debian: DependencyGraph) -> None:
    page = explored.page("/")
    assert f"{len(debian):,} packages" in page
    assert f"<dd>{debian.edge_count():,}</dd>" in page
    assert f"<dd>{len(debian.cyclic_components()):,}</dd>" in page


def test_a_hub_and_a_member_of_a_cycle_have_all_pages(explored: Explored, debian: DependencyGraph) -> None:
    hub = max(debian, key=debian.dependent_count)
    [member, *_] = max(debian.cyclic_components(), key=len)
    for name in (hub, member):
        for page in ("packages", "dependencies", "dependents", "removal", "rebuild"):
            assert html.escape(name) in explored.page(package_url(name, page))
    assert f"No. {debian.dependent_count(hub):,} packages need" in re.sub(
        r"<[^>]+>", "", explored.page(package_url(hub))
    )


def test_names_with_every_kind_of_character_are_found(explored: Explored, debian: DependencyGraph) -> None:
    for character in "+.-0":
        name = next(name for name in debian if character in name)
        assert name in explored.page(f"/search?q={html.escape(name).replace('+', '%2B')}")
