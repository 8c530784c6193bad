"""One survey in a process of its own: ``python -m scoop_explorer.survey_process``, with the arguments of the command.

It reads the source, counts, and writes the pickled figures to standard output. The exit status is 1 if the source
cannot be read, which the process that follows the source reports. It ends with its standard input, which its parent
holds open: nobody waits for the figures then.
"""

import gc
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from scoop_core import DependencyGraph

from scoop_explorer.cli import source_of
from scoop_explorer.sources import Source, SourceError
from scoop_explorer.surveyor import count
from scoop_server.ports import Loaded

NICENESS: Final = 19
"""Everything else comes first."""

_PAUSE_SECONDS: Final = 0.05

_POLLS_MAX: Final = 100
"""Polls of an index that always changes. Each returns up to 16 MiB, so the last ones return what is new."""


def main(arguments: Sequence[str]) -> int:
    """Count, and return the exit status."""
    os.nice(NICENESS)
    gc.disable()  # the process ends soon, and a collection would walk all packages
    source = source_of(arguments)
    try:
        graph, batch = load(source)
    except SourceError:
        return 1
    finally:
        source.close()
    sys.stdout.buffer.write(pickle.dumps(count(graph, batch)))
    return 0


def load(source: Source) -> tuple[DependencyGraph, int]:
    """Return the index and its batch. Raises :exc:`~scoop_explorer.sources.SourceError`."""
    graph: DependencyGraph | None = None
    batch = polls = 0
    while graph is None or not (source.is_current or polls >= _POLLS_MAX):
        delivered = source.poll()
        for each in delivered:
            if isinstance(each, Loaded):
                graph, batch = each.graph, each.batch
            elif graph is not None:
                graph.apply_lines(each.lines)
                batch = each.seal.number
        polls += graph is not None
        if not delivered:
            time.sleep(_PAUSE_SECONDS)
    return graph, batch


def end_with_parent() -> None:
    """End the process when standard input ends."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
