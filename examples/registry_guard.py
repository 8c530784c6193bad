"""Publish or delete a package of a registry, unless that breaks another: ``... registry.snapshot INDEX isl gmp``."""

import sys
from pathlib import Path

from scoop_core import Command, DependencyGraph, Request, decode_snapshot, encode_snapshot


def change(path: Path, command: str, package: str, *dependencies: str) -> str | None:
    """Apply the request to the registry in the file ``path``; return the reason if it is refused."""
    graph = decode_snapshot(path.read_bytes()) if path.exists() else DependencyGraph()
    request = Request.of(Command(command), package, dependencies)
    if refusal := graph.explain(request):
        return str(refusal)
    graph.apply(request)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(b"".join(encode_snapshot(graph)))
    new.replace(path)  # so that an interrupted write damages nothing
    return None


sys.exit(change(Path(sys.argv[1]), *sys.argv[2:]))
