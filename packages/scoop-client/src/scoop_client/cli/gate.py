"""``scoop publish`` and ``scoop withdraw``: change the index, run a command, and undo the change unless it succeeds.

The command uploads the package to a registry, or deletes it there. It runs only after the index has allowed that, so
the registry follows the index. One run goes through these steps:

======  ======================  ===========================================  =======================================
step    if it succeeds          if it fails                                  on SIGHUP, SIGINT, SIGQUIT or SIGTERM
======  ======================  ===========================================  =======================================
ASK     was it indexed? CHANGE  no connection: NO_CONNECTION                 128 + signal: nothing has changed
CHANGE  OK: RUN                 FAIL: FAIL; ERROR: ERROR;                    UNKNOWN: it may have been changed
                                connection lost: UNKNOWN
RUN     status 0: OK            another status: UNDO, then COMMAND_FAILED;   sent on to the command, which decides;
                                killed: UNDO, then COMMAND_KILLED            if it fails: UNDO, then 128 + signal
UNDO    the status of RUN       FAIL, ERROR, connection lost, or the former  ignored: the step takes no longer than
                                dependencies are unknown: NOT_UNDONE         the time-outs of the client
======  ======================  ===========================================  =======================================

Each end is one line and one exit status. A change is sent again after a broken connection, as a person would repeat
it: the result is the same unless somebody else changes the same package meanwhile. So nobody may run two of these
commands for one package at the same time. A SIGKILL of ``scoop`` itself leaves the change without an end; the line that
is printed before RUN shows it.
"""

import contextlib
import enum
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, NamedTuple

from scoop_core import Command, DependencyGraph, Request, Response

from scoop_client.blocking import Client
from scoop_client.cli.one_shot import explain, find_missing
from scoop_client.cli.output import JsonValue, Output, printable, shortened
from scoop_client.cli.settings import Settings, UsageError
from scoop_client.cli.status import ExitStatus
from scoop_client.cli.streams import discard
from scoop_client.ecosystems.artifacts import Artifact, read_artifact
from scoop_client.errors import ClientError, ConnectionFailed, ConnectionLost
from scoop_client.inputs import read_graph
from scoop_client.link import describe

_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class _Step(enum.Enum):
    ASK = enum.auto()
    CHANGE = enum.auto()
    RUN = enum.auto()
    UNDO = enum.auto()
    """Also the way from a refusal to the end, where there is nothing to undo."""


class _Interrupted(KeyboardInterrupt):
    """A signal in a step that ends with it."""

    def __init__(self, step: _Step, number: signal.Signals) -> None:
        super().__init__(step, number)
        self.step = step
        self.number = number


