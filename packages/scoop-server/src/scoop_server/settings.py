"""The settings of a server: flags over environment variables over defaults.

Each option stands once, in :data:`OPTIONS`; the parser, the environment variables and ``--help`` are made
from it. ``--max-line 1000`` and ``SCOOP_MAX_LINE=1000`` say the same, and the flag wins.
"""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from scoop_server import __version__
from scoop_server.journal import Fsync
from scoop_server.logs import FORMATTERS, LOG_LEVELS

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off", ""})

_DIGITS_MAX: Final = 20
"""The most digits that are read as a number: more than any setting needs, fewer than ``int`` refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for one run of the server."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path = Path("scoop-data")
    memory: bool = False
    fsync: Fsync = Fsync.ALWAYS
    max_line: int = 65_536
    max_clients: int = 10_000
    idle_timeout: float = 0.0
    reject_cycles: bool = False
    log_level: str = "info"
    log_format: str = "text"
    access_log: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name in :class:`Settings`, how its text is read, and its line in ``--help``."""

    name: str
    read: Callable[[str], Any]
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"SCOOP_{self.name.upper()}"


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


OPTIONS: Final = (
    Option("host", _text, "ADDRESS", "address to listen on"),
    Option("port", _whole_number(0, 65_535), "PORT", "TCP port to listen on; 0 takes a free one"),
    Option("data_dir", _path, "DIR", "directory that keeps the index; created if missing"),
    Option("memory", _yes_or_no, "", "keep nothing on disk"),
    Option("fsync", _fsync, "WHEN", "when an answered change is on disk: always, everysec or never (up to the system)"),
    Option("max_line", _whole_number(1, 2**30), "BYTES", "longest message before its newline"),
    Option("max_clients", _whole_number(1, 1_000_000), "N", "most connections at a time"),
    Option("idle_timeout", _seconds, "SECONDS", "close a connection that is silent this long; 0 never does"),
    Option("reject_cycles", _yes_or_no, "", "answer FAIL to an INDEX that would close a cycle of dependencies"),
    Option("log_level", _one_of(LOG_LEVELS), "LEVEL", f"least severe log line to print: {', '.join(LOG_LEVELS)}"),
    Option("log_format", _one_of(FORMATTERS), "FORMAT", "how to print log lines: text, or json, an object a line"),
    Option("access_log", _yes_or_no, "", "log each request with its client and its answer"),
)


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
    defaults = Settings()
    for option in OPTIONS:
        if option.metavar:
            parser.add_argument(
                option.flag, metavar=option.metavar, help=f"{option.help} (default: {getattr(defaults, option.name)})"
            )
        else:
            parser.add_argument(option.flag, action="store_const", const="yes", help=option.help)
    parser.add_argument("--version", action="version", version=f"scoop-server {__version__}")
    return parser


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that a command line and an environment spell.

    Exits with status 2 and one line on stderr where they spell none, and with 0 after --help or --version.
    """
    parser = build_parser()
    flags: dict[str, str] = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in flags:
            source, text = option.flag, flags[option.name]
        elif option.variable in environment:
            source, text = option.variable, environment[option.variable]
        else:
            continue
        try:
            values[option.name] = option.read(text)
        except ValueError as error:
            parser.error(f"{source}: {error}")
    return Settings(**values)
