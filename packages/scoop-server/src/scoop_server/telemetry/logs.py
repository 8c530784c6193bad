r"""The log: one line per event on stderr, as text for people or as JSON for programs; similar events share a line.

An event is a constant template and its fields: ``log.info("%(peer)s connected", {"peer": name})``. Text shows the
template filled in; JSON has that as ``message`` and the fields beside it. Whatever a field holds, the line is printable
ASCII: a newline in a file name or in a request is ``\n``.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from scoop_server.telemetry.log_queue import LogQueue, writer_to

log: Final = logging.getLogger("scoop_server")

access_log: Final = logging.getLogger("scoop_server.access")
"""One line per request; silent unless :func:`set_up_logging` enables it."""
access_log.setLevel(logging.CRITICAL)

REPEAT_SECONDS: Final = 10.0
"""Interval in which similar events share one line: a person can follow one line in this time."""

_SYSLOG_PRIORITIES: Final = {"CRITICAL": 3, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

Fields: TypeAlias = Mapping[str, object]


class TextFormatter(logging.Formatter):
    r"""``2026-01-31T12:00:00.000Z INFO message``; escapes backslashes and everything that is not printable ASCII."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event; that of the final problem of a process is the one that commands print."""
        line = record.__dict__.get("line")
        return str(line) if line else super().format(record).encode("unicode_escape").decode("ascii")


class JsonFormatter(logging.Formatter):
    """One object per line: ``time`` (UTC, RFC 3339), ``level``, ``message``, and the event's own fields."""

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
        # DEL is the one control character that JSON does not escape.
        return json.dumps(event, default=str).replace("\x7f", r"\u007f")


class JournalQueue(LogQueue):
    """A queue whose lines begin with ``<3>``, ``<4>``, ``<6>`` or ``<7>``, which the journal takes as priority."""

    def prepare(self, record: logging.LogRecord) -> bytes:
        """Return the line of an event."""
        return _priority(record.levelname).encode() + super().prepare(record)


FORMATTERS: Final[Mapping[str, Callable[[], logging.Formatter]]] = {"text": TextFormatter, "json": JsonFormatter}
"""Formatters by their value of ``--log-format``."""


def set_up_logging(level: str, log_format: str, *, with_access: bool = False) -> None:
    """Log events of at least ``level`` to stderr, and each request if asked for."""
    set_log_level(level)
    access_log.setLevel(logging.INFO if with_access else logging.CRITICAL)  # whatever the level of the log
    root = logging.getLogger()
    if root.handlers:
        return
    if sys.stderr is None:  # closed; its descriptor may be a file of the index by now
        root.addHandler(logging.NullHandler())
        return
    writer = (JournalQueue if is_journal() else LogQueue)(writer_to(sys.stderr.fileno()))
    writer.setFormatter(FORMATTERS[log_format]())
    root.addHandler(writer)


def is_journal() -> bool:
    """Return whether stderr is the stream to systemd's journal that JOURNAL_STREAM names."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except OSError:  # closed, or a stream without a descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _priority(level: str) -> str:
    return f"<{_SYSLOG_PRIORITIES.get(level, 7)}>"


def set_log_level(level: str) -> None:
    """Log events of at least ``level`` from now on."""
    logging.getLogger().setLevel(level.upper())


def log_final_problem(problem: str) -> None:
    """Report the end of a process: as the last line of its log, or on stderr if it has no log."""
    if any(isinstance(handler, LogQueue) for handler in logging.getLogger().handlers):
        # After the lines before it, and without waiting for a blocked stderr.
        log.error("%(problem)s", {"problem": problem}, extra={"line": _problem_line(problem)})
    else:
        print_problem(problem)


def print_problem(problem: str, level: str = "ERROR") -> None:
    """Print ``scoop-server: PROBLEM`` to stderr, with a priority if that is the journal."""
    if sys.stderr is not None:  # print would use standard output instead
        print(f"{_priority(level) if is_journal() else ''}{_problem_line(problem)}", file=sys.stderr)


def _problem_line(problem: str) -> str:
    return f"scoop-server: {escaped(problem)}"


def escaped(text: str) -> str:
    r"""Return ``text`` as one line of printable ASCII; a backslash stays, because messages quote what is from outside.

    >>> print(escaped("caf\u00e9\n"))
    caf\xe9\n
    """
    return re.sub(r"[^ -~]+", lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class RepeatLimit:
    """Logs an event immediately, and similar ones within ``seconds`` as one line: the last one, with their number.

    Events are similar if they have the same template, and the same ``kind`` if one is given. ``clock`` returns seconds.
    :meth:`flush` logs what was held back, and must be called now and then.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = REPEAT_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._repeated: dict[tuple[str, str], _Repeated] = {}

    def log(
        self, level: int, template: str, fields: Fields | Callable[[], Fields], count: int = 1, kind: str = ""
    ) -> None:
        """Log an event that has happened ``count`` times, now or later; one of level debug always now.

        Costly ``fields`` can be a function, which is called only for a line that is written.
        """
        if not log.isEnabledFor(level):
            return
        if level < logging.INFO:
            log.log(level, template, _resolve(fields))
            return
        repeated = self._repeated.get((template, kind))
        if repeated is None:
            repeated = self._repeated[template, kind] = _Repeated(self._clock())
            log.log(level, template, _resolve(fields))
            count -= 1
        repeated.count += count
        repeated.level, repeated.fields = level, fields

    def flush(self, *, at_once: bool = False) -> None:
        """Log what was held back for ``seconds``, or all of it."""
        now = self._clock()
        for (template, kind), repeated in list(self._repeated.items()):
            passed = now - repeated.since
            if passed < self._seconds and not at_once:
                continue
            if not repeated.count:
                del self._repeated[template, kind]
                continue
            self._repeated[template, kind] = _Repeated(now)
            fields = {**_resolve(repeated.fields), "left_out": repeated.count - 1, "left_out_seconds": passed}
            suffix = (
                " (and %(left_out)d more like it in the last %(left_out_seconds).0f s)" if repeated.count > 1 else ""
            )
            log.log(repeated.level, template + suffix, fields)


@dataclass(slots=True)
class _Repeated:
    """The events of one kind since the last one that was logged, at ``since``."""

    since: float
    count: int = 0
    level: int = logging.NOTSET
    fields: Fields | Callable[[], Fields] = field(default_factory=dict)


def _resolve(fields: Fields | Callable[[], Fields]) -> Fields:
    return fields() if callable(fields) else fields
