"""A server with one planted fault, which a campaign must find.

Run as ``python tests/support/unsound_server.py FAULT ARGUMENTS``. The faults are in the index, the store and the file
system that the server is given.
"""

import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast
from unittest.mock import patch

from scoop_core import Authors, Changes

from scoop_server.app import application, stored_index
from scoop_server.app.stored_index import load_index
from scoop_server.cli import main as command_line
from scoop_server.loop.client import Client
from scoop_server.loop.clients import Clients
from scoop_server.ports import OpenIndex, Request, Response
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OPERATING_SYSTEM, FileSystem
from scoop_server.storage.store import JournalStore

Execute = Callable[[Sequence[Request[Client]]], Sequence[Response[Client]]]

_LEAK_BYTES: Final = 200_000
_FIRST_CLIENTS: Final = 10
"""More clients than have sent a request when a soak starts to measure."""
_SLOWEST_SECONDS: Final = 1.0
_SLOWEST_AFTER_SECONDS: Final = 4.0


class Delegate:
    """A proxy of another object, of which a subclass or a caller replaces methods."""

    def __init__(self, target: object, **replaced: object) -> None:
        self._target = target
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def plant_execute(make_execute: Callable[[Execute], Execute]) -> None:
    """Serve by the ``execute`` of an index that is made of the sound one."""

    def load(*arguments: Any) -> OpenIndex[Client]:
        sound = load_index(*arguments)
        return cast("OpenIndex[Client]", Delegate(sound, execute=make_execute(sound.execute)))

    patch.object(application, "load_index", load).start()


def plant_commit(commit: Callable[[Callable[[Changes], None], Changes], None], **replaced: object) -> None:
    """Commit by a function that is given the sound commit and the changes."""

    def make_unsound(*arguments: Any, **options: Any) -> JournalStore:
        sound = JournalStore(*arguments, **options)

        def commit_unsound(changes: Changes, _authors: Authors = ()) -> None:  # they may not fit what is left
            commit(sound.commit, changes)

        return cast("JournalStore", Delegate(sound, commit=commit_unsound, **replaced))

    patch.object(stored_index, "JournalStore", make_unsound).start()


