"""The declaration of options.

An option is declared once, where its value is stored: as the default of a field of a dataclass, such as
:class:`~scoop_server.config.settings.Settings`, :class:`~scoop_server.config.limits.Limits` or that of a plug-in. The
parser, the environment variables, the keys of the configuration file, the help, the manual page and docs/options.md are
made from these declarations: ``--max-line 1000``, ``SCOOP_MAX_LINE=1000`` and ``max_line = 1000`` set the same thing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Final, TypeVar

from scoop_server.config.values import Kind, format_size

T = TypeVar("T")

SERVE: Final = "serve"
"""The default command, which accepts nearly every option."""

_METADATA_KEY: Final = "option"


class Group(StrEnum):
    """A heading of the help. The order is that of the help; plug-ins add headings of their own."""

    LISTENING = "listening"
    TLS = "TLS"
    DATA = "data"
    LIMITS = "limits"
    MONITORING = "monitoring"
    LOGGING = "logging"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, how it is read, and what it means."""

    default: object
    kind: Kind[object]
    group: str
    meaning: str
    """The line of the help."""
    name: str = ""
    commands: Collection[str] = (SERVE,)
    """The commands that accept it as a flag."""
    is_repeatable: bool = False
    """True if it can be given several times; the setting is a tuple of such values."""
    is_basic: bool = False
    """True if the short help lists it."""
    owner: type = object
    """The dataclass that declares it."""
    attribute: str = ""
    """The field of the owner that it sets."""

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"SCOOP_{self.name.upper()}"

    @property
    def is_switch(self) -> bool:
        """Return whether the value is yes or no; such an option also has a flag ``--no-...``."""
        return isinstance(self.default, bool)

    @property
    def has_units(self) -> bool:
        """Return whether its number may have a unit."""
        return self.kind.metavar in {"SIZE", "TIME"}

    @property
    def default_text(self) -> str:
        """The default, as the help shows it."""
        match self.default:
            case None | ():
                return "none"
            case bool(value):
                return "yes" if value else "no"
            case float(value):
                return f"{value:g}s" if value else "0"
            case int(value) if self.kind.metavar == "SIZE":
                return format_size(value)
            case value:
                return str(value)


def option(
    default: T,
    kind: Kind[T],
    group: str,
    meaning: str,
    *,
    name: str = "",
    commands: Collection[str] = (SERVE,),
    is_basic: bool = False,
) -> T:
    """Declare a field of a dataclass as an option; ``name`` is the option's if it is not that of the field.

    It returns a dataclass field, typed as its value, as ``dataclasses.field`` does.
    """
    declared = Option(default, kind, group, meaning, name, commands, is_basic=is_basic)
    return field(default=default, metadata={_METADATA_KEY: declared})


def repeatable_option(kind: Kind[T], group: str, meaning: str, *, is_basic: bool = False) -> tuple[T, ...]:
    """Declare a field of a dataclass as an option that may be given several times, and is empty by default."""
    declared = Option((), kind, group, meaning, is_repeatable=True, is_basic=is_basic)
    return field(default=(), metadata={_METADATA_KEY: declared})


def declared_options(owner: type) -> list[Option]:
    """Return the options that are fields of the dataclass ``owner``."""
    return [
        replace(declared, name=declared.name or each.name, owner=owner, attribute=each.name)
        for each in fields(owner)
        if isinstance(declared := each.metadata.get(_METADATA_KEY), Option)
    ]
