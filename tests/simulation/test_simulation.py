"""A bounded share of the simulation; ``nox -s simulate`` and ``nox -s mutants`` run the whole of it."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from scoop_explorer.data_directory import _Tail
from scoop_server.loop.client import TRANSITIONS, Client, Phase

from tests.simulation import run
from tests.simulation.mutants import MUTANTS, Mutation, first_failure
from tests.simulation.simulation import Simulation
from tests.support.forms import needs_patching

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[2]

SEEDS = 60
BLOCKS = 4

_SLOWLY_FOUND = {
    "_no_checksum",
    "_journal_of_an_earlier_process",
    "_checksums_begin_at_zero",
    "_directories_have_one_identity",
    "_segments_reach_into_the_next_one",
}
QUICKLY_FOUND = [mutant for mutant in MUTANTS if mutant.__name__ not in _SLOWLY_FOUND]
"""The mutants that fall to the seeds of this share; the session hunts the others for longer."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_life_is_as_it_must_be(block: int) -> None:
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        try:
            Simulation(seed).run()
        except Exception as error:
            error.add_note(f"to repeat it: python -m tests.simulation.run --seed {seed} --trace")
            raise


@needs_patching
def test_lives_have_every_transition_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[Phase, Phase]] = set()

    def enter(client: Client, phase: Phase) -> None:
        seen.add((client.phase, phase))
        enter_checked(client, phase)

    enter_checked = Client.enter
    monkeypatch.setattr(Client, "enter", enter)
    allowed = {(before, after) for before, others in TRANSITIONS.items() for after in others}
    for seed in range(100 * SEEDS):  # the rarest transition takes about 700
        Simulation(seed).run()
        if seen == allowed:
            break
    assert allowed == seen


def test_a_seed_repeats_itself_under_any_hash_seed() -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation.run", "--seed", "17"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        outputs.add(done.stdout.splitlines()[0])
    assert len(outputs) == 1
    assert "digest" in outputs.pop()


def test_a_seed_repeats_itself_in_a_process_with_a_longer_id(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for process_id in (9, 99_999):
        monkeypatch.setattr(os, "getpid", lambda process_id=process_id: process_id)
        simulation = Simulation(17)
        simulation.run()
        digests.add(simulation.digest)
    assert len(digests) == 1


def test_the_command_prints_the_seed_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Simulation) -> None:
        raise AssertionError("something was lost")

    monkeypatch.setattr(Simulation, "run", fail)
    monkeypatch.setattr(sys, "argv", ["run", "--first", "40", "--seeds", "2"])
    assert run.main() == 1
    assert "python -m tests.simulation.run --seed 40 --trace" in capsys.readouterr().out


@pytest.mark.campaign
@pytest.mark.parametrize("mutant", QUICKLY_FOUND, ids=lambda mutant: mutant.__name__.strip("_"))
def test_the_simulation_fails_without(mutant: Mutation) -> None:
    assert first_failure(mutant, range(1_000)) is not None


def test_the_simulation_fails_with_a_follower_that_delivers_all_that_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = _Tail.read
    monkeypatch.setattr(_Tail, "read", lambda tail, **_: read(tail, has_ended=True))
    with pytest.raises(AssertionError, match="which no server has acknowledged"):
        _run_seeds(range(SEEDS))


def _run_seeds(seeds: Iterable[int]) -> None:
    for seed in seeds:
        Simulation(seed).run()
