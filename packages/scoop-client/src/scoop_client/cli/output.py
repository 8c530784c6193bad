"""Output: results on standard output as text or JSON, messages and progress on standard error."""

import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from scoop_client.cli.streams import discard

SECONDS_BETWEEN_LINES: Final = 2.0
"""The interval of lines about the progress of a long operation."""

_BAR_WIDTH_MIN: Final = 60
"""On a narrower terminal, the progress is only a number."""

_TEXT_SHOWN: Final = 100
"""The limit of characters of a text from an input."""

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


def has_rich() -> bool:
    """Return whether the extra ``cli`` is installed."""
    return importlib.util.find_spec("rich") is not None


class Progress(Protocol):
    """The display of a long operation."""

    def update(self, done: int, failed: int) -> None:
        """Show how many requests have been answered, and how many of them failed."""


@dataclass(frozen=True, slots=True)
class Output:
    """The streams of the command, and whether results are JSON."""

    is_json: bool

    def result(self, text: str, value: Mapping[str, JsonValue]) -> None:
        """Print one result: ``text`` for people, or ``value`` as a line of JSON for programs."""
        print(json.dumps(value) if self.is_json else text, flush=sys.stdout.isatty())

    def names(self, names: Sequence[str], value: Mapping[str, JsonValue], summary: str = "") -> None:
        """Print names: in columns on a terminal, else one per line; ``summary`` is for people only."""
        if self.is_json:
            print(json.dumps(value))
            return
        if sys.stdout.isatty() and has_rich():
            from rich.columns import Columns  # noqa: PLC0415  # an extra, and slow to import
            from rich.console import Console  # noqa: PLC0415

            Console(highlight=False).print(Columns(names, padding=(0, 2)) if names else "", end="")
        else:
            print(*names, sep="\n", end="\n" if names else "")
        if summary and sys.stdout.isatty():
            self.message(summary)

    def lines(self, lines: Iterable[str], value: Mapping[str, JsonValue]) -> None:
        """Print ``lines``, or ``value`` as JSON."""
        if self.is_json:
            print(json.dumps(value))
        for line in () if self.is_json else lines:
            print(line)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], value: Mapping[str, JsonValue]) -> None:
        """Print a table, or ``value`` as JSON."""
        if self.is_json:
            print(json.dumps(value))
        elif sys.stdout.isatty() and has_rich():
            from rich.console import Console  # noqa: PLC0415  # an extra, and slow to import
            from rich.table import Table  # noqa: PLC0415

            table = Table(*header)
            for row in rows:
                table.add_row(*row)
            Console().print(table)
        else:
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                print("  ".join(map(str.ljust, row, widths)).rstrip())

    def message(self, text: str) -> None:
        """Print a line for people on standard error, if that accepts one."""
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            discard(sys.stderr)

    def error(self, text: str, status: int) -> None:
        """Print an error on standard error, as JSON if results are."""
        self.message(json.dumps({"error": text, "status": status}) if self.is_json else f"scoop: {text}")

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Progress]:
        """Show a bar on a terminal with the extra ``cli``, else a line now and then."""
        if not (sys.stderr.isatty() and has_rich()):
            yield _Lines(self, what, total)
            return
        from rich.console import Console  # noqa: PLC0415  # an extra, and slow to import
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        console = Console(stderr=True)
        columns = [TextColumn("{task.description}"), MofNCompleteColumn()]
        if console.width >= _BAR_WIDTH_MIN:
            columns += [BarColumn(), TimeRemainingColumn(), TimeElapsedColumn()]
        with Bar(*columns, console=console) as bar:
            task = bar.add_task(what, total=total)

            class _Bar:
                def update(self, done: int, failed: int) -> None:
                    bar.update(task, completed=done, description=f"{what}, {failed:,} failed" if failed else what)

            yield _Bar()


class _Lines:
    def __init__(self, output: Output, what: str, total: int | None) -> None:
        self._output = output
        self._what = what
        self._of_total = "" if total is None else f" of {total:,}"
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def update(self, done: int, failed: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SECONDS_BETWEEN_LINES
            self._output.message(f"{self._what}: {done:,}{self._of_total} requests, {failed:,} failed")


def counted(number: int, one: str, many: str = "") -> str:
    """Return ``number`` and the noun that agrees with it.

    >>> counted(1, "package"), counted(2_000, "dependency", "dependencies")
    ('1 package', '2,000 dependencies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def printable(text: str) -> str:
    r"""Return a text from an input so that it can be printed: in ASCII if necessary, and its beginning if it is long.

    >>> printable("gmp"), printable("\x1b[31m"), len(printable("x" * 1_000))
    ('gmp', "'\\x1b[31m'", 122)
    """
    shown = text if text.isascii() and text.isprintable() else ascii(text)
    return shown if len(shown) <= _TEXT_SHOWN else f"{shown[:_TEXT_SHOWN]}... ({len(text):,} characters)"


def shortened(names: Iterable[str], limit: int = 5) -> str:
    """Return the first names, and the number of the others.

    >>> shortened("abc", 2)
    'a, b and 1 more'
    """
    listed = list(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more:,} more" if more > 0 else "")
