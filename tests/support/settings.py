"""Settings from a command line and an environment, as a start of the server reads them."""

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from scoop_server.app.plugin import OptionTable
from scoop_server.app.sources import resolve
from scoop_server.cli.parser import parse_command_line
from scoop_server.config.settings import Settings
from scoop_server.errors import ConfigurationError

TABLE: Final = OptionTable()
"""Every option and command of the project."""
TABLE.load_plugins()


def read_settings(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings, with their sources."""
    table = OptionTable()  # which finds plug-ins only where a start does
    return resolve(parse_command_line(arguments, table).flags, environment or {}, table)


def problems(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of the ConfigurationError that rejects the settings."""
    with pytest.raises(ConfigurationError) as raised:
        read_settings(arguments, environment)
    assert raised.value.exit_status == 2
    return [str(line) for line in raised.value.args]
