"""A server that is paused at one place until a test resumes it.

Run as ``python tests/support/held_server.py PLACE FIFO ARGUMENTS``. At that place it logs "held", and opens FIFO for
reading, which returns when the test opens it for writing.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server.app import claims
from scoop_server.cli import main as command_line
from scoop_server.config.settings import Settings
from scoop_server.net.tls import Certificates
from scoop_server.storage import generations
from scoop_server.storage.directory import DataDirectory

Hold = Callable[[], None]


def while_starting(hold: Hold) -> Any:
    """Hold it when signals are waited for, and nothing is read yet."""
    certificates = claims.read_certificates

    def load(settings: Settings) -> Certificates | None:
        hold()
        return certificates(settings)

    return patch.object(claims, "read_certificates", load)


def while_loading(hold: Hold) -> Any:
    """Hold it when it has read a snapshot, and not decoded it."""

    def read(self: DataDirectory, kind: str, *arguments: Any, **options: Any) -> bytes:
        data = original(self, kind, *arguments, **options)
        if kind == "snapshot":
            hold()
        return data

    original = DataDirectory.read
    return patch.object(DataDirectory, "read", read)


def while_saving(hold: Hold) -> Any:
    """Hold it when it has written the first piece of a snapshot."""

    def encode(graph: DependencyGraph) -> Iterator[bytes]:
        chunks = encode_snapshot(graph)
        yield next(chunks)
        hold()
        yield from chunks

    return patch.object(generations, "encode_snapshot", encode)


def while_serving(hold: Hold) -> Any:
    """Hold it in the turn in which it is asked about the package ``stuck``."""
    apply_lines = DependencyGraph.apply_lines

    def apply(self: DependencyGraph, lines: str, *arguments: Any) -> str:
        if "QUERY|stuck|" in lines:
            hold()
        return apply_lines(self, lines, *arguments)

    return patch.object(DependencyGraph, "apply_lines", apply)


PLACES: Final = {"starting": while_starting, "loading": while_loading, "saving": while_saving, "serving": while_serving}


def main(place: str, fifo: str, arguments: list[str]) -> int:
    """Run the server."""

    def hold() -> None:
        os.write(sys.stderr.fileno(), b"held\n")  # in one piece: the thread that writes the log does not wait
        with Path(fifo).open("rb"):
            pass

    with PLACES[place](hold):
        return command_line.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