class _Signals:
    """The signals during one run. One that was ignored stays ignored, as under nohup."""

    def __init__(self) -> None:
        self.step = _Step.ASK
        self.received: signal.Signals | None = None
        """The last one in RUN."""
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals as the step requires, until the end of the block."""
        former = {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) != signal.SIG_IGN}
        try:
            for number in former:
                signal.signal(number, self._handle)
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.step is _Step.UNDO:
            return
        if self.step is not _Step.RUN:
            step, self.step = self.step, _Step.UNDO  # a second signal must not interrupt the way to the end
            raise _Interrupted(step, signal.Signals(number))
        self.received = signal.Signals(number)
        if self._process is not None and not _is_from_terminal(number):
            self._process.send_signal(number)

    def run(self, command: Sequence[str], output: Output) -> int:
        """Return the exit status of ``command``, or below 0 the signal that killed it. Raises OSError."""
        # With --json, standard output is for the result.
        self._process = subprocess.Popen(command, stdout=2 if output.is_json else None)  # noqa: S603  # as was asked
        if self.received is not None:  # before there was a process
            self._process.send_signal(self.received)
        return self._process.wait()


def _is_from_terminal(number: int) -> bool:
    """Return whether a terminal has sent the signal, which sends it to the command as well.

    Sent twice, it would end a program that waits for its work to finish after the first.
    """
    if number not in (signal.SIGINT, signal.SIGQUIT):
        return False
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # there is no terminal
        return False


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


class _End(NamedTuple):
    status: ExitStatus
    text: str
    """The line, without the package."""
    response: Response | None = None
    """The response that decided, if the command did not."""
    missing: tuple[str, ...] = ()
    """The dependencies that are not indexed."""


@dataclass(slots=True, kw_only=True)
class Gate:
    """One run for one package."""

    client: Client
    change: Request
    command: Sequence[str]
    """The program with its arguments."""
    output: Output
    former: Sequence[str] | None
    """The dependencies before the change, or None if they are unknown."""
    index: DependencyGraph | None = None
    """The index as a source knows it, to name dependents."""
    artifact: Artifact | None = None
    """The file with the dependencies of the package, which replace those of ``change`` or ``former``."""

    def run(self) -> ExitStatus:
        """Go through the steps, print the line of the end, and return its status."""
        signals = _Signals()
        with signals.handled():
            try:
                end = self._ask(signals)
            except _Interrupted as interrupted:
                end = self._interrupted(interrupted)
            self._print(end)
        return end.status

    def _ask(self, signals: _Signals) -> _End:
        """Make the change, and run the command if it is answered OK."""
        try:
            if self.artifact is not None:
                self._read(self.artifact)
            was_indexed = bool(self.client.query(self.change.package))
            signals.step = _Step.CHANGE
            response = self.client.send(self.change)
            if response is Response.OK:
                signals.step = _Step.RUN
                return self._run(signals, was_indexed=was_indexed)
        except (ConnectionFailed, ConnectionLost) as error:
            step, signals.step = signals.step, _Step.UNDO
            if step is _Step.ASK or isinstance(error, ConnectionFailed):
                return _End(ExitStatus.NO_CONNECTION, f"{error}; nothing has changed")
            return self._unknown(str(error.with_unanswered(())))
        signals.step = _Step.UNDO
        return self._refused(response)

    def _read(self, artifact: Artifact) -> None:
        """Choose the dependencies among the alternatives of the file."""
        names = artifact.names()
        chosen = artifact.choose(set(names).difference(find_missing(self.client, names)))
        if self.change.command is Command.INDEX:
            self.change = Request.of(Command.INDEX, artifact.package, chosen)
        else:
            self.former = chosen

    def _interrupted(self, interrupted: _Interrupted) -> _End:
        reason = f"ended by {interrupted.number.name}"
        if interrupted.step is _Step.ASK:
            return _End(ExitStatus.of_signal(interrupted.number), f"{reason}; nothing has changed")
        return self._unknown(reason)

    def _unknown(self, reason: str) -> _End:
        text = f"{reason}; outcome unknown: it may be {self._changed}; {self._program} was not run; repeat this command"
        return _End(ExitStatus.UNKNOWN, text)

    def _refused(self, response: Response) -> _End:
        """Return the end after a FAIL or an ERROR."""
        reason, missing = "", tuple[str, ...]()
        with contextlib.suppress(ClientError):  # the response counts, also without its reason
            reason, missing = explain(self.client, self.change, response)
        if response is Response.FAIL and (dependents := self._dependents()):
            reason = f"{shortened(dependents)} {'depends' if len(dependents) == 1 else 'depend'} on it"
        text = f"{reason}; {self._program} was not run" if reason else f"{self._program} was not run"
        return _End(ExitStatus.of(response), text, response, missing)

    def _dependents(self) -> tuple[str, ...]:
        package, index = self.change.package, self.index
        if self.change.command is Command.INDEX or index is None or package not in index:
            return ()
        return index.blocking_dependents(package)

    def _run(self, signals: _Signals, *, was_indexed: bool) -> _End:
        """Run the command, and undo the change unless it succeeds."""
        self.output.message(f"{self.change.package}: {self._changed}; running {self._program}")
        status = ExitStatus.COMMAND_FAILED
        try:
            returned = signals.run(self.command, self.output)
        except OSError as error:
            reason = f"cannot run {self._program}: {describe(error)}"
        else:
            if returned == 0:
                return _End(ExitStatus.OK, f"{self._program} exited with status 0", Response.OK)
            if returned < 0:
                status = ExitStatus.COMMAND_KILLED
                reason = f"{self._program} was killed by {_name(-returned)}: check the registry"
            else:
                reason = f"{self._program} exited with status {returned}"
        signals.step = _Step.UNDO
        if signals.received is not None:
            status, reason = ExitStatus.of_signal(signals.received), f"ended by {signals.received.name}: {reason}"
        problem = self._undo(was_indexed=was_indexed)
        return _End(ExitStatus.NOT_UNDONE if problem else status, f"{reason}; {problem or 'the index is as before'}")

    def _undo(self, *, was_indexed: bool) -> str:
        """Undo the change; return what is not as before, or an empty text."""
        is_publish, is_known = self.change.command is Command.INDEX, self.former is not None
        if is_publish and was_indexed and not is_known:
            return "it stays indexed, because its former dependencies are unknown; --from would name them"
        undo = self._undo_requests(was_indexed=was_indexed)
        state, reason = f"it stays {self._changed}", ""
        try:
            for request in undo:
                response = self.client.send(request)
                if response is not Response.OK:
                    reason = f"{response}: {explain(self.client, request, response)[0]}"
                    break
        except ConnectionLost as error:
            state, reason = f"outcome unknown: it may stay {self._changed}", str(error.with_unanswered(()))
        except ConnectionFailed as error:
            reason = str(error)
        if reason:
            by_hand = " ".join(["scoop", undo[-1].command.lower(), undo[-1].package, *undo[-1].dependencies])
            return f"{state}: {reason}; to undo it: {by_hand}"
        if undo and not is_publish and not is_known:
            return "it is indexed again without its dependencies, which are unknown; --needs would name them"
        return ""

    def _undo_requests(self, *, was_indexed: bool) -> list[Request]:
        package = self.change.package
        if self.change.command is Command.INDEX and not was_indexed:
            return [Request.of(Command.REMOVE, package)]
        if not was_indexed:
            return []
        former = Request.of(Command.INDEX, package, self.former or ())
        if self.change.command is Command.REMOVE and package in former.dependencies:
            # Only an indexed package can depend on itself.
            return [Request.of(Command.INDEX, package, [name for name in self.former or () if name != package]), former]
        return [former]

    @property
    def _changed(self) -> str:
        return "indexed" if self.change.command is Command.INDEX else "removed"

    @property
    def _program(self) -> str:
        return printable(self.command[0])

    def _print(self, end: _End) -> None:
        package = self.change.package
        if end.response is None:
            self.output.error(f"{package}: {end.text}", end.status)
            return
        text = f"{package} {end.response}: {end.text}"
        value: dict[str, JsonValue] = {"command": str(self.change.command), "package": package}
        if self.change.command is Command.INDEX:
            value["dependencies"] = list(self.change.dependencies)
        value |= {"response": str(end.response), "reason": end.text}
        if end.missing:
            value["missing"] = list(end.missing)
        try:
            self.output.result(text, value)
            sys.stdout.flush()
        except OSError:  # nobody reads the line; the exit status reports the end
            discard(sys.stdout)
            self.output.message(text)


def run_gate(
    command: Command,
    package: str | None,
    needs: Sequence[str] | None,
    file: str | None,
    program: Sequence[str],
    settings: Settings,
    output: Output,
) -> ExitStatus:
    """Index or remove a package, which may be read from ``file``, then run ``program``."""
    if (package is None) == (file is None) or (file is not None and needs is not None):
        raise UsageError("expected PACKAGE, with or without --needs, or --artifact")
    artifact = read_artifact(file) if file is not None else None
    name = artifact.package if artifact else package or ""
    # The default source is not used: it may belong to another server than the one that is asked.
    index = read_graph(settings.data, settings.form) if "data" in settings.sources else None
    known = index.dependencies(name) if index is not None and name in index else None
    is_publish = command is Command.INDEX
    with settings.new_client(resend_changes=True) as client:
        return Gate(
            client=client,
            change=Request.of(command, name, needs or () if is_publish else ()),
            command=program,
            output=output,
            former=known if is_publish or needs is None else needs,
            index=index,
            artifact=artifact,
        ).run()
