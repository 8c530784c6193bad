"""The port of plug-ins: an index that another package brings, such as one that several servers share.

A plug-in is one object that satisfies :class:`IndexPlugin`, named by an entry point of the group
``scoop_server.indexes``. Where its options select it, the application opens its index instead of a local one, and the
commands ``check``, ``dump``, ``log`` and ``restore`` use its source. A start looks for plug-ins only for a name that
the server does not know, or for the help.
"""

import re
from argparse import ArgumentParser, _ArgumentGroup
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, TextIO

from scoop_server.config.options import Option, declared_options
from scoop_server.config.settings import OPTIONS, Settings
from scoop_server.errors import ConfigurationError
from scoop_server.ports import ClientT, FollowedIndex, OpenIndex
from scoop_server.telemetry.statistics import Meter
from scoop_server.text import closest

ENTRY_POINTS: Final = "scoop_server.indexes"

Flags = Mapping[str, str | bool | Sequence[str]]
"""The flags of a command line by the names of their options; ``config`` is among them."""

_is_of_etcd: Final = re.compile("etcd(_.*)?|reads|commit_timeout|nodes|revision").fullmatch
"""Matches the options and commands of the plug-in that the project offers."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line."""

    run: Callable[["Invocation"], int]
    """Does the work, and returns the exit status. Raises ServerError."""
    description: str
    """For the help; the first sentence is the summary."""
    has_directory: bool = False
    """True if it accepts the path of a data directory, or instead of it the options of a plug-in."""
    add_arguments: Callable[[ArgumentParser], None] | None = None
    """Adds the arguments that it has for itself."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command with its arguments."""

    command: str
    directory: str
    """The path of a data directory; empty without one."""
    flags: Flags
    """Those of options."""
    arguments: Mapping[str, object]
    """Those that only this command accepts."""
    table: "OptionTable"


class IndexSource(Protocol):
    """A stored index as the commands use it. Each method returns the exit status, and raises ServerError."""

    def check(self, out: TextIO) -> int:
        """Verify everything, report on ``out``, and change nothing."""

    def dump(self, out: BinaryIO) -> int:
        """Write the index to ``out``, as scoop_core encodes dumps."""

    def log(self, out: TextIO) -> int:
        """Print on ``out`` who changed what; :func:`scoop_server.history.print_log` prints as ``log`` does."""

    def restore(self, lines: BinaryIO) -> int:
        """Create the index that ``lines`` lead to, such as those of a dump. Nothing may be there yet."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that the application gives to an index that it opens."""

    settings: Settings
    addresses: Sequence[str]
    """Those of the listeners, which are bound."""
    access_digest: Callable[[], str]
    """Returns the digest of the access rules, which a reload may change; empty without them."""
    meter: Meter


class IndexPlugin(Protocol):
    """A kind of index, with its options and commands."""

    @property
    def options(self) -> type:
        """The dataclass that declares its options, as :class:`Settings` does. All fields have defaults."""

    @property
    def variables(self) -> Collection[str]:
        """Further environment variables with the prefix ``SCOOP_``, such as one for a password."""

    def is_selected(self, settings: Settings) -> bool:
        """Return whether the settings ask for its index."""

    def contradictions(self, settings: Settings) -> Iterator[str]:
        """Yield a line for the operator for each contradiction, as :func:`.contradictions.contradictions` does."""

    @property
    def selector(self) -> str:
        """The option that selects it, as the usage of a command shows it: ``--name VALUE``."""

    @property
    def place(self) -> str:
        """The place of its indexes, as the help calls it."""

    @property
    def commands(self) -> Mapping[str, Command]:
        """Further commands, by name."""

    def add_arguments(self, command: str, group: _ArgumentGroup) -> None:
        """Add the arguments of ``check``, ``dump``, ``log`` or ``restore`` that only this kind of index has."""

    def check(self, settings: Settings) -> None:
        """Raise ServerError if a start with ``settings`` would fail; connect to nothing."""

    def open(self, resources: Resources) -> OpenIndex[ClientT]:
        """Open the index for serving, for as long as that takes. KeyboardInterrupt may end it at any point."""

    def source(self, settings: Settings, arguments: Mapping[str, object]) -> IndexSource:
        """Return the index that ``settings`` name, for a command with ``arguments``."""

    def follow(self, settings: Settings) -> FollowedIndex:
        """Return the index that ``settings`` name, for a reader outside the server. Raises ConfigurationError."""


def find_plugins() -> Sequence[IndexPlugin]:
    """Return the plug-ins that are installed. Raises ConfigurationError if one cannot be loaded."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # takes longer than the rest of a command line

    found: list[IndexPlugin] = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found.append(entry.load())
        except ImportError as error:
            raise ConfigurationError(f"cannot load {entry.value}: {error}; install its package again") from error
    return found


class OptionTable:
    """All options by name, in the order of the help.

    ``find_plugins`` is called once, for the first name that is unknown: most starts need no plug-in, and looking for
    them takes longer than everything else that reads the settings.
    """

    def __init__(self, find_plugins: Callable[[], Sequence[IndexPlugin]] = find_plugins) -> None:
        self._find_plugins = find_plugins
        self._has_looked = False
        self._options = {option.name: option for option in OPTIONS}
        self.plugins: Sequence[IndexPlugin] = ()
        """Those found; none before :meth:`load_plugins`."""

    def __iter__(self) -> Iterator[Option]:
        return iter(self._options.values())

    def load_plugins(self) -> None:
        """Find the plug-ins, unless that has been done."""
        if self._has_looked:
            return
        self._has_looked = True
        self.plugins = self._find_plugins()
        for plugin in self.plugins:
            self._options |= {option.name: option for option in declared_options(plugin.options)}

    def find(self, name: str) -> Option | None:
        """Return the option ``name``; of a plug-in, if the server has none."""
        if name not in self._options:
            self.load_plugins()
        return self._options.get(name)

    def selected(self, settings: Settings) -> IndexPlugin | None:
        """Return the plug-in whose index the settings ask for; None for a local index."""
        return next((plugin for plugin in self.plugins if plugin.is_selected(settings)), None)

    def advice(self, name: str, known: Mapping[str, str]) -> str:
        """Return the way out for an unknown name of an option or command; empty if there is none.

        That is to install its package, or to use the name that it resembles. ``known`` maps each known name to its
        spelling in the advice.
        """
        self.load_plugins()
        if not self.plugins and _is_of_etcd(name.lstrip("-").replace("-", "_")):
            return "install it with: pip install 'scoop-server[etcd]'"
        similar = closest(name, known)
        return f"did you mean {known[similar]}?" if similar else ""
