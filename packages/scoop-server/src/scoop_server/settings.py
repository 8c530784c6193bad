"""The settings of a server: flags over environment variables over defaults.

Each option stands once, in :data:`OPTIONS`; the parser, the environment variables and ``--help`` are made
from it. ``--max-line 1000`` and ``SCOOP_MAX_LINE=1000`` say the same, and the flag wins.
"""

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from scoop_server import __version__
from scoop_server.addresses import Address, InternetAddress, parse_address
from scoop_server.journal import Fsync
from scoop_server.limits import Limits
from scoop_server.logs import FORMATTERS, LOG_LEVELS

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off", ""})

_DIGITS_MAX: Final = 20
"""The most digits that are read as a number: more than any setting needs, fewer than ``int`` refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for one run of the server."""

    listen: tuple[Address, ...] = ()
    """Where clients connect, where that is more than :attr:`host` and :attr:`port` can say."""
    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    data_dir: Path = Path("scoop-data")
    memory: bool = False
    fsync: Fsync = Fsync.ALWAYS
    reject_cycles: bool = False
    admin: Address | None = None
    log_level: str = "info"
    log_format: str = "text"
    access_log: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where to listen."""
        return self.listen or (InternetAddress(self.host, self.port),)


_DEFAULTS: Final = Settings()


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name, how its text is read, and its line in ``--help``.

    It sets the field of that name in :class:`Settings`, or else the field :attr:`limit` of its limits.
    """

    name: str
    read: Callable[[str], Any]
    metavar: str
    help: str
    limit: str = ""
    is_repeatable: bool = False
    """Whether it may be given several times; ``read`` reads one of them, and the setting is a tuple."""

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable; where it is repeatable, commas or spaces separate the values."""
        return f"SCOOP_{self.name.upper()}"

    @property
    def is_switch(self) -> bool:
        """Whether it is yes or no, and has a flag ``--no-...`` as well."""
        return not self.metavar

    @property
    def default(self) -> Any:
        """What holds where it is not given."""
        return getattr(_DEFAULTS.limits, self.limit) if self.limit else getattr(_DEFAULTS, self.name)

    @property
    def default_text(self) -> str:
        """What holds where it is not given, as a person writes it."""
        match self.default:
            case None | ():
                return "none"
            case bool(value):
                return "yes" if value else "no"
            case float(value):
                return f"{value:g}"
            case value:
                return str(value)


def _whole_number(at_least: int, at_most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
        if not is_number or not at_least <= int(text) <= at_most:
            raise ValueError(f"a whole number from {at_least} to {at_most} is wanted, not {text!r}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ValueError(f"a number of seconds is wanted, not {text!r}")
    return seconds


def _yes_or_no(text: str) -> bool:
    word = text.lower()
    if word not in _YES | _NO:
        raise ValueError(f"yes or no is wanted, not {text!r}")
    return word in _YES


def _one_of(words: Collection[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)} is wanted, not {text!r}")
        return text.lower()

    return read


def _fsync(text: str) -> Fsync:
    if text.lower() not in set(Fsync):
        raise ValueError(f"one of {', '.join(Fsync)} is wanted, not {text!r}")
    return Fsync(text.lower())


def _text(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _admin_address(text: str) -> Address:
    scheme = text.partition(":")[0]
    if scheme == "tls":
        raise ValueError(f"HOST:PORT or unix:PATH is wanted, not {text!r}: it speaks plain HTTP")
    return parse_address(text if scheme in {"tcp", "unix"} else f"tcp:{text}")


_GROUPS: Final = {
    "listening": (
        Option(
            "listen",
            parse_address,
            "ADDRESS",
            "where to listen: tcp:HOST:PORT, tls:HOST:PORT or unix:PATH; may be given several times, "
            "and takes the place of host and port",
            is_repeatable=True,
        ),
        Option("host", _text, "HOST", "host name or IP address to listen on, without TLS"),
        Option("port", _whole_number(0, 65_535), "PORT", "TCP port to listen on; 0 takes a free one"),
    ),
    "TLS": (
        Option(
            "tls_cert", _path, "FILE", "certificate of the server, in PEM, followed by those that lead to its authority"
        ),
        Option("tls_key", _path, "FILE", "private key of the certificate, in PEM"),
        Option(
            "tls_client_ca",
            _path,
            "FILE",
            "certificate authorities, in PEM, one of which a client's certificate must come from; "
            "without it a client needs none",
        ),
        Option(
            "tls_handshake_timeout",
            _seconds,
            "SECONDS",
            "close a connection whose TLS handshake takes this long",
            limit="handshake_seconds_max",
        ),
    ),
    "data": (
        Option("data_dir", _path, "DIR", "directory that keeps the index; created if missing"),
        Option("memory", _yes_or_no, "", "keep nothing on disk"),
        Option(
            "fsync", _fsync, "WHEN", "when an answered change is on disk: always, everysec or never (up to the system)"
        ),
        Option("reject_cycles", _yes_or_no, "", "answer FAIL to an INDEX that would close a cycle of dependencies"),
    ),
    "limits": (
        Option("max_line", _whole_number(1, 2**30), "BYTES", "longest message before its newline", "line_bytes_max"),
        Option("max_clients", _whole_number(1, 1_000_000), "N", "most connections at a time", "clients_max"),
        Option(
            "idle_timeout",
            _seconds,
            "SECONDS",
            "close a connection that is silent this long; 0 never does",
            "idle_seconds_max",
        ),
    ),
    "watching": (
        Option(
            "admin",
            _admin_address,
            "ADDRESS",
            "where to answer /livez, /readyz, /metrics and /version over HTTP: HOST:PORT or unix:PATH",
        ),
    ),
    "logging": (
        Option("log_level", _one_of(LOG_LEVELS), "LEVEL", f"least severe log line to print: {', '.join(LOG_LEVELS)}"),
        Option("log_format", _one_of(FORMATTERS), "FORMAT", "how to print log lines: text, or json, an object a line"),
        Option("access_log", _yes_or_no, "", "log each request with its client and its answer"),
    ),
}

OPTIONS: Final = tuple(option for group in _GROUPS.values() for option in group)


_TAKES_THE_PLACE_OF: Final = {"listen": ("host", "port"), "memory": ("data_dir", "fsync")}
"""Settings that leave others without effect. A flag without effect is refused, because someone has just typed it;
a variable or a file may say what holds at another time."""


class OneLineParser(argparse.ArgumentParser):
    """One line an error, as for every other bad input of an operator."""

    def error(self, message: str) -> NoReturn:
        """Print the line, and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``scoop-server``. What is not given stays out of the namespace."""
    parser = OneLineParser(
        prog="scoop-server",
        description="Serve a package index: nothing is indexed before its dependencies, "
        "and nothing is removed while another package depends on it.",
        epilog="Each option can be set by an environment variable as well: SCOOP_PORT for --port, and so on. "
        "A flag on the command line wins. To look after a data directory: scoop-server check DIR, "
        "scoop-server dump DIR, scoop-server restore DIR < LINES; each has a --help.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for title, options in _GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            help_line = f"{option.help} (default: {option.default_text})"
            if option.is_switch:
                group.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=help_line)
            else:
                action = "append" if option.is_repeatable else "store"
                group.add_argument(option.flag, action=action, metavar=option.metavar, help=help_line)
    parser.add_argument("--version", action="version", version=f"scoop-server {__version__}")
    return parser


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that a command line and an environment spell.

    Exits with status 2 and one line on stderr where they spell none, and with 0 after --help or --version.
    """
    parser = build_parser()
    flags = vars(parser.parse_args(arguments))
    sources: dict[str, str] = {}
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in flags:
            source, given = option.flag, flags[option.name]
        elif option.variable in environment:
            source, given = option.variable, environment[option.variable]
        else:
            continue
        try:
            value = _read(option, given)
        except ValueError as error:
            parser.error(f"{source}: {error}")
        sources[option.name] = source
        if option.limit:
            limits[option.limit] = value
        else:
            values[option.name] = value
    for winner, losers in _TAKES_THE_PLACE_OF.items():
        for loser in losers:
            if values.get(winner) and loser in flags:
                parser.error(f"{sources[loser]} has no effect beside {sources[winner]}; give one of them")
    return Settings(**values, limits=Limits(**limits))


def _read(option: Option, given: str | bool | list[str]) -> Any:
    """Return the setting that a flag or a variable gives. Raises ValueError with one line that says what is wrong."""
    if isinstance(given, bool):
        return given
    if isinstance(given, str) and option.is_repeatable:
        given = [text for text in re.split(r"[,\s]+", given) if text]
    return tuple(map(option.read, given)) if isinstance(given, list) else option.read(given)
