r"""Log lines on stderr: one an event, as text for people or as JSON for programs, and never a flood of them.

An event is a template and its fields: ``log.info("%(peer)s connected", {"peer": name})``. Text shows the template
filled in; JSON has it as ``message``, and the fields by their names beside it. Whatever a field holds, the line is
ASCII without control characters: a newline in a file's name or in a client's request is ``\n`` there.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

log: Final = logging.getLogger("scoop_server")

access_log: Final = logging.getLogger("scoop_server.access")
"""A line for each request, written only where :func:`set_up_logging` is told so."""
access_log.setLevel(logging.CRITICAL)

LOG_LEVELS: Final = ("debug", "info", "warning", "error")

REPEAT_SECONDS: Final = 10.0
"""How long events like one that was logged are only counted: one line in this time a person can follow."""

REQUEST_CHARACTERS_MAX: Final = 1_000
"""What a log line shows of a request: more than nearly all have, and a flood of the longest stays readable."""


class TextFormatter(logging.Formatter):
    r"""``2026-01-31T12:00:00.000Z INFO message``; a backslash and whatever is not printable ASCII is escaped."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event."""
        return super().format(record).encode("unicode_escape").decode("ascii")


class JsonFormatter(logging.Formatter):
    """One object a line: ``time`` (UTC, RFC 3339), ``level``, ``message``, and the event's own fields."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event."""
        event: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if isinstance(record.args, Mapping):
            event |= record.args
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        # DEL is the one control character that JSON leaves as it is.
        return json.dumps(event, default=str).replace("\x7f", r"\u007f")


FORMATTERS: Final[Mapping[str, Callable[[], logging.Formatter]]] = {"text": TextFormatter, "json": JsonFormatter}
"""By what ``--log-format`` calls them."""


def set_up_logging(level: str, log_format: str, *, with_access: bool = False) -> None:
    """Have every event on stderr that is at least as severe as ``level``, and each request too if asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    logging.basicConfig(handlers=[handler])
    set_log_level(level)
    # Requests are wanted or not, whatever the level is.
    access_log.setLevel(logging.INFO if with_access else logging.CRITICAL)


def tell_problem(problem: str, log_format: str) -> None:
    """Say in one line on stderr why a process ends: as commands do, or as the last object of a JSON log."""
    if log_format == "json":
        log.error("%(problem)s", {"problem": problem})
    else:
        print(f"scoop-server: {escaped(problem)}", file=sys.stderr)


def escaped(text: str) -> str:
    r"""Return ``text`` on one line of printable ASCII; a backslash stays, because texts from outside are quoted there.

    >>> print(escaped("caf\u00e9\n"))
    caf\xe9\n
    """
    return re.sub(r"[^ -~]+", lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def set_log_level(level: str) -> None:
    """Log events that are at least as severe as ``level``, one of :data:`LOG_LEVELS`, from now on."""
    logging.getLogger().setLevel(level.upper())


class RepeatLimit:
    """Logs an event, and of those like it that follow within ``seconds`` the last one, with the number left out.

    Events are alike that have the same template, and the same ``kind`` if one is given. ``clock`` gives seconds. What
    was left out is logged by :meth:`flush`, which is to be called now and then while :attr:`is_counting`.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = REPEAT_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._repeated: dict[tuple[str, str], _Repeated] = {}

    @property
    def is_counting(self) -> bool:
        """Whether :meth:`flush` has something to do, now or later."""
        return bool(self._repeated)

    def log(self, level: int, template: str, fields: Mapping[str, object], count: int = 1, kind: str = "") -> None:
        """Log an event that has happened ``count`` times, now or later."""
        if not log.isEnabledFor(level):
            return
        repeated = self._repeated.get((template, kind))
        if repeated is None:
            repeated = self._repeated[template, kind] = _Repeated(self._clock())
            log.log(level, template, fields)
            count -= 1
        repeated.count += count
        repeated.level, repeated.fields = level, fields

    def flush(self, *, at_once: bool = False) -> None:
        """Log what was left out of the kinds whose time is over, or of all of them."""
        now = self._clock()
        for (template, kind), repeated in list(self._repeated.items()):
            passed = now - repeated.since
            if passed < self._seconds and not at_once:
                continue
            if not repeated.count:
                del self._repeated[template, kind]
                continue
            self._repeated[template, kind] = _Repeated(now)
            left_out = repeated.count - 1
            note = f" (and {left_out:,} more like it in the last {passed:.0f} s)" if left_out else ""
            log.log(repeated.level, template + note, {**repeated.fields, "left_out": left_out})


class _Repeated:
    """The events of one kind since the last that was logged, at ``since``."""

    __slots__ = ("count", "fields", "level", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0
        self.level = logging.NOTSET
        self.fields: Mapping[str, object] = {}


class Peer(Protocol):
    """Who asks."""

    @property
    def name(self) -> str:
        """What the log calls it."""


def log_requests(replies: Iterable[tuple[Peer, str, str]]) -> None:
    """Write the access log: a line for each request in ``replies``, which are a client, its lines, their answers."""
    for client, lines, answers in replies:
        for line, answer in zip(lines.split("\n"), answers.split(), strict=False):  # nothing stands after the last
            fields = {"peer": client.name, "response": answer, "request": _shortened(line)}
            access_log.info("%(peer)s %(response)s %(request)s", fields)


def log_errors(replies: Iterable[tuple[Peer, str, str]], limit: RepeatLimit) -> None:
    """Log of each client in ``replies`` a line that was answered ERROR, as far as ``limit`` lets it through."""
    for client, lines, answers in replies:
        errors = answers.count("ERROR")
        if errors:
            number = answers.count("\n", 0, answers.find("ERROR"))
            line = lines.split("\n", number + 1)[number]
            fields = {"peer": client.name, "request": _shortened(line)}
            limit.log(logging.INFO, "answered ERROR to %(peer)s: %(request)s", fields, errors)


def _shortened(request: str) -> str:
    if not request:  # of a line over the limit nothing is kept
        return "an empty line, or one longer than --max-line"
    if len(request) <= REQUEST_CHARACTERS_MAX:
        return request
    return f"{request[:REQUEST_CHARACTERS_MAX]}... ({len(request):,} characters)"
