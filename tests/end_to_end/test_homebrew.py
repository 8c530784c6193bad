"""A real package list over TCP, by many clients at once, each of which owns a part of it.

What varies is drawn from one seed: which part a client owns, in which order it asks, which broken messages
it sends between. A failing test prints its seed, and SCOOP_TEST_SEED=<seed> repeats it.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.homebrew import read_homebrew
from tests.support.process import BlockingClient, ServerProcess, connected

SEED_VARIABLE: Final = "SCOOP_TEST_SEED"

BROKEN_SHARE: Final = 0.05
BROKEN_MESSAGES: Final = (
    "INDEX|emacs elisp",
    "INDEX|emacs=elisp",
    "INDEX|emacs+elisp",
    "INDEX|emacs☃elisp",
    "BLINDEX|a|b",
    "REMOVES|a|b",
    "QUER|a|b",
    "LIZARD|a|b",
    "I|a|b",
)

PHASE_SECONDS_MAX: Final = 60.0
"""How long clients may try until all is OK: much longer than it takes, so that only a bug gets there."""

PIPELINED: Final = BlockingClient.ask
ONE_BY_ONE: Final = BlockingClient.ask_one_by_one


class Owner:
    """A client, and the packages that no other client indexes or removes."""

    def __init__(
        self,
        client: BlockingClient,
        ask: Callable[..., list[str]],
        packages: Iterable[tuple[str, tuple[str, ...]]],
        chance: random.Random,
    ) -> None:
        self._client = client
        self._ask = ask
        self._chance = chance
        dependencies = dict(packages)
        self._index_lines = [f"INDEX|{name}|{','.join(names)}" for name, names in dependencies.items()]
        self._remove_lines = [f"REMOVE|{name}|" for name in dependencies]
        self._query_lines = [f"QUERY|{name}|" for name in dependencies]

    def remove_all(self) -> None:
        """Ask again and again for what is not removed yet, until it is."""
        self._ask_until_ok(self._remove_lines, broken_share=0.0)

    def index_all(self) -> None:
        """Ask again and again for what is not indexed yet, until it is, and send broken messages between."""
        self._ask_until_ok(self._index_lines, broken_share=BROKEN_SHARE)

    def query_all(self, expected: str) -> None:
        """Ask for every package once, and get the same answer for all."""
        self._chance.shuffle(self._query_lines)
        assert self._ask(self._client, *self._query_lines) == [expected] * len(self._query_lines)

    def _ask_until_ok(self, lines: Sequence[str], *, broken_share: float) -> None:
        deadline = time.monotonic() + PHASE_SECONDS_MAX
        pending = list(lines)
        while pending:
            assert time.monotonic() < deadline, f"{len(pending)} requests are never OK, as {pending[0]!r}"
            self._chance.shuffle(pending)
            messages = self._with_broken_ones(pending, broken_share)
            answers = self._ask(self._client, *messages)
            answered = list(zip(messages, answers, strict=True))
            for message, answer in answered:
                expected = {"ERROR"} if message in BROKEN_MESSAGES else {"OK", "FAIL"}
                assert answer in expected, f"{message!r} is answered {answer}"
            pending = [message for message, answer in answered if answer == "FAIL"]

    def _with_broken_ones(self, lines: Iterable[str], share: float) -> list[str]:
        messages: list[str] = []
        for line in lines:
            while self._chance.random() < share:
                messages.append(self._chance.choice(BROKEN_MESSAGES))
            messages.append(line)
        return messages


@pytest.fixture
def chance() -> random.Random:
    """Give the source of all that varies, and print how to get it again."""
    seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1_000_000_000))
    print(f"drawn from seed {seed}; to repeat it: {SEED_VARIABLE}={seed} pytest {__name__.replace('.', '/')}.py")
    return random.Random(seed)


def run_all_phases(
    server: ServerProcess, client_count: int, ask: Callable[..., list[str]], chance: random.Random
) -> None:
    """Remove everything, index it, query it, remove it and query it, with ``client_count`` clients."""
    packages = list(read_homebrew().dependencies.items())
    chance.shuffle(packages)
    with connected(server, client_count) as clients, ThreadPoolExecutor(client_count) as threads:
        owners = [
            Owner(client, ask, packages[number::client_count], random.Random(chance.random()))
            for number, client in enumerate(clients)
        ]
        phases: list[Callable[[Owner], None]] = [
            Owner.remove_all,
            Owner.index_all,
            lambda owner: owner.query_all("OK"),
            Owner.remove_all,
            lambda owner: owner.query_all("FAIL"),
        ]
        for phase in phases:
            # Going through the results waits for all clients, and raises what any of them has raised.
            for _ in threads.map(phase, owners):
                pass


@pytest.mark.parametrize("client_count", [1, 10, 100])
def test_many_clients_pipelined(tmp_path: Path, client_count: int, chance: random.Random) -> None:
    with ServerProcess("--data-dir", str(tmp_path)) as server:
        run_all_phases(server, client_count, PIPELINED, chance)
        assert server.stop() == 0
    with ServerProcess("--data-dir", str(tmp_path)) as server:
        assert server.package_count == 0


@pytest.mark.parametrize("client_count", [1, 10, 100])
def test_many_clients_one_message_at_a_time(client_count: int, chance: random.Random) -> None:
    with ServerProcess("--memory") as server:
        run_all_phases(server, client_count, ONE_BY_ONE, chance)


def test_about_one_in_twenty_messages_is_broken_and_every_kind_is_sent(chance: random.Random) -> None:
    with ServerProcess("--memory") as server, server.connect() as client:
        owner = Owner(client, PIPELINED, [], chance)
        messages = owner._with_broken_ones(["QUERY|a|"] * 10_000, BROKEN_SHARE)
        broken = [message for message in messages if message in BROKEN_MESSAGES]
        assert 0.03 < len(broken) / len(messages) < 0.07
        assert set(broken) == set(BROKEN_MESSAGES)
        assert client.ask(*broken) == ["ERROR"] * len(broken)
