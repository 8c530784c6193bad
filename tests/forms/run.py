"""Compare the pure form with the compiled one: ``python -m tests.forms.run --seeds 1000``.

The compiled form is what is installed, the pure one that of the checkout. Both make the same random calls of
scoop-core, and two servers receive the same streams of bytes. The exit status is 0 if every outcome is equal;
otherwise the first difference is printed, with its seed.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from scoop_core import is_http_request

from tests.fuzz.streams import LINE_BYTES_MAX, cut, stream_of_bytes
from tests.support.process import WAIT_SECONDS, ServerProcess

_ROOT: Final = Path(__file__).parents[2]

_SOURCES: Final = os.pathsep.join(str(_ROOT / "packages" / name / "src") for name in ("scoop-core", "scoop-server"))

FORMS: Final = {"pure": {"PYTHONPATH": _SOURCES}, "compiled": {"PYTHONPATH": ""}}
"""The environment in which each form is imported."""


class DifferentError(Exception):
    """The forms differ."""


def trace(form: str, *arguments: object) -> list[str]:
    """Return the lines that one form prints."""
    command = [sys.executable, "-m", "tests.forms.trace", *map(str, arguments)]
    environment = os.environ | {"PYTHONHASHSEED": "0"} | FORMS[form]
    lines = subprocess.run(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    found, *rest = lines.splitlines()
    if found != form:
        raise DifferentError(f"expected the {form} form, got the {found} one; install it by: nox -s compiled")
    return rest


def compare_calls(first: int, seeds: int) -> None:
    """Compare the outcomes of random calls. Raises DifferentError."""
    pure, compiled = (trace(form, "--first", first, "--seeds", seeds) for form in FORMS)
    for mine, other in zip(pure, compiled, strict=True):
        if mine != other:
            seed = mine.split()[0]
            report(seed, *(trace(form, "--first", seed, "--seeds", 1, "--outcomes") for form in FORMS))


def report(seed: str, pure: Sequence[str], compiled: Sequence[str]) -> None:
    """Raise DifferentError for the first difference."""
    for number, (mine, other) in enumerate(zip(pure, compiled, strict=False)):
        if mine != other:
            raise DifferentError(f"seed {seed}, call {number}:\npure:     {mine}\ncompiled: {other}")


def compare_streams(first: int, seeds: int, *options: str) -> None:
    """Compare the responses of two servers to the same streams. Raises DifferentError."""
    arguments = ("--memory", "--max-line", str(LINE_BYTES_MAX), *options)
    with ServerProcess(*arguments, variables=FORMS["pure"]) as pure, ServerProcess(
        *arguments, variables=FORMS["compiled"]
    ) as compiled:  # fmt: skip
        for seed in range(first, first + seeds):
            data = stream_of_bytes(Random(seed))
            if is_http_request(data.decode("latin-1")):  # it is disconnected, perhaps before it has sent everything
                continue
            answers = [_converse(server.port, data, Random(seed)) for server in (pure, compiled)]
            if answers[0] != answers[1]:
                raise DifferentError(f"stream {seed}: {data!r}\npure:     {answers[0]!r}\ncompiled: {answers[1]!r}")


def _converse(port: int, data: bytes, random: Random) -> bytes:
    with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as connection:
        for piece in cut(data, random):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.forms.run", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default: 1000)")
    options = parser.parse_args()
    try:
        compare_calls(options.first, options.seeds)
        compare_streams(options.first, options.seeds)
        compare_streams(options.first, options.seeds, "--reject-cycles")
    except DifferentError as error:
        print(error)
        return 1
    print(f"{options.seeds:,} seeds of calls and {2 * options.seeds:,} streams have equal outcomes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
