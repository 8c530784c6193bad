"""``scoop import``: the packages of an ecosystem as requests on standard output, or sent to a server."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, NamedTuple

from scoop_client.cli.output import Output, counted, printable
from scoop_client.cli.sending import Transfer
from scoop_client.cli.settings import Settings
from scoop_client.cli.status import ExitStatus
from scoop_client.ecosystems import (
    Imported,
    import_cargo,
    import_debian,
    import_homebrew,
    import_npm,
    import_python,
    read_graph,
)
from scoop_client.inputs import STDIN


class Ecosystem(NamedTuple):
    """An adapter: reads paths with the switches that were given."""

    read: Callable[[Sequence[str], AbstractSet[str]], Imported]
    paths: str
    """The meaning of the paths, for the help."""
    switches: Mapping[str, str] = MappingProxyType({})
    """The meaning of each."""


ECOSYSTEMS: Final[Mapping[str, Ecosystem]] = {
    "debian": Ecosystem(
        lambda paths, switches: import_debian(
            paths, recommends="recommends" in switches, virtual="no-virtual" not in switches
        ),
        "Packages files, plain, gz, xz, lz4 or zst (default: the lists of apt)",
        {
            "recommends": "count recommended packages as dependencies",
            "no-virtual": "leave out dependencies on virtual packages, instead of choosing a provider",
        },
    ),
    "homebrew": Ecosystem(
        lambda paths, switches: import_homebrew(paths or [STDIN], build_dependencies="build" in switches),
        "formula.json, or the output of brew info --json=v2 (default: standard input)",
        {"build": "count build dependencies"},
    ),
    "python": Ecosystem(
        lambda paths, _: import_python(paths), "environments or pylock.toml files (default: this environment)"
    ),
    "npm": Ecosystem(
        lambda paths, switches: import_npm(paths, names="names" in switches),
        "package-lock.json files or their directories (default: .)",
        {"names": "index each name without its version too, as a package that depends on all of its versions"},
    ),
    "cargo": Ecosystem(lambda paths, _: import_cargo(paths), "Cargo.lock files or their directories (default: .)"),
}

_LEFT_OUT_SHOWN: Final = 5


def import_packages(
    ecosystem: str,
    paths: Sequence[str],
    switches: AbstractSet[str],
    settings: Settings,
    output: Output,
    *,
    into: str | None,
    since: str | None,
    failures: str | None,
    left_out: str | None,
) -> ExitStatus:
    """Print or send the requests; return the status of the worst response, FAIL if something was left out."""
    client = None if into is None else settings.new_client(into)  # before the long work, to check the address
    imported = ECOSYSTEMS[ecosystem].read(paths, switches)
    graph = imported.to_graph()
    report_left_out(imported, output, left_out)
    output.message(
        f"{counted(len(graph), 'package')}, {counted(graph.edge_count(), 'dependency', 'dependencies')}, "
        f"{counted(len(graph.cyclic_components()), 'cyclic group')}"
    )
    requests = read_graph(since).diff(graph) if since is not None else graph.to_requests()
    transfer = Transfer(output, failures)
    incomplete = ExitStatus.FAIL if imported.left_out else ExitStatus.OK
    if client is None:
        return max(incomplete, transfer.print_requests(requests))
    with client:
        client.connect()
        return max(incomplete, transfer.send(client, requests, f"importing {ecosystem}", len(requests)))


def report_left_out(imported: Imported, output: Output, path: str | None) -> None:
    """Write what was left out to the file ``path``, or print the beginning."""
    if path is not None:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{name}: {reason}\n" for name, reason in imported.left_out)
        return
    for note in imported.notes:
        output.message(note)
    for name, reason in imported.left_out[:_LEFT_OUT_SHOWN]:
        output.message(f"left out {printable(name)}: {reason}")
    if len(imported.left_out) > _LEFT_OUT_SHOWN:
        output.message(f"left out {len(imported.left_out) - _LEFT_OUT_SHOWN:,} more; --left-out FILE lists all")
