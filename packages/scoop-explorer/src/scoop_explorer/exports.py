"""Whole answers as files: requests as text, lists as CSV and JSON, graphs as DOT."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Final, NamedTuple

from scoop_core import DependencyGraph, encode_dot

from scoop_explorer import pages, questions
from scoop_explorer.pages import Explorer
from scoop_explorer.parameters import BadParameterError, Values

LINES_AT_ONCE: Final = 2_000
"""Lines of a chunk of a response: some 50 kB."""

DOT_PACKAGES_MAX: Final = 20_000
"""Packages of a DOT file: no program lays out more."""

_MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "dot": "text/vnd.graphviz; charset=utf-8",
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
}


class Export(NamedTuple):
    """A file: its name, its media type and its lines."""

    name: str
    media_type: str
    lines: Iterable[str]

    def chunks(self) -> Iterator[str]:
        """Yield the file in parts."""
        lines = iter(self.lines)
        while part := "".join(f"{line}\n" for line in islice(lines, LINES_AT_ONCE)):
            yield part


async def export(page: str, form: str, explorer: Explorer, values: Values) -> Export | None:
    """Return the whole answer of a page as a file; None if it is not there in time."""
    suffix = "txt" if form == "text" else form
    about = "".join(f"-{name.replace('/', '_')}" for name in values.packages[:3])
    lines = await _lines(page, form, explorer, values)
    return None if lines is None else Export(f"{page[1:]}{about}.{suffix}", _MEDIA_TYPES[form], lines)


async def _lines(page: str, form: str, explorer: Explorer, values: Values) -> Iterable[str] | None:  # noqa: C901  # a table in the form of a match
    match page:
        case "/removal":
            order = await pages.removal_order(explorer, values)
            if order is None:
                return None
            lines = order.lines(0, len(order))
            return lines if form == "text" else [json.dumps({"requests": lines})]
        case "/dependencies" | "/dependents":
            related = await pages.related(page[1:], explorer, values)
            if related is None:
                return None
            if form == "dot":
                return await _dot(explorer, [values.name, *related.names])
            rows = explorer.index.ask(lambda graph: questions.related_part(graph, related, related.names))
            figures = [(each.name, each.dependents, each.distance) for each in rows]
            return _table(form, ("name", "dependents", "distance"), figures)
        case "/rebuild":
            steps = await pages.rebuild_steps(explorer, values)
            if steps is None:
                return None
            cycle_of = {name: number for number, group in enumerate(steps.groups, 1) for name in group}
            packages = chain.from_iterable(zip(repeat(number), names) for number, names in enumerate(steps.steps, 1))
            table = [(step, name, cycle_of.get(name, "")) for step, name in packages]
            return _table(form, ("step", "name", "cycle"), table)
        case "/path":
            path = await pages.found_path(explorer, values)
            if path is None:
                return None
            return await _dot(explorer, path.packages) if form == "dot" else path.packages
        case "/packages":
            [name] = values.packages
            drawn = explorer.index.ask(lambda graph: questions.around(graph, [name], ("dependents", "dependencies")))
            return await _dot(explorer, [each.name for each in drawn.nodes])
        case "/cycles":
            groups = explorer.surveyor.cyclic_groups
            if wanted := values.number("group"):
                groups = groups[wanted - 1 : wanted]
            if package := values.text("package"):
                groups = tuple(group for group in groups if package in group.packages.names)
            members = [(group.number, name) for group in groups for name in group.packages.names]
            return (
                _table(form, ("group", "name"), members)
                if form == "csv"
                else await _dot(explorer, [name for _, name in members])
            )
        case "/search":
            found = await pages.ranked(explorer, values)
            if found is None:
                return None
            hits = [(each.name, each.dependents) for each in explorer.with_dependents(found.names)]
            return _table(form, ("name", "dependents"), hits)
    changes = (await pages.known_changes(explorer, values)).changes
    fields = [
        (
            each.batch,
            each.time,
            each.is_older,
            each.kind,
            each.package,
            " ".join(each.added),
            " ".join(each.dropped),
            _quoted(each.identity),
        )
        for each in changes
    ]
    return _table(form, ("batch", "time", "is_older", "kind", "package", "added", "dropped", "identity"), fields)


def _quoted(identity: str) -> str:
    """Return an identity as a field of CSV: it may have commas and quotes."""
    return '"{}"'.format(identity.replace('"', '""'))


def _table(form: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield a table as CSV or JSON. No value has a comma or a quote that is not quoted."""
    if form == "csv":
        yield ",".join(names)
        for row in rows:
            yield ",".join(map(str, row))
        return
    separator = "["
    for row in rows:
        yield separator + json.dumps(dict(zip(names, row, strict=True)))
        separator = ","
    yield "]" if separator == "," else "[]"


async def _dot(explorer: Explorer, names: Sequence[str]) -> list[str] | None:
    if len(names) > DOT_PACKAGES_MAX:
        raise BadParameterError(f"expected at most {DOT_PACKAGES_MAX:,} packages to draw, got {len(names):,}: use csv")

    def encode(graph: DependencyGraph, _batch: int) -> list[str]:
        return "".join(encode_dot(graph.subgraph(name for name in names if name in graph))).splitlines()

    return await explorer.ask(("dot", tuple(names)), encode)
