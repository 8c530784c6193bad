"""The changes in a batch of a journal: who made them, and when; and the parsing of moments and durations."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from scoop_core.messages import Request, parse_request
from scoop_core.transcript import Authors, Seal

UNKNOWN: Final = "-"
"""Written for a change whose author is unknown."""

_CYCLE_MS: Final = 146_097 * 86_400_000

_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_DURATION_MAX: Final = 1e9
"""Thirty years. A longer time is a typing error."""

# Rules out "+1", "1_0", " 1" and digits of other scripts, which float reads.
_match_duration: Final = re.compile(
    rf"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)({'|'.join(_SECONDS)})", re.IGNORECASE | re.ASCII
).fullmatch

_match_batch: Final = re.compile("[0-9]{1,20}").fullmatch  # more digits than any batch has, and fewer than int refuses


class LoggedChange(NamedTuple):
    """A change of one package.

    >>> print(LoggedChange(1_764_668_400_123, 7, "CN=builder", "INDEX|isl|gmp"))
    2025-12-02T09:40:00.123Z 7 CN=builder INDEX|isl|gmp
    """

    time_ms: int
    """The time of its batch, in milliseconds since 1970."""
    batch: int
    """The number of its batch. The changes of a batch become durable together."""
    identity: str | None
    """The client that made it, such as ``CN=builder``; None if that is unknown."""
    line: str
    """The request, without its newline."""
    ends_batch: bool = True
    """True if it is the last one of its batch that was selected, so that a reader can go on with the next batch."""

    @property
    def time(self) -> datetime:
        """The time of its batch, in UTC.

        >>> print(LoggedChange(1_764_668_400_123, 1, None, "INDEX|gmp|").time)
        2025-12-02 09:40:00.123000+00:00
        """
        return datetime.fromtimestamp(self.time_ms / 1_000, UTC)

    @property
    def package(self) -> str:
        """The package that it changed.

        >>> LoggedChange(0, 1, None, "REMOVE|gmp|").package
        'gmp'
        """
        return self.line.split("|")[1]

    @property
    def request(self) -> Request:
        """The request that made it.

        >>> LoggedChange(0, 1, None, "REMOVE|gmp|").request.command
        <Command.REMOVE: 'REMOVE'>
        """
        return parse_request(self.line)

    def __str__(self) -> str:
        return f"{format_time(self.time_ms)} {self.batch} {self.identity or UNKNOWN} {self.line}"

    def to_json(self) -> str:
        """Return it as an object of JSON, in one line.

        >>> print(LoggedChange(0, 1, None, "REMOVE|isl|").to_json()[:91])
        {"time": "1970-01-01T00:00:00.000Z", "batch": 1, "identity": null, "command": "REMOVE", "pa
        """
        import json  # noqa: PLC0415  # most programs do without

        command, package, dependencies = self.line.split("|")
        value: dict[str, object] = {"time": format_time(self.time_ms), "batch": self.batch, "identity": self.identity}
        value |= {"command": command, "package": package}
        if command == "INDEX":
            value["dependencies"] = [each for each in dependencies.split(",") if each]
        return json.dumps(value | {"ends_batch": self.ends_batch})


@lru_cache(maxsize=1)  # the changes of a batch have one time
def format_time(milliseconds: int) -> str:
    """Return a time since 1970 in UTC, as ISO 8601 writes it.

    >>> format_time(1_764_668_400_123)
    '2025-12-02T09:40:00.123Z'
    """
    # A seal may hold any number, and datetime ends with the year 9999; the calendar repeats every 400 years.
    cycles, rest = divmod(milliseconds, _CYCLE_MS)
    moment = datetime.fromtimestamp(rest // 1_000, UTC)
    return f"{moment.year + 400 * cycles}-{moment:%m-%dT%H:%M:%S}.{rest % 1_000:03}Z"


class Moment(NamedTuple):
    """A batch, or a time in milliseconds since 1970. A graph at a moment includes the batches up to it.

    >>> print(Moment(batch=17), Moment(time=1_764_668_400_123))
    batch 17 2025-12-02T09:40:00.123Z
    """

    batch: int | None = None
    time: int | None = None

    def __str__(self) -> str:
        return f"batch {self.batch}" if self.time is None else format_time(self.time)

    def includes(self, seal: Seal) -> bool:
        """Return whether a batch is not after this moment.

        >>> Moment(batch=17).includes(Seal(17, 0)), Moment(time=5).includes(Seal(17, 0, time=6))
        (True, False)
        """
        if self.batch is not None:
            return seal.number <= self.batch
        return self.time is None or seal.time <= self.time

    def is_after(self, seal: Seal) -> bool:
        """Return whether a reader from this moment on skips a batch: one up to its number, or before its time.

        >>> Moment(batch=17).is_after(Seal(17, 0)), Moment(time=5).is_after(Seal(17, 0, time=5))
        (True, False)
        """
        if self.batch is not None:
            return seal.number <= self.batch
        return self.time is not None and seal.time < self.time

    @classmethod
    def parse(cls, text: str, now: float) -> "Moment":
        """Return the moment that ``text`` names: a batch (``4711``), a time (ISO 8601), a time ago (``2h``) or ``now``.

        The parameter ``now`` is the current time, in seconds since 1970. A time without an offset is in UTC.
        Raises ValueError with "expected A, got B", or for a time in the future.

        >>> Moment.parse("17", now=0), Moment.parse("2h", now=7_201)
        (Moment(batch=17, time=None), Moment(batch=None, time=1000))
        """
        if _match_batch(text):
            return cls(batch=int(text))
        if text == "now":
            return END
        try:
            seconds = now - parse_duration(text)
        except ValueError:
            try:
                moment = datetime.fromisoformat(text)
                seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except ValueError:
                raise ValueError(
                    f"expected a batch, a time such as 2026-01-31T14:05:00Z, or a time ago such as 2h, got {text!r}"
                ) from None
        if seconds > now:
            raise ValueError(f"the time {text} is in the future")
        return cls(time=max(0, round(1_000 * seconds)))


BEGINNING: Final = Moment()
"""Before all batches."""
END: Final = Moment(time=1 << 62)
"""After all batches that there are."""


def parse_duration(text: str, *, or_zero: bool = False) -> float:
    """Return the seconds of a time, which may have a unit: ``0.5``, ``500ms``, ``10s``, ``5m``, ``2h``, ``30d``.

    Raises ValueError with "expected A, got B"; also for 0, unless ``or_zero`` is true, and for 1e9 s or more.

    >>> parse_duration("500ms"), parse_duration("2h")
    (0.5, 7200.0)
    """
    found = _match_duration(text)
    seconds = float(found[1]) * _SECONDS[found[2].lower()] if found else -1.0
    if not 0 <= seconds < _DURATION_MAX or not (seconds or or_zero):
        raise ValueError(f"expected a time{'' if or_zero else ' above 0'}, such as 10, 500ms, 10s or 5m, got {text!r}")
    return seconds


class LoggedBatch(NamedTuple):
    r"""The changes of one turn of a server.

    >>> len(LoggedBatch("INDEX|gmp|\nINDEX|isl|gmp\n", Seal(7, 0)).changes())
    2
    """

    lines: str
    """Requests, each with its newline."""
    seal: Seal
    authors: Authors = ()

    def parts(self) -> list[tuple[str, str]]:
        r"""Return the authors in order, ``-`` for an unknown one, each with the requests that it made in a row.

        >>> LoggedBatch("INDEX|gmp|\nINDEX|isl|gmp\n", Seal(7, 0), [(1, "CN=builder")]).parts()
        [('-', 'INDEX|gmp|\n'), ('CN=builder', 'INDEX|isl|gmp\n')]
        """
        if not self.authors:
            return [(UNKNOWN, self.lines)]
        lines = self.lines.split("\n")[:-1]  # not splitlines: others may be in an invalid request
        bounds = pairwise([(0, UNKNOWN), *self.authors, (len(lines), "")])
        parts = [(author, "".join(f"{line}\n" for line in lines[start:end])) for (start, author), (end, _) in bounds]
        return [(author, text) for author, text in parts if text]

    def changes(self, package: str | None = None, identity: str | None = None) -> list[LoggedChange]:
        r"""Return its changes; only those of a package or an identity, if that is given. ``-`` is an unknown identity.

        >>> batch = LoggedBatch("INDEX|gmp|\nINDEX|isl|gmp\n", Seal(7, 0), [(1, "CN=builder")])
        >>> print(*batch.changes(identity="CN=builder"))
        1970-01-01T00:00:00.000Z 7 CN=builder INDEX|isl|gmp
        """
        if package is not None and f"|{package}|" not in self.lines:
            return []
        starts, author = dict(self.authors), UNKNOWN
        found: list[tuple[str, str]] = []
        for number, line in enumerate(self.lines.splitlines()):
            author = starts.get(number, author)
            if (package is None or line.split("|", 2)[1] == package) and identity in {None, author}:
                found.append((author, line))
        return [
            LoggedChange(self.seal.time, self.seal.number, None if author == UNKNOWN else author, line, left == 1)
            for left, (author, line) in zip(range(len(found), 0, -1), found, strict=True)
        ]
