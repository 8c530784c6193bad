"""The changes of an index, oldest first: read, followed and printed; and the moments that commands accept."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Final, TextIO, TypeAlias

from scoop_core import BEGINNING, END, LoggedBatch, LoggedChange, Moment, Position

from scoop_server.errors import ConfigurationError, DataDirectoryError, HistoryGoneError
from scoop_server.storage.trail import open_trail

Read: TypeAlias = Callable[[Moment, Moment, Callable[[], None] | None], Iterable[LoggedBatch]]
"""Reads batches since a moment and until another; with a function that waits, it then follows new ones without end."""

POLL_SECONDS: Final = 0.25
"""The interval at which new changes are looked for."""

_PAUSE: Final = partial(time.sleep, POLL_SECONDS)


def batches(path: str, since: Moment = BEGINNING, until: Moment = END) -> Iterator[LoggedBatch]:
    """Yield the batches in a directory after the number or from the time of ``since``, up to ``until``, oldest first.

    Raises HistoryGoneError if some of them are missing, DataDirectoryError if the directory cannot be read.
    """
    with open_trail(path) as trail:
        found = trail.batches(since)
        yield from found if until == END else takewhile(lambda batch: until.includes(batch.seal), found)


def follow(path: str, since: Moment = BEGINNING, wait: Callable[[], None] = _PAUSE) -> Iterator[LoggedBatch]:
    """Yield the batches in a directory as :func:`batches` does, and then new ones, without end.

    A batch is yielded once it is on disk, and none is left out: HistoryGoneError is raised instead. ``wait`` is called
    when there is no further batch.
    """
    position: Position | None = None
    problem = ""
    while True:
        try:
            with open_trail(path) as trail:  # opened each time: another directory may be at the path
                for batch in trail.batches(since, after=position):
                    position = trail.position
                    yield batch
                position, problem = trail.position, ""
            if position is None and since == END:
                since = BEGINNING  # of a directory that was still empty
        except DataDirectoryError as error:
            # A rotation or a write in progress can look like damage once.
            if isinstance(error, HistoryGoneError) or str(error) == problem:
                raise
            problem = str(error)
        wait()


def log(path: str, arguments: Mapping[str, object], out: TextIO) -> int:
    """Print the changes in a directory, as the arguments of the command ask for; return the exit status 0."""

    def read(since: Moment, until: Moment, wait: Callable[[], None] | None) -> Iterable[LoggedBatch]:
        return batches(path, since, until) if wait is None else follow(path, since, wait)

    return print_log(read, arguments, out)


def print_log(read: Read, arguments: Mapping[str, object], out: TextIO) -> int:
    """Print the changes that ``read`` returns, as the arguments of the command ask for; return the exit status 0."""
    since = parse_moment(str(arguments["since"])) if "since" in arguments else BEGINNING
    until = parse_moment(str(arguments["until"])) if "until" in arguments else END
    if "follow" in arguments and "until" in arguments:
        raise ConfigurationError("expected --until or --follow, got both")

    def wait() -> None:
        out.flush()
        _PAUSE()

    selection = [None if (given := arguments.get(name)) is None else str(given) for name in ("package", "identity")]
    encode = LoggedChange.to_json if "json" in arguments else str
    for batch in read(since, until, wait if "follow" in arguments else None):
        if changes := batch.changes(*selection):  # most batches of a long history have none
            out.writelines(f"{encode(change)}\n" for change in changes)
    return 0


def parse_moment(text: str) -> Moment:
    """Return the moment that ``text`` names, as :meth:`Moment.parse` reads it. Raises ConfigurationError.

    >>> parse_moment("17"), parse_moment("1970-01-01T00:00:01Z")
    (Moment(batch=17, time=None), Moment(batch=None, time=1000))
    """
    try:
        return Moment.parse(text, time.time())
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
