"""Many clients index and remove a real list of packages at once."""

import random
from pathlib import Path

import pytest

from tests.support.homebrew import play_five_phases
from tests.support.process import ServerProcess


@pytest.mark.any_python
@pytest.mark.parametrize(("client_count", "depth"), [(1, 500), (100, 500), (100, 1)])
def test_clients_index_and_remove_the_homebrew_list(tmp_path: Path, client_count: int, depth: int) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # shown on failure
    with ServerProcess("--data-dir", str(tmp_path)) as server:
        play_five_phases(server.address, client_count, seed, depth)
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path)) as server:
        assert server.package_count == 0
