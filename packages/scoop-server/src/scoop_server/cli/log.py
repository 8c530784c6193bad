"""``scoop-server log DIR``: who changed what, and when; and the moments that commands accept."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from scoop_server.config.values import duration
from scoop_server.errors import ConfigurationError
from scoop_server.storage.trail import BEGINNING, Moment, Trail, TrailBatch
from scoop_server.text import format_time

POLL_SECONDS: Final = 1.0
"""The interval at which ``--follow`` reads on."""

UNKNOWN: Final = "-"
"""Shown for a change of a client without a known identity."""


def parse_moment(text: str) -> Moment:
    """Return the moment that ``text`` names: a batch (``4711``), a time (ISO 8601), or a time ago (``2h``).

    Raises ConfigurationError. A time without an offset is in UTC, as those of the log are.

    >>> parse_moment("17"), parse_moment("1970-01-01T00:00:01Z")
    (Moment(batch=17, time=None), Moment(batch=None, time=1000))
    """
    if text.isascii() and text.isdigit():
        return Moment(batch=int(text))
    now = time.time()
    try:
        seconds = now - duration().parse(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            raise ConfigurationError(
                f"expected a batch, a time such as 2026-01-31T14:05:00Z, or a time ago such as 2h, got {text!r}"
            ) from None
    if seconds > now:
        raise ConfigurationError(f"the time {text} is in the future")
    return Moment(time=max(0, round(1_000 * seconds)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    moment = "a batch, a time, or a time ago such as 2h"
    parser.add_argument("--since", metavar="MOMENT", help=f"begin there: after {moment}")
    parser.add_argument("--until", metavar="MOMENT", help=f"end there: {moment}")
    parser.add_argument("--package", metavar="NAME", help="changes of this package only")
    parser.add_argument("--identity", metavar="NAME", help="changes of this identity only, such as CN=builder")
    parser.add_argument("--follow", action="store_true", help="go on with new changes, until interrupted")
    parser.add_argument("--json", action="store_true", help="print an object per line")


def log(path: str, arguments: Mapping[str, object], out: TextIO) -> int:
    """Print the changes in the data directory ``path``, oldest first, one per line; return the exit status 0.

    Raises DataDirectoryError at a gap, after the changes before it.
    """
    since, until = (
        parse_moment(str(arguments[name])) if name in arguments else BEGINNING for name in ("since", "until")
    )
    with Trail(path) as trail:
        last = _print_batches(trail.batches(since), until, arguments, out)
        while "follow" in arguments:
            out.flush()
            time.sleep(POLL_SECONDS)
            # A batch is printed when it is a poll old: by then the server has synced it, or has gone.
            found = [batch.seal.number for batch in trail.batches(Moment(batch=last))]
            if found:
                time.sleep(POLL_SECONDS)
                last = _print_batches(trail.batches(Moment(batch=last)), Moment(batch=found[-1]), arguments, out, last)
    return 0


def _print_batches(
    batches: Iterator[TrailBatch], until: Moment, arguments: Mapping[str, object], out: TextIO, last: int = 0
) -> int:
    """Print the selected changes of ``batches``; return the number of the last batch."""
    package, identity = arguments.get("package"), arguments.get("identity")
    for batch in batches:
        if not until.includes(batch.seal):
            break
        last = batch.seal.number
        if package is not None and f"|{package}|" not in batch.lines:
            continue
        moment = format_time(batch.seal.time)
        for author, line in _with_authors(batch):
            if (package is None or line.split("|", 2)[1] == package) and identity in {None, author}:
                out.write(_formatted(moment, batch.seal.number, author, line, as_json="json" in arguments))
    return last


def _with_authors(batch: TrailBatch) -> Iterator[tuple[str, str]]:
    starts = dict(batch.authors)
    author = UNKNOWN
    for number, line in enumerate(batch.lines.splitlines()):
        author = starts.get(number, author)
        yield author, line


def _formatted(moment: str, batch: int, author: str, line: str, *, as_json: bool) -> str:
    if not as_json:
        return f"{moment} {batch} {author} {line}\n"
    command, package, dependencies = line.split("|")
    change: dict[str, object] = {"time": moment, "batch": batch, "identity": None if author == UNKNOWN else author}
    change |= {"command": command, "package": package}
    if command == "INDEX":
        change["dependencies"] = [each for each in dependencies.split(",") if each]
    return f"{json.dumps(change)}\n"
