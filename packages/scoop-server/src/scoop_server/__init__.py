"""The Scoop package index server: sockets, signals and files around :mod:`scoop_core`.

:mod:`~scoop_server.cli.main` reads the settings, :mod:`~scoop_server.app.application` puts the parts together,
:mod:`~scoop_server.loop.server` is the server, :mod:`~scoop_server.loop.client` one client of it, and
:mod:`~scoop_server.storage.directory` keeps the index on disk.
"""

from importlib.util import find_spec
from typing import Final

__version__ = "0.1.0"

_COMPILED: Final = ("scoop_core.graph_state", "scoop_server.loop.client")
"""A module of each package that the compiled form compiles."""


def form() -> str:
    """Return "compiled" if the hot parts of this package and of scoop-core are machine code, else "pure"."""
    origins = [spec.origin for spec in map(find_spec, _COMPILED) if spec and spec.origin]
    return "pure" if any(origin.endswith(".py") for origin in origins) else "compiled"
