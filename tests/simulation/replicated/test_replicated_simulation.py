"""A bounded share of the simulation of several nodes; ``nox -s simulate_replication`` runs the whole of it."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.replicated.mutants import MUTANTS, Mutation, first_failure
from tests.simulation.replicated.simulation import Simulation

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[3]

SEEDS = 16

RARELY_FOUND = {"_no_fence"}
"""The mutants that need more seeds than this share has."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("block", range(2))
def test_nodes_agree_and_answer_as_one_index(block: int) -> None:
    for seed in range(block * SEEDS // 2, (block + 1) * SEEDS // 2):
        try:
            Simulation(seed).run()
        except Exception as error:
            error.add_note(f"to repeat it: python -m tests.simulation.replicated.run --seed {seed} --trace")
            raise


def test_a_seed_repeats_itself_under_any_hash_seed() -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation.replicated.run", "--seed", "5"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        outputs.add(done.stdout.partition(" s: ")[2])
    assert len(outputs) == 1
    assert "entries" in outputs.pop()


@pytest.mark.campaign
@pytest.mark.parametrize(
    "mutant", [each for each in MUTANTS if each.__name__ not in RARELY_FOUND], ids=lambda each: each.__name__.strip("_")
)
def test_the_simulation_fails_without(mutant: Mutation) -> None:
    assert first_failure(mutant, range(300)) is not None