def _call_per_client(do: Callable[[], object]) -> None:
    """Call ``do`` at the first request of each client."""

    def make(execute: Execute) -> Execute:
        known: set[str] = set()

        def execute_and_more(requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
            for client, _ in requests:
                if client.peer.name not in known:
                    known.add(client.peer.name)
                    do()
            return execute(requests)

        return execute_and_more

    plant_execute(make)


def _change_answers(change: Callable[[str, str], str]) -> None:
    """Answer by a function of the lines and their right responses."""

    def make(execute: Execute) -> Execute:
        return lambda requests: [
            (client, lines, answers and change(lines, answers)) for client, lines, answers in execute(requests)
        ]

    plant_execute(make)


# Faults that show over time


def leak_descriptors() -> None:
    """Leak a descriptor per client."""
    _call_per_client(lambda: os.open(os.devnull, os.O_RDONLY))


def leak_memory() -> None:
    """Leak memory per client."""
    kept: list[bytearray] = []
    _call_per_client(lambda: kept.append(bytearray(os.urandom(1)) * _LEAK_BYTES))


def leak_threads() -> None:
    """Leak a thread per client."""
    forever = threading.Event()
    _call_per_client(lambda: threading.Thread(target=forever.wait, daemon=True).start())


def slow_down() -> None:
    """Delay changes more and more."""

    def make(execute: Execute) -> Execute:
        first_seen: dict[str, float] = {}

        def execute_late(requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
            for client, lines in requests:
                first_seen.setdefault(client.peer.name, time.monotonic())
                if len(first_seen) > _FIRST_CLIENTS and not lines.startswith("QUERY"):
                    started = list(first_seen.values())[_FIRST_CLIENTS]
                    share = (time.monotonic() - started) / _SLOWEST_AFTER_SECONDS
                    time.sleep(_SLOWEST_SECONDS * min(1.0, share) ** 3)
                    break
            return execute(requests)

        return execute_late

    plant_execute(make)


def miscount() -> None:
    """Count one connection too many after each disconnect."""

    def make(execute: Execute) -> Execute:
        close = Clients.close

        def close_and_miscount(self: Clients, *arguments: Any, **options: Any) -> None:
            close(self, *arguments, **options)
            self._context.statistics.connections_now += 1

        patch.object(Clients, "close", close_and_miscount).start()
        return execute

    plant_execute(make)


def answer_wrongly_at_times() -> None:
    """Answer FAIL instead of OK to one batch in a hundred."""
    count = itertools.count(1)
    _change_answers(lambda _, answers: answers if next(count) % 100 else answers.replace("OK", "FAIL"))


def forget() -> None:
    """Write only the first changes to the journal, and no snapshot."""
    count = itertools.count(1)

    def commit(sound: Callable[[Changes], None], changes: Changes) -> None:
        if next(count) < 100:
            sound(changes)

    plant_commit(commit, save=lambda *_: None)


# Faults that some input shows


def die() -> None:
    """End with a traceback on a zero byte."""

    def look(lines: str, answers: str) -> str:
        if "\0" in lines:
            raise RuntimeError("a zero byte")
        return answers

    _change_answers(look)


def answer_empty_lines_wrongly() -> None:
    """Answer FAIL instead of ERROR in a batch with an empty line."""
    _change_answers(lambda lines, answers: answers.replace("ERROR", "FAIL") if "\n\n" in lines else answers)


def disturb_others() -> None:
    """Disconnect a client because the one before it has sent a zero byte."""

    def make(execute: Execute) -> Execute:
        sender: list[str] = []

        def execute_or_disconnect(requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
            responses: list[Response[Client]] = []
            for client, lines, answers in execute(requests):
                is_disturbed = sender and sender[0] != client.peer.name
                responses.append((client, lines, None if is_disturbed else answers))
                sender[:] = [client.peer.name] if "\0" in lines else []
            return responses

        return execute_or_disconnect

    plant_execute(make)


def skip_removals() -> None:
    """Leave removals out of the journal."""

    def commit(sound: Callable[[Changes], None], changes: Changes) -> None:
        changes.lines[:] = [line for line in changes.lines if not line.startswith("REMOVE")]
        if changes.lines:
            sound(changes)

    plant_commit(commit)


# Faults that a kill shows


def hold_batches_back() -> None:
    """Commit a batch only when the next one comes, as a buffer between the server and the system would."""
    held_back: list[list[str]] = []

    def commit(sound: Callable[[Changes], None], changes: Changes) -> None:
        held_back.append(list(changes.lines))
        if len(held_back) > 1:
            changes.lines[:] = held_back.pop(0)
            sound(changes)

    plant_commit(commit)


def delete_early() -> None:
    """Delete the old generations when a journal is created instead of when a compaction is complete."""

    def open_and_delete(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        created = re.match(r"journal-(\d+)", path)
        if created and flags & os.O_CREAT and dir_fd is not None:
            for name in OPERATING_SYSTEM.listdir(dir_fd):
                other = re.fullmatch(r"(?:journal|snapshot)-(\d+)", name)
                if other and int(other[1]) < int(created[1]):
                    OPERATING_SYSTEM.unlink(name, dir_fd=dir_fd)
        return OPERATING_SYSTEM.open(path, flags, mode, dir_fd=dir_fd)

    files = cast("FileSystem", Delegate(OPERATING_SYSTEM, open=open_and_delete))
    patch.object(DataDirectory, "lock", partial(DataDirectory.lock, files=files)).start()


FAULTS: Final[dict[str, Callable[[], None]]] = {
    plant.__name__.replace("_", "-"): plant
    for plant in (
        leak_descriptors,
        leak_memory,
        leak_threads,
        slow_down,
        miscount,
        answer_wrongly_at_times,
        forget,
        die,
        answer_empty_lines_wrongly,
        disturb_others,
        skip_removals,
        hold_batches_back,
        delete_early,
    )
}


def command(fault: str) -> list[str]:
    """Return the command of the server with ``fault``."""
    return [sys.executable, __file__, fault]


if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.exit(command_line.main(sys.argv[2:]))
