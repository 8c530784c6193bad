"""The sources of settings. Precedence: flags, environment variables, the configuration file, defaults."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoop_server.config.contradictions import contradictions
from scoop_server.config.limits import Limits
from scoop_server.config.options import Option
from scoop_server.config.replication import Replication
from scoop_server.config.settings import OPTION, OPTIONS, Settings
from scoop_server.config.toml_file import ConfigurationFile, read_configuration_file
from scoop_server.errors import ConfigurationError
from scoop_server.text import closest

CONFIG_VARIABLE: Final = "SCOOP_CONFIG"
"""The environment variable for ``--config``."""

_VARIABLE_PREFIX: Final = "SCOOP_"

_CLIENT_PREFIX: Final = "SCOOP_CLIENT_"
"""The prefix of the variables of the client."""

PASSWORD_VARIABLE: Final = "SCOOP_ETCD_PASSWORD"  # noqa: S105  # the name of one
"""The environment variable for the password of ``--etcd-user``. It is no option, so that nothing prints it."""

_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, PASSWORD_VARIABLE, "SCOOP_SERVER"})
"""Variables with the prefix that are no options. SCOOP_SERVER names the server for programs that start or use one."""

Flags = Mapping[str, str | bool | Sequence[str]]
"""The flags of a command line by the names of their options; ``config`` is among them."""


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Settings, and the source of each."""

    settings: Settings
    sources: Mapping[str, str]
    """By the name of the option: ``flag --port``, ``variable SCOOP_PORT``, ``scoop.toml line 3`` or ``default``."""


def resolve(flags: Flags, environment: Mapping[str, str]) -> ResolvedSettings:
    """Return the settings that flags, environment and configuration file specify.

    Raises ConfigurationError with all problems that were found.
    """
    resolution = _Resolution()
    path = flags["config"] if "config" in flags else environment.get(CONFIG_VARIABLE) or None
    if path is not None:
        resolution.add_file(read_configuration_file(str(path)))
    resolution.add_variables(environment, flags)
    resolution.add_flags(flags)
    if resolution.problems:
        raise ConfigurationError(*resolution.problems)
    resolved = ResolvedSettings(_build(resolution.values), resolution.sources)
    if problems := list(contradictions(resolved.settings, resolved.sources, flags)):
        raise ConfigurationError(*problems)
    return resolved


class _Resolution:
    """The values found so far. A later source overrides an earlier one."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        """By the paths of the options."""
        self.sources = dict.fromkeys(OPTION, "default")
        self.problems: list[str] = []

    def add_file(self, file: ConfigurationFile) -> None:
        keys: dict[str, str] = {}
        for key, value in file.values.items():
            place, name = file.place_of(key), key.replace("-", "_")
            option = OPTION.get(name)
            if option is None:
                similar = closest(name, OPTION)
                self.problems.append(
                    f"{place}: unknown setting {key!r}; {f'did you mean {similar}?' if similar else 'remove it'}"
                )
            elif name in keys:
                self.problems.append(f"{place}: {key} repeats {keys[name]}; remove one of them")
            else:
                keys[name] = key
                with self._problems_at(f"{place}: {key}"):
                    self._set(option, _check_toml_type(option, value), place)

    def add_variables(self, environment: Mapping[str, str], flags: Flags) -> None:
        for variable in sorted(environment.keys() - _OTHER_VARIABLES):
            if not variable.startswith(_VARIABLE_PREFIX) or variable.startswith(_CLIENT_PREFIX):
                continue
            name = variable.removeprefix(_VARIABLE_PREFIX).lower()
            option = OPTION.get(name)
            if option is None or option.variable != variable:
                similar = closest(name, OPTION)
                way_out = f"did you mean {OPTION[similar].variable}?" if similar else "unset it"
                self.problems.append(f"unknown variable {variable}; {way_out}")
            # An empty variable counts as unset: compose files and units can set one to nothing, but not remove it.
            # One that a flag overrides is not parsed, so that the flag can replace an invalid value.
            elif environment[variable] and name not in flags:
                with self._problems_at(variable):
                    self._set(option, environment[variable], f"variable {variable}")

    def add_flags(self, flags: Flags) -> None:
        for option in OPTIONS:
            if option.name in flags:
                with self._problems_at(option.flag):
                    self._set(option, flags[option.name], f"flag {option.flag}")

    def _set(self, option: Option, given: str | bool | Sequence[str], source: str) -> None:
        self.values[option.path] = _parse(option, given)
        self.sources[option.name] = source

    @contextlib.contextmanager
    def _problems_at(self, place: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self.problems.append(f"{place}: {error}")


def _parse(option: Option, given: str | bool | Sequence[str]) -> object:
    """Return the value that a source gives. Raises ValueError with "expected A, got B"."""
    match given:
        case bool(value):
            return value
        case str(text) if option.is_repeatable:
            return _parse(option, [each for each in re.split(r"[,\s]+", text) if each])
        case str(text):
            return option.kind.parse(text)
        case []:
            raise ValueError("expected at least one value, got none")
        case texts:
            return tuple(map(option.kind.parse, texts))


def _check_toml_type(option: Option, value: object) -> str | bool | Sequence[str]:
    """Return a TOML value as a flag would have it. Raises ValueError where it has the wrong type."""
    match option.default, value:
        case bool(), bool(switch):
            return switch
        case bool(), _:
            expected = "true or false"
        case ((int() | float()), (int() | float() as number)) if not isinstance(number, bool):
            return _format_number(number)
        case ((int() | float()), str(text)) if option.has_units:
            return text
        case ((int() | float()), _):
            expected = "a number, or a string with a number and its unit" if option.has_units else "a number"
        case tuple(), list(texts) if all(isinstance(text, str) for text in texts):
            return texts
        case tuple(), _:
            expected = "an array of strings"
        case _, str(text):
            return text
        case _:
            expected = "a string"
    raise ValueError(f"expected {expected}, got {value!r:.80}")


def _format_number(number: float) -> str:
    try:
        return str(number)
    except ValueError:  # a hexadecimal number may have more digits than Python prints
        raise ValueError("expected a number with fewer digits") from None


def _build(values: Mapping[str, object]) -> Settings:
    """Return the settings with ``values``, by the paths of their options."""
    # Each value comes from the parser of its own option, whose type is that of the field.
    new_limits: Callable[..., Limits] = Limits
    new_replication: Callable[..., Replication] = Replication
    new_settings: Callable[..., Settings] = Settings

    def of(owner: str) -> dict[str, object]:
        split = {path.rpartition(".")[::2]: value for path, value in values.items()}
        return {name: value for (prefix, name), value in split.items() if prefix == owner}

    limits, replication = new_limits(**of("limits")), new_replication(**of("replication"))
    return new_settings(**of(""), limits=limits, replication=replication)
