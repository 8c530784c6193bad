"""Sending many requests with progress, and reporting those that failed; for ``scoop load`` and ``scoop import``."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from scoop_core import Command, MissingDependencies, Request, Response, ScoopError, encode_request

from scoop_client.blocking import Client
from scoop_client.cli.one_shot import explain, find_missing
from scoop_client.cli.output import Output, counted, printable
from scoop_client.cli.status import ExitStatus

_FAILURES_SHOWN: Final = 20
"""The limit of failures on standard error; --failures lists all."""

_ANSWERS_PER_UPDATE: Final = 1_000


class FailedInput(NamedTuple):
    """A request that was not answered OK, or a text that is no request, and the reason."""

    text: str
    reason: str
    is_request: bool = True

    def __str__(self) -> str:
        """Return one line for a person."""
        text = printable(self.text)
        return f"{text}: {self.reason}" if self.reason else text

    def to_line(self) -> str:
        """Return lines that can be loaded again: the request after its reason, or only a comment."""
        if not self.is_request:
            return f"# {self.reason}: {self.text!a}\n"
        return f"# {self.reason}\n{self.text}\n" if self.reason else f"{self.text}\n"


class Transfer:
    """One run of ``scoop load`` or ``scoop import --into``."""

    def __init__(self, output: Output, failures_path: str | None) -> None:
        self._output = output
        self._failures_path = failures_path
        self._rejected: list[FailedInput] = []
        self._failed: list[tuple[Request, Response]] = []
        self._answered = 0

    def reject(self, text: str, reason: str) -> None:
        """Record an input that is no request."""
        self._rejected.append(FailedInput(text, reason, is_request=False))

    def print_requests(self, requests: Iterable[Request]) -> ExitStatus:
        """Print ``requests`` instead of sending them."""
        count = 0
        for request in requests:
            if self._output.is_json:
                names = list(request.dependencies)
                print(json.dumps({"command": request.command, "package": request.package, "dependencies": names}))
            else:
                print(encode_request(request), end="")
            count += 1
        self._report(self._rejected)
        self._output.message(f"{counted(count, 'request')} printed, {len(self._rejected):,} rejected")
        return ExitStatus.ERROR if self._rejected else ExitStatus.OK

    def send(self, client: Client, requests: Iterable[Request], what: str, total: int | None = None) -> ExitStatus:
        """Send ``requests``; report progress, failures and a summary. Ctrl-C stops cleanly."""
        status, ending = ExitStatus.OK, ""
        try:
            with self._output.progress(what, total) as progress:
                for request, response in client.stream(requests):
                    self._answered += 1
                    if not response:
                        self._failed.append((request, response))
                    if not self._answered % _ANSWERS_PER_UPDATE:
                        progress.update(self._answered, len(self._failed))
                progress.update(self._answered, len(self._failed))
        except KeyboardInterrupt:
            status, ending = ExitStatus.INTERRUPTED, "interrupted: "
        except ScoopError as error:
            status = ExitStatus.of_error(error)
            self._output.error(str(error), status)
            ending = "incomplete: "
        failures = self._rejected + [FailedInput(encode_request(each[0]).rstrip(), "") for each in self._failed]
        if status is ExitStatus.OK:
            failures = self._rejected + list(self._explain(client))
        self._report(failures)
        self._summarize(ending)
        rejected = ExitStatus.ERROR if self._rejected else ExitStatus.OK
        return max([status, rejected, *(ExitStatus.of(response) for _, response in self._failed)])

    def interrupt(self) -> ExitStatus:
        """Print the summary of a run that Ctrl-C has ended before a request was sent."""
        self._summarize("interrupted: ")
        return ExitStatus.INTERRUPTED

    def _explain(self, client: Client) -> Iterator[FailedInput]:
        """Yield the failures with reasons; all missing dependencies are found by one stream of queries."""
        dependencies = chain.from_iterable(request.dependencies for request, _ in self._failed)
        missing = set(find_missing(client, dict.fromkeys(dependencies)))
        for request, response in self._failed:
            lacking = tuple(name for name in request.dependencies if name in missing)
            if response is not Response.FAIL or request.command is not Command.INDEX:
                reason, _ = explain(client, request, response)
            elif lacking:
                reason = str(MissingDependencies(request.package, lacking)).partition(": ")[2]
            else:
                reason = "every dependency is indexed now: try again"
            yield FailedInput(encode_request(request).rstrip(), reason)

    def _report(self, failures: list[FailedInput]) -> None:
        if self._failures_path:
            with open(self._failures_path, "w", encoding="utf-8") as file:
                file.writelines(map(FailedInput.to_line, failures))
            return
        for failure in failures[:_FAILURES_SHOWN]:
            self._output.message(str(failure))
        if len(failures) > _FAILURES_SHOWN:
            self._output.message(f"and {len(failures) - _FAILURES_SHOWN:,} more; --failures FILE lists all")

    def _summarize(self, ending: str) -> None:
        failed, rejected = len(self._failed), len(self._rejected)
        value = {"answered": self._answered, "ok": self._answered - failed, "failed": failed, "rejected": rejected}
        if self._output.is_json:
            print(json.dumps(value | {"complete": not ending}))
            return
        text = (
            f"{ending}{counted(self._answered, 'request')} answered: {self._answered - failed:,} OK, {failed:,} failed"
        )
        self._output.message(f"{text}, {rejected:,} rejected" if rejected else text)
