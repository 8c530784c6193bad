"""A short fuzz run passes on a correct server and fails on one with a planted fault."""

from pathlib import Path
from random import Random

import pytest

from tests.fuzz import run, streams
from tests.fuzz.fuzz import Fuzz
from tests.support import unsound_server

pytestmark = pytest.mark.any_python

ROUNDS = 300


@pytest.mark.campaign
def test_a_correct_server_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--rounds", "100", "--seed", "1"]) == 0
    assert "100 hostile connections" in capsys.readouterr().out


def test_a_seed_plans_the_same_streams() -> None:
    first, second = ([streams.stream_of_bytes(Random(f"7 {number}")) for number in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 50


def test_the_pieces_of_a_stream_join_to_the_stream() -> None:
    for seed in range(200):
        data = streams.stream_of_bytes(Random(seed))
        assert b"".join(streams.cut(data, Random(seed))) == data


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("die", "[Cc]onnection"),
        ("answer-empty-lines-wrongly", "was answered b'FAIL'"),
        ("disturb-others", "the healthy client|[Cc]onnection"),
        ("skip-removals", "the server holds|cannot read"),
    ],
)
def test_a_fault_that_some_input_shows_is_found(tmp_path: Path, fault: str, message: str) -> None:
    fuzz = Fuzz(tmp_path, 1, command=unsound_server.command(fault))

    def run_rounds() -> None:
        for number in range(ROUNDS):
            fuzz.round(number)

    try:
        with pytest.raises((AssertionError, OSError), match=message):
            run_rounds()
    finally:
        fuzz.close()
