"""``scoop import``: the packages of an ecosystem as requests on standard output, or sent to a server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scoop_client.cli.output import Output, counted
from scoop_client.cli.sending import Transfer
from scoop_client.cli.settings import Settings
from scoop_client.cli.status import ExitStatus
from scoop_client.ecosystems.cargo import import_cargo
from scoop_client.ecosystems.debian import import_debian
from scoop_client.ecosystems.homebrew import import_homebrew
from scoop_client.ecosystems.imported import Imported
from scoop_client.ecosystems.npm import import_npm
from scoop_client.ecosystems.python import import_python
from scoop_client.inputs import STDIN, read_graph

Importer = Callable[[Sequence[str]], Imported]

IMPORTERS: Final[Mapping[str, tuple[Importer, str]]] = {
    "debian": (import_debian, "Packages files, plain, gz, xz, lz4 or zst; by default the lists of apt"),
    "homebrew": (lambda paths: import_homebrew(paths or [STDIN]), "formula.json, by default from standard input"),
    "python": (import_python, "environments or pylock.toml files; by default the environment of this command"),
    "npm": (import_npm, "package-lock.json files, or their directories; by default the one in this directory"),
    "cargo": (import_cargo, "Cargo.lock files, or their directories; by default the one in this directory"),
}
"""The adapter of each ecosystem, and its paths."""

_LEFT_OUT_SHOWN: Final = 5


def import_packages(
    ecosystem: str,
    paths: Sequence[str],
    settings: Settings,
    output: Output,
    *,
    into: str | None,
    since: str | None,
    failures: str | None,
    left_out: str | None,
) -> ExitStatus:
    """Print or send the requests; return the status of the worst response."""
    importer, _ = IMPORTERS[ecosystem]
    imported = importer(paths)
    graph = imported.to_graph()
    _tell(imported, output, left_out)
    output.message(
        f"{counted(len(graph), 'package')}, {counted(graph.edge_count(), 'dependency', 'dependencies')}, "
        f"{counted(len(graph.cyclic_components()), 'cyclic group')}"
    )
    requests = read_graph(since).diff(graph) if since is not None else graph.to_requests()
    transfer = Transfer(output, failures)
    if into is None:
        return transfer.print_requests(requests)
    with settings.new_client(into) as client:
        client.connect()
        return transfer.send(client, requests, f"importing {ecosystem}", len(requests))


def _tell(imported: Imported, output: Output, path: str | None) -> None:
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{name}: {reason}\n" for name, reason in imported.left_out)
        return
    for name, reason in imported.left_out[:_LEFT_OUT_SHOWN]:
        output.message(f"left out {name}: {reason}")
    if len(imported.left_out) > _LEFT_OUT_SHOWN:
        output.message(f"left out {len(imported.left_out) - _LEFT_OUT_SHOWN:,} more; --left-out FILE lists all")
