"""The sources of settings. Precedence: flags, environment variables, the configuration file, defaults."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final

from scoop_server.app.plugin import Flags, OptionTable
from scoop_server.config.contradictions import contradictions
from scoop_server.config.limits import Limits
from scoop_server.config.options import Option
from scoop_server.config.settings import Settings
from scoop_server.config.toml_file import ConfigurationFile, read_configuration_file
from scoop_server.errors import ConfigurationError

CONFIG_VARIABLE: Final = "SCOOP_CONFIG"
"""The environment variable for ``--config``."""

_VARIABLE_PREFIX: Final = "SCOOP_"

_CLIENT_PREFIX: Final = "SCOOP_CLIENT_"
"""The prefix of the variables of the client."""

_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "SCOOP_SERVER"})
"""Variables with the prefix that are no options. SCOOP_SERVER names the server for programs that start or use one."""


def resolve(flags: Flags, environment: Mapping[str, str], table: OptionTable) -> Settings:
    """Return the settings that flags, environment and configuration file specify.

    Raises ConfigurationError with all problems that were found.
    """
    resolution = _Resolution(table)
    path = flags["config"] if "config" in flags else environment.get(CONFIG_VARIABLE) or None
    if path is not None:
        resolution.add_file(read_configuration_file(str(path)))
    resolution.add_variables(environment, flags)
    resolution.add_flags(flags)
    if resolution.problems:
        raise ConfigurationError(*resolution.problems)
    settings = resolution.settings()
    problems = list(contradictions(settings))
    for plugin in table.plugins:
        problems += plugin.contradictions(settings)
    if problems:
        raise ConfigurationError(*problems)
    return settings


class _Resolution:
    """The values found so far. A later source overrides an earlier one."""

    def __init__(self, table: OptionTable) -> None:
        self.values: dict[Option, object] = {}
        self.sources: dict[str, str] = {}
        """By the names of the options."""
        self.problems: list[str] = []
        self._table = table

    def add_file(self, file: ConfigurationFile) -> None:
        keys: dict[str, str] = {}
        for key, value in file.values.items():
            place, name = file.place_of(key), key.replace("-", "_")
            option = self._table.find(name)
            if option is None:
                advice = self._table.advice(name, {each.name: each.name for each in self._table}) or "remove it"
                self.problems.append(f"{place}: unknown setting {key!r}; {advice}")
            elif name in keys:
                self.problems.append(f"{place}: {key} repeats {keys[name]}; remove one of them")
            else:
                keys[name] = key
                self._set(option, value, place, f"{place}: {key}", is_toml=True)

    def add_variables(self, environment: Mapping[str, str], flags: Flags) -> None:
        for variable in sorted(environment.keys() - _OTHER_VARIABLES):
            if not variable.startswith(_VARIABLE_PREFIX) or variable.startswith(_CLIENT_PREFIX):
                continue
            name = variable.removeprefix(_VARIABLE_PREFIX).lower()
            option = self._table.find(name)
            if option is None or option.variable != variable:
                if not any(variable in plugin.variables for plugin in self._table.plugins):
                    advice = self._table.advice(name, {each.name: each.variable for each in self._table}) or "unset it"
                    self.problems.append(f"unknown variable {variable}; {advice}")
            # An empty variable counts as unset: compose files and units can set one to nothing, but not remove it.
            # One that a flag overrides is not parsed, so that the flag can replace an invalid value.
            elif environment[variable] and name not in flags:
                self._set(option, environment[variable], f"variable {variable}", variable)

    def add_flags(self, flags: Flags) -> None:
        for option in self._table:
            if option.name in flags:
                self._set(option, flags[option.name], f"flag {option.flag}", option.flag)

    def settings(self) -> Settings:
        """Return the settings with the values found."""
        by_owner: defaultdict[type, dict[str, object]] = defaultdict(dict)
        for option, value in self.values.items():
            by_owner[option.owner][option.attribute] = value
        # Each value comes from the parser of its own option, whose type is that of the field.
        new_settings: Callable[..., Settings] = Settings
        own = by_owner.pop(Settings, {})
        parts = {owner: owner(**fields) for owner, fields in by_owner.items()}
        limits = parts.pop(Limits, Limits())
        # Without those that hold only defaults, so that equal settings compare equal.
        parts = {owner: part for owner, part in parts.items() if part != owner()}
        return new_settings(**own, limits=limits, parts=parts, sources=self.sources)

    def _set(self, option: Option, given: object, source: str, place: str, *, is_toml: bool = False) -> None:
        try:
            self.values[option] = _parse(option, _as_given_by_flag(option, given) if is_toml else given)
        except ValueError as error:
            self.problems.append(f"{place}: {error}")
        self.sources[option.name] = source


def _parse(option: Option, given: object) -> object:
    """Return the value that a source gives. Raises ValueError with "expected A, got B"."""
    match given:
        case bool(value):
            return value
        case str(text) if option.is_repeatable:
            return _parse(option, [each for each in re.split(r"[,\s]+", text) if each])
        case str(text):
            return option.kind.parse(text)
        case [_, *_] as texts:
            return tuple(option.kind.parse(str(text)) for text in texts)
    raise ValueError("expected at least one value, got none")


def _as_given_by_flag(option: Option, value: object) -> object:
    """Return a TOML value as a flag would have it. Raises ValueError where it has the wrong type."""
    types, expected = _toml_types(option)
    has_other_items = isinstance(value, list) and not all(isinstance(item, str) for item in value)
    if type(value) not in types or has_other_items:
        raise ValueError(f"expected {expected}, got {value!r:.80}")
    if isinstance(value, (bool, list)):
        return value
    try:
        return str(value)
    except ValueError:  # a hexadecimal number may have more digits than Python prints
        raise ValueError("expected a number with fewer digits") from None


def _toml_types(option: Option) -> tuple[Collection[type], str]:
    """Return the types of TOML that the option may have, and how an error calls them."""
    match option.default:
        case bool():
            return {bool}, "true or false"
        case int() | float() if option.has_units:
            return {int, float, str}, "a number, or a string with a number and its unit"
        case int() | float():
            return {int, float}, "a number"
        case tuple():
            return {list}, "an array of strings"
        case _:
            return {str}, "a string"
