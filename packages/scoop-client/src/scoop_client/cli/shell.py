"""``scoop shell``: requests typed at a prompt with history, completion and hints, or read from a pipe."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from scoop_core import Command, Request, ScoopError, parse_request

from scoop_client.blocking import Client
from scoop_client.cli.one_shot import ping, run_requests
from scoop_client.cli.output import Output
from scoop_client.cli.status import ExitStatus
from scoop_client.errors import ConnectionFailed, ConnectionLost
from scoop_client.inputs import STDIN, lines_of, open_stdin

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.document import Document

HISTORY: Final = Path("~/.local/state/scoop/history")
"""In the directory for state of the XDG specification."""


class Usage(NamedTuple):
    """The arguments of a command of the shell, its meaning and an example."""

    arguments: str
    meaning: str
    example: str


USAGES: Final[Mapping[str, Usage]] = {
    "index": Usage("NAME [DEPENDENCY ...]", "index a package", "index isl gmp"),
    "remove": Usage("NAME ...", "remove packages", "remove isl gmp"),
    "query": Usage("NAME ...", "show whether packages are indexed", "query gmp isl"),
    "ping": Usage("", "measure the time of one request", "ping"),
    "help": Usage("[COMMAND]", "explain the commands", "help index"),
    "quit": Usage("", "leave the shell; so does Ctrl-D", "quit"),
}

_EXTRA_MISSING: Final = "the prompt needs an extra: pip install 'scoop-client[cli]'; lines can be piped in without it"


def run_shell(client: Client, output: Output) -> ExitStatus:
    """Run the lines of a prompt or a pipe; return the status of the worst, or OK after a prompt."""
    if not sys.stdin.isatty():
        return _run_lines(Shell(client, output), lines_of(open_stdin(), STDIN))
    if importlib.util.find_spec("prompt_toolkit") is None:
        output.error(_EXTRA_MISSING, ExitStatus.ERROR)
        return ExitStatus.ERROR
    client.connect()
    shell = Shell(client, output)
    output.message(f"connected to {client.address}; help explains the commands, Tab completes, Ctrl-D leaves")
    _run_lines(shell, _prompt_lines(shell, output))
    return ExitStatus.OK


def _run_lines(shell: "Shell", lines: Iterable[str]) -> ExitStatus:
    """Run lines until one of them leaves the shell; return the status of the worst."""
    worst = ExitStatus.OK
    for line in lines:
        worst = max(worst, shell.run(line))
        if shell.is_done:
            break
    return worst


class Shell:
    """The commands of the shell, and the names that have been seen."""

    def __init__(self, client: Client, output: Output) -> None:
        self._client = client
        self._output = output
        self.names: dict[str, None] = {}
        """In the order of first use; offered for completion."""
        self.is_done = False

    def run(self, line: str) -> ExitStatus:
        """Run one line: a command, or a request as in the protocol. Errors are printed."""
        try:
            return self._run(line.strip())
        except (ConnectionFailed, ConnectionLost) as error:
            return self._tell(str(error), ExitStatus.NO_CONNECTION)
        except (ScoopError, ValueError) as error:
            return self._tell(str(error), ExitStatus.ERROR)
        except KeyboardInterrupt:
            return self._tell("interrupted", ExitStatus.INTERRUPTED)

    def _tell(self, text: str, status: ExitStatus) -> ExitStatus:
        self._output.error(text, status)
        return status

    def _run(self, line: str) -> ExitStatus:
        if not line or line.startswith("#"):
            return ExitStatus.OK
        if "|" in line:
            return self._send([parse_request(line)])
        command, *words = shlex.split(line)
        match command.lower():
            case "index" if words:
                return self._send([Request.of(Command.INDEX, words[0], words[1:])])
            case ("remove" | "query") as each if words:
                return self._send([Request.of(Command(each.upper()), word) for word in words])
            case "ping" if not words:
                return ping(self._client, self._output)
            case "help":
                return self._help(words)
            case "quit" | "exit":
                self.is_done = True
                return ExitStatus.OK
            case known if known in USAGES:
                return self._tell(f"expected {known} {USAGES[known].arguments}, got {line!r}", ExitStatus.ERROR)
        hint = "scoop load sends 'name: dependency' lines" if command.endswith(":") else "help lists the commands"
        return self._tell(f"unknown command {command!r}; {hint}", ExitStatus.ERROR)

    def _send(self, requests: list[Request]) -> ExitStatus:
        for request in requests:
            self.names |= dict.fromkeys((request.package, *request.dependencies))
        return run_requests(self._client, requests, self._output)

    def _help(self, words: list[str]) -> ExitStatus:
        chosen = [word for word in words if word in USAGES] or list(USAGES)
        for command in chosen:
            usage = USAGES[command]
            syntax = f"{command} {usage.arguments}".rstrip()
            print(f"{syntax:32}{usage.meaning}\n    {usage.example}")
        if not words:
            print("INDEX|isl|gmp                   a request as in the protocol")
        return ExitStatus.OK


def _prompt_lines(shell: Shell, output: Output) -> Iterator[str]:
    """Yield the lines that a person types."""
    session = _new_session(shell, output)
    while True:
        try:
            yield session.prompt("scoop> ")
        except KeyboardInterrupt:  # as in other shells, only the line is dropped
            continue
        except EOFError:
            return


def _new_session(shell: Shell, output: Output) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession  # noqa: PLC0415  # an extra, and slow to import
    from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion  # noqa: PLC0415
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion  # noqa: PLC0415
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory  # noqa: PLC0415

    class ShellCompleter(Completer):
        def get_completions(
            self,
            document: "Document",
            complete_event: CompleteEvent,  # noqa: ARG002  # part of the interface
        ) -> Iterable[Completion]:
            word = document.get_word_before_cursor(WORD=True)
            for candidate in complete(document.text_before_cursor, shell.names):
                yield Completion(candidate, -len(word))

    class Hints(AutoSuggest):
        def get_suggestion(
            self,
            buffer: "Buffer",  # noqa: ARG002  # part of the interface
            document: "Document",
        ) -> Suggestion | None:
            text = hint(document.text)
            return Suggestion(text) if text else None

    path = HISTORY.expanduser()
    history: History
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("ab"):
            history = FileHistory(os.fspath(path))
    except OSError as error:
        output.message(f"the history ends with the shell: cannot write {path}: {(error.strerror or '').lower()}")
        history = InMemoryHistory()
    return PromptSession(
        history=history,
        completer=ShellCompleter(),
        auto_suggest=Hints(),
        complete_while_typing=False,
    )


def complete(text: str, names: Iterable[str]) -> list[str]:
    """Return the commands or names that the last word of ``text`` begins.

    >>> complete("in", ["isl"]), complete("query i", ["isl", "gmp"])
    (['index'], ['isl'])
    """
    *before, word = text.split(" ")
    candidates = USAGES if not any(before) or before[0] == "help" else names
    return [each for each in candidates if each.startswith(word)]


def hint(text: str) -> str:
    """Return the arguments that may follow ``text``, shown behind the cursor.

    >>> hint("index "), hint("index isl")
    ('NAME [DEPENDENCY ...]', '')
    """
    command, space, rest = text.partition(" ")
    usage = USAGES.get(command)
    return usage.arguments if usage and space and not rest.strip() else ""
