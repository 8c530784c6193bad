"""The table of all options: those of the server, and those of plug-ins once a name asks for one."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

from scoop_server.config.options import Option, declared_options
from scoop_server.config.settings import OPTIONS, Settings

_is_of_etcd: Final = re.compile("etcd(_.*)?|reads|commit_timeout|nodes|revision").fullmatch
"""Matches the options and commands of the plug-in that the project offers."""


class OptionOwner(Protocol):
    """The settings of a plug-in."""

    @property
    def options(self) -> type:
        """The dataclass that declares its options, as :class:`Settings` does. All fields have defaults."""

    @property
    def variables(self) -> Collection[str]:
        """Further environment variables with the prefix ``SCOOP_``, such as one for a password."""

    def is_selected(self, settings: Settings) -> bool:
        """Return whether the settings ask for its index."""

    def contradictions(self, settings: Settings, sources: Mapping[str, str], flags: Collection[str]) -> Iterator[str]:
        """Yield a line for the operator for each contradiction, as :func:`.contradictions.contradictions` does."""


PluginT = TypeVar("PluginT", bound=OptionOwner)


class OptionTable(Generic[PluginT]):
    """All options by name, in the order of the help.

    ``find_plugins`` is called once, for the first name that is unknown: most starts need no plug-in, and looking for
    them takes longer than everything else that reads the settings.
    """

    def __init__(self, find_plugins: Callable[[], Sequence[PluginT]] = tuple) -> None:
        self._find_plugins = find_plugins
        self._has_looked = False
        self._options = {option.name: option for option in OPTIONS}
        self.plugins: Sequence[PluginT] = ()
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

    def selected(self, settings: Settings) -> PluginT | None:
        """Return the plug-in whose index the settings ask for; None for a local index."""
        return next((plugin for plugin in self.plugins if plugin.is_selected(settings)), None)

    def missing_package(self, name: str) -> str | None:
        """Return the advice to install the package of an option or command; None if it is unknown or installed."""
        self.load_plugins()
        is_missing = not self.plugins and _is_of_etcd(name)
        return "install it with: pip install 'scoop-server[etcd]'" if is_missing else None
