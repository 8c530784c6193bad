"""A short campaign of kills passes on a correct server and fails on one with a planted fault."""

from pathlib import Path

import pytest

from tests.crash import run
from tests.crash.load_client import NotAsPromisedError
from tests.crash.scene import Moment, Scene, Tally
from tests.support import unsound_server

pytestmark = pytest.mark.campaign


def test_killed_servers_keep_every_acknowledged_change(tmp_path: Path) -> None:
    assert run.main(["--kills", "5", "--parent", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("way", "moment", "what"),
    [
        ("hold-batches-back", Moment.LOAD, "was acknowledged"),
        (
            "delete-early",
            Moment.COMPACTION,
            "a server would refuse to start|the compaction has failed|the server ended a connection",
        ),
    ],
)
def test_a_server_with_a_planted_fault_fails(tmp_path: Path, way: str, moment: Moment, what: str) -> None:
    scene = Scene(
        1, tmp_path, Tally(), command=unsound_server.command(way), moments=[moment], start_kill_probability=0.0
    )
    try:
        with pytest.raises(NotAsPromisedError, match=what):
            scene.run(10)
    finally:
        scene.close()
