"""Settings from a command line and an environment, as a start of the server reads them."""

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from scoop_server.app.plugin import IndexPlugin, find_plugins
from scoop_server.cli.parser import parse_command_line
from scoop_server.config.option_table import OptionTable
from scoop_server.config.settings import Settings
from scoop_server.config.sources import ResolvedSettings, resolve
from scoop_server.errors import ConfigurationError

TABLE: Final = OptionTable[IndexPlugin](find_plugins)
"""Every option and command of the project."""
TABLE.load_plugins()


def resolve_settings(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> ResolvedSettings:
    """Return the settings and their sources."""
    table = OptionTable[IndexPlugin](find_plugins)  # which finds them only where a start does
    return resolve(parse_command_line(arguments, table).flags, environment or {}, table)


def read_settings(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings."""
    return resolve_settings(arguments, environment).settings


def problems(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of the ConfigurationError that rejects the settings."""
    with pytest.raises(ConfigurationError) as raised:
        resolve_settings(arguments, environment)
    assert raised.value.exit_status == 2
    return [str(line) for line in raised.value.args]
