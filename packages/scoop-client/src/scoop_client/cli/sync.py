"""``scoop sync SOURCE --into SERVER``: make the index equal to a repository.

**What is indexed.** The protocol can only ask for one name whether it is indexed: it lists no names and no
dependencies. So a sync knows the index by one of these:

- ``--from INDEX``, a data directory, also beside its server, or a dump: exact when it is read. Only the difference is
  sent.
- ``--record FILE``, the packages that the last sync indexed. All packages of the repository are indexed again, which
  is one comparison for the server where nothing differs, and makes them right whatever others have done to them. Those
  that only the record has are removed. Packages of others stay.
- Neither: as with an empty record, so nothing is removed.

**The order** is that of ``DependencyGraph.diff`` and ``to_requests``: every request is answered OK. A package comes
after its dependencies; on a cycle, one package is indexed first without those to come, and again at the end, complete.
Removals are last, dependents first; of a cycle, one package is first indexed without dependencies.

**Meanwhile** others may change the index. The index is read before the repository, so a package that was published in
between is not removed. A package that is indexed and whose upload has not ended is removed, and the
next sync indexes it; the reverse holds for a deletion. A change that takes away what a request needs makes this request
fail. All others are made, the exit status is 1, and the next sync makes up for it.
"""

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from scoop_core import Command, DependencyGraph, Request

from scoop_client.cli.importing import ECOSYSTEMS, report_left_out
from scoop_client.cli.output import Output, counted
from scoop_client.cli.sending import Transfer
from scoop_client.cli.settings import Settings, UsageError
from scoop_client.cli.status import ExitStatus
from scoop_client.inputs import read_graph


def requests_between(known: DependencyGraph, repository: DependencyGraph, *, is_exact: bool) -> tuple[Request, ...]:
    """Return the requests that make an index equal to ``repository``, each answered OK.

    ``known`` is the index if ``is_exact``, else the packages that may be removed. Then the lists of the packages of the
    repository may differ from those in ``known``.
    """
    if is_exact:
        return known.diff(repository)
    return repository.to_requests() + _merged(known, repository).diff(repository)


def _merged(recorded: DependencyGraph, repository: DependencyGraph) -> DependencyGraph:
    """Return the packages of both, those of ``repository`` as they are there."""
    return DependencyGraph.from_mapping({**recorded.to_mapping(), **repository.to_mapping()})


def sync(
    source: str,
    paths: Sequence[str],
    switches: AbstractSet[str],
    settings: Settings,
    output: Output,
    *,
    record: str | None,
    dry_run: bool,
    strict: bool,
    allow_empty: bool,
    failures: str | None,
    left_out: str | None,
) -> ExitStatus:
    """Send or print the requests; return the status of the worst response."""
    if not dry_run and "server" not in settings.sources:
        raise UsageError("expected --into SERVER, or --dry-run")
    if record is not None and settings.sources.get("data", "").startswith("--"):
        raise UsageError("expected --from or --record, got both")
    client = None if dry_run else settings.new_client(resend_changes=True)  # before the long work, to check the address
    is_exact = record is None and "data" in settings.sources
    if is_exact:
        known = read_graph(settings.data, settings.form)
    else:
        known = read_graph(record) if record is not None and Path(record).exists() else DependencyGraph()
    repository, is_complete = _read(source, paths, switches, output, left_out)
    if strict and not is_complete:
        output.error("the repository is incomplete, and --strict is set: nothing has changed", ExitStatus.FAIL)
        return ExitStatus.FAIL
    if known and not repository and not allow_empty:
        raise UsageError(f"{source} has no packages; --allow-empty removes all {len(known):,} of the index")
    requests = requests_between(known, repository, is_exact=is_exact)
    output.message(_summary(known, repository, requests, is_exact=is_exact))
    transfer = Transfer(output, failures)
    if client is None:
        return transfer.print_requests(requests)
    with client:
        client.connect()
        if record is not None:
            # With all that may be indexed if this is the last that the sync does.
            _write(record, _merged(known, repository))
        status = transfer.send(client, requests, "syncing", len(requests))
    if record is not None and status is ExitStatus.OK:
        _write(record, repository)
    if status is ExitStatus.FAIL:
        output.message("others have changed the index since it was read; sync again")
    return status


def _read(
    source: str, paths: Sequence[str], switches: AbstractSet[str], output: Output, left_out: str | None
) -> tuple[DependencyGraph, bool]:
    """Return the repository, and whether nothing was left out of it."""
    ecosystem = ECOSYSTEMS.get(source)
    if ecosystem is None:
        if paths or switches:
            raise UsageError(f"expected one of {', '.join(ECOSYSTEMS)} before PATH and its options, got {source!r}")
        return read_graph(source), True
    if unknown := switches - ecosystem.switches.keys():
        raise UsageError(f"--{min(unknown)} is no option of {source}")
    imported = ecosystem.read(paths, switches)
    report_left_out(imported, output, left_out)
    return imported.to_graph(), not imported.left_out


def _summary(
    known: DependencyGraph, repository: DependencyGraph, requests: Sequence[Request], *, is_exact: bool
) -> str:
    removed = sum(request.command is Command.REMOVE for request in requests)
    if not is_exact:
        return f"{counted(len(repository), 'package')} to index, {removed:,} to remove"
    added = sum(name not in known for name in repository)
    changed = len(
        {request.package for request in requests if request.package in known and request.package in repository}
    )
    return f"{counted(added, 'package')} to add, {changed:,} to change, {removed:,} to remove"


def _write(path: str, graph: DependencyGraph) -> None:
    """Replace a record, so that it is complete at any moment."""
    new = f"{path}.new"
    with open(new, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in graph.to_lines())
    os.replace(new, path)
