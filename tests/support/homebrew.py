"""The packages of Homebrew in 2016, and the conversation that every server over scoop_core must pass with them."""

import math
import random
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).parents[1] / "data" / "homebrew-2016.txt"

WAIT_SECONDS: Final = 60.0
"""Longest wait for a response or another client; only a bug takes longer."""

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

Ask = Callable[[Iterable[str]], list[str]]


def packages() -> dict[str, list[str]]:
    """Return the dependencies of each package; one that is only named as a dependency has none."""
    split = (line.partition(":") for line in LIST.read_text("ascii").splitlines())
    listed = {name: names.split() for name, _, names in split}
    return {name: [] for names in listed.values() for name in names} | listed


def play_five_phases(
    address: tuple[str, int], client_count: int, seed: int, depth: int = 500, others: Sequence[tuple[str, int]] = ()
) -> None:
    """Remove, index, query, remove and query all packages in five phases; each client owns a part of them.

    With ``others``, the addresses of servers with the same index, the clients are spread over all.
    A client sends ``depth`` lines before it reads the responses. Raises AssertionError on a wrong response.
    """
    chance = random.Random(seed)
    everything = sorted(packages().items())
    chance.shuffle(everything)
    addresses = [address, *others]
    barrier = threading.Barrier(client_count, timeout=WAIT_SECONDS)
    with ThreadPoolExecutor(client_count) as threads:
        clients = [
            threads.submit(
                _play,
                addresses[number % len(addresses)],
                dict(everything[number::client_count]),
                barrier,
                chance.randrange(2**32),
                depth,
            )
            for number in range(client_count)
        ]
        for client in clients:
            client.result()


def _play(
    address: tuple[str, int], packages: dict[str, list[str]], barrier: threading.Barrier, seed: int, depth: int
) -> None:
    chance = random.Random(seed)
    try:
        with socket.create_connection(address, WAIT_SECONDS) as sock, sock.makefile("rb") as reader:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def ask(lines: Iterable[str]) -> list[str]:
                pending, answers = list(lines), []
                for start in range(0, len(pending), depth):
                    some = pending[start : start + depth]
                    sock.sendall("".join(f"{line}\n" for line in some).encode())
                    answers += [reader.readline().decode() for _ in some]
                return answers

            removes = [f"REMOVE|{name}|" for name in packages]
            queries = [f"QUERY|{name}|" for name in packages]
            indexes = [f"INDEX|{name}|{','.join(names)}" for name, names in packages.items()]
            _ask_until_ok(ask, removes, chance)
            barrier.wait()
            _ask_until_ok(ask, indexes, chance, broken_share=BROKEN_SHARE)
            barrier.wait()
            assert set(ask(queries)) == {"OK\n"}
            barrier.wait()
            _ask_until_ok(ask, removes, chance)
            barrier.wait()
            assert set(ask(queries)) == {"FAIL\n"}
            sock.shutdown(socket.SHUT_WR)
            assert reader.read() == b""
    except BaseException:
        barrier.abort()  # so that the other clients do not wait for this one
        raise


def _ask_until_ok(ask: Ask, lines: list[str], chance: random.Random, broken_share: float = 0.0) -> None:
    """Send ``lines``, with broken ones among them, until each has been answered OK."""
    while lines:
        broken = chance.choices(BROKEN_LINES, k=math.ceil(len(lines) * broken_share))
        asked = [*lines, *broken]
        chance.shuffle(asked)
        answers = list(zip(asked, ask(asked), strict=True))
        for line, answer in answers:
            assert answer == "ERROR\n" if line in BROKEN_LINES else answer in {"OK\n", "FAIL\n"}, (line, answer)
        lines = [line for line, answer in answers if answer == "FAIL\n"]
