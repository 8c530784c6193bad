"""The requests in the log: each of them in the access log, and the reasons of those answered ERROR."""

import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import Final, Protocol

from scoop_core import MalformedRequest, parse_request, rejection_reason

from scoop_server.telemetry.logs import Fields, RepeatLimit, access_log, log

REQUEST_CHARACTERS_MAX: Final = 1_000
"""Characters of a request in a log line: nearly every request is shorter, and a flood of the longest stays readable."""

_NOTHING_KEPT: Final = "an empty line, or one longer than --max-line"
"""The description of a line without text; the connection keeps no text of a line over the limit."""


_ERRORS_EXAMINED_MAX: Final = 1_000
"""Requests answered ERROR whose reasons are found out between two ticks, about a second: 2 µs each. More are only
counted, so that a flood of them costs little."""


class LoggedPeer(Protocol):
    """The other end of a connection, as the log knows it."""

    @property
    def fields(self) -> Fields:
        """Its name and identity, as fields of an event."""

    role: str


class RequestLog:
    """Logs requests; those answered ERROR within ``limit``, which each reason has for itself."""

    def __init__(self, limit: RepeatLimit) -> None:
        self._limit = limit
        self._examined = 0
        self.logs_all: Final = access_log.isEnabledFor(logging.INFO)
        """True if the access log is on."""

    def tick(self) -> None:
        """Let the next errors be examined."""
        self._examined = 0

    def log(self, responses: Iterable[tuple[LoggedPeer, str, str]]) -> None:
        """Log the requests of a turn, if the access log is on, and the reasons of errors."""
        for peer, lines, answers in responses:
            if self.logs_all:
                _log_requests(peer, lines, answers)
            if (errors := answers.count("E")) and log.isEnabledFor(logging.INFO):  # only ERROR has this letter
                self._log_errors(peer, lines, answers, errors)

    def _log_errors(self, peer: LoggedPeer, lines: str, answers: str, errors: int) -> None:
        if self._examined >= _ERRORS_EXAMINED_MAX:
            self._limit.log(
                logging.INFO, "answered ERROR to %(peer)s for reasons that were not examined", peer.fields, errors
            )
            return
        self._examined += errors
        for line, answer in zip(lines.split("\n"), answers.split("\n"), strict=False):
            if answer == "ERROR":
                reason = _error_reason(line, peer.role)
                self._limit.log(
                    logging.INFO,
                    'answered ERROR to %(peer)s: %(reason)s: "%(request)s"',
                    partial(_error_fields, peer, reason, line),
                    kind=re.sub("'.*'|[0-9]", "", reason),  # without what differs from line to line
                )


def _log_requests(peer: LoggedPeer, lines: str, answers: str) -> None:
    fields = peer.fields
    for line, answer in zip(lines.split("\n"), answers.split(), strict=False):  # nothing follows the last newline
        request = _shortened(line) if line else _NOTHING_KEPT
        access_log.info("%(peer)s %(response)s %(request)s", {**fields, "response": answer, "request": request})


def _error_fields(peer: LoggedPeer, reason: str, line: str) -> Fields:
    return {**peer.fields, "reason": reason, "request": _shortened(line)}


def _error_reason(line: str, role: str) -> str:
    if not line:
        return _NOTHING_KEPT
    if reason := rejection_reason(line, role):
        return reason
    try:
        parse_request(line)
    except MalformedRequest as error:
        return error.reason
    return "the request was rejected"


def _shortened(request: str) -> str:
    if len(request) <= REQUEST_CHARACTERS_MAX:
        return request
    return f"{request[:REQUEST_CHARACTERS_MAX]}... ({len(request):,} characters)"
