"""The Homebrew list, and the end-to-end test that every server over scoop_core must pass with it."""

import math
import random
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).parents[1] / "data" / "homebrew-2016.txt"

WAIT_SECONDS: Final = 60.0
"""How long an answer or another client may take; so long that only a bug takes longer."""

BROKEN_LINES: Final = (
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

BROKEN_SHARE: Final = 0.05

_LINES_PER_ASK: Final = 500
"""How many lines a client sends before it reads: their answers fit into any socket buffer."""


def packages() -> dict[str, list[str]]:
    """Return what each package of the list depends on; what it names only as a dependency depends on nothing."""
    split = (line.partition(":") for line in LIST.read_text("ascii").splitlines())
    listed = {name: names.split() for name, _, names in split}
    return {name: [] for names in listed.values() for name in names} | listed


def play_five_phases(address: tuple[str, int], client_count: int, seed: int) -> None:
    """Remove, index, query, remove and query the whole list, each client its own part of it, in five phases.

    Raises AssertionError where an answer is not what it must be.
    """
    chance = random.Random(seed)
    everything = sorted(packages().items())
    chance.shuffle(everything)
    barrier = threading.Barrier(client_count, timeout=WAIT_SECONDS)
    with ThreadPoolExecutor(client_count) as threads:
        clients = [
            threads.submit(_play, address, dict(everything[number::client_count]), barrier, chance.randrange(2**32))
            for number in range(client_count)
        ]
        for client in clients:
            client.result()


def _play(address: tuple[str, int], packages: dict[str, list[str]], barrier: threading.Barrier, seed: int) -> None:
    chance = random.Random(seed)
    try:
        with socket.create_connection(address, WAIT_SECONDS) as sock, sock.makefile("rb") as reader:

            def ask(lines: Iterable[str]) -> list[str]:
                waiting, answers = list(lines), []
                for start in range(0, len(waiting), _LINES_PER_ASK):
                    some = waiting[start : start + _LINES_PER_ASK]
                    sock.sendall("".join(f"{line}\n" for line in some).encode())
                    answers += [reader.readline().decode() for _ in some]
                return answers

            removes = [f"REMOVE|{name}|" for name in packages]
            queries = [f"QUERY|{name}|" for name in packages]
            indexes = [f"INDEX|{name}|{','.join(names)}" for name, names in packages.items()]
            _insist(ask, removes, chance)
            barrier.wait()
            _insist(ask, indexes, chance, broken_share=BROKEN_SHARE)
            barrier.wait()
            assert set(ask(queries)) == {"OK\n"}
            barrier.wait()
            _insist(ask, removes, chance)
            barrier.wait()
            assert set(ask(queries)) == {"FAIL\n"}
            sock.shutdown(socket.SHUT_WR)
            assert reader.read() == b""
    except BaseException:
        barrier.abort()  # so that the others do not wait for this one
        raise


def _insist(
    ask: Callable[[Iterable[str]], list[str]], lines: list[str], chance: random.Random, broken_share: float = 0.0
) -> None:
    """Ask ``lines`` again and again until each has been answered OK, with broken ones among them."""
    while lines:
        broken = chance.choices(BROKEN_LINES, k=math.ceil(len(lines) * broken_share))
        asked = [*lines, *broken]
        chance.shuffle(asked)
        answers = list(zip(asked, ask(asked), strict=True))
        for line, answer in answers:
            assert answer == "ERROR\n" if line in BROKEN_LINES else answer in {"OK\n", "FAIL\n"}, (line, answer)
        lines = [line for line, answer in answers if answer == "FAIL\n"]
