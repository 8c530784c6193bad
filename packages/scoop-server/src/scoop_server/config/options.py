"""What can be set: each option stands once, in :data:`OPTIONS`.

The parser, the environment variables, the keys of a configuration file and ``--help`` are made from it:
``--max-line 1000``, ``SCOOP_MAX_LINE=1000`` and ``max_line = 1000`` say the same.
"""

import argparse
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from scoop_server import __version__
from scoop_server.config.addresses import Address, InternetAddress, parse_address
from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import Limits
from scoop_server.telemetry.logs import FORMATTERS, LOG_LEVELS, escaped

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off", ""})

_DIGITS_MAX: Final = 20
"""The most digits that are read as a number: more than any setting needs, fewer than ``int`` refuses."""


_SECONDS_MAX: Final = 1e9
"""Thirty years: who wants more means for ever."""

_BYTES_MAX: Final = 2**40
"""More than any machine should hold for a client, and less than any number that overflows."""


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
    words: Collection[str] = ()
    """Those that it can be, if they are few."""

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
        return self.value_in(_DEFAULTS)

    def value_in(self, settings: Settings) -> Any:
        """What it is in ``settings``."""
        return getattr(settings.limits, self.limit) if self.limit else getattr(settings, self.name)

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


def _seconds(*, or_never: bool = False) -> Callable[[str], float]:
    """Read a time above 0; with ``or_never`` it may be 0 as well, which stands for never."""

    def read(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < _SECONDS_MAX or not (seconds or or_never):
            raise ValueError(f"a number of seconds{'' if or_never else ' above 0'} is wanted, not {text!r}")
        return seconds

    return read


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
    if "\0" in text:
        raise ValueError(f"a text without NUL characters is wanted, not {text!r}")
    return text


def _host(text: str) -> str:
    in_brackets = re.fullmatch(r"\[(.*)\]", text)  # as in a URL, and in --listen
    return _text(in_brackets[1] if in_brackets else text)


def _path(text: str) -> Path:
    return Path(_text(text))


def _admin_address(text: str) -> Address:
    scheme = text.partition(":")[0]
    if scheme == "tls" or "?" in text:
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
        Option("host", _host, "HOST", "host name or IP address to listen on, without TLS"),
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
            _seconds(),
            "SECONDS",
            "close a connection whose TLS handshake takes this long",
            limit="handshake_seconds_max",
        ),
    ),
    "data": (
        Option("data_dir", _path, "DIR", "directory that keeps the index; created if missing"),
        Option("memory", _yes_or_no, "", "keep nothing on disk"),
        Option(
            "fsync",
            _fsync,
            "WHEN",
            "when an answered change is on disk: always, everysec or never (up to the system)",
            words=tuple(Fsync),
        ),
        Option(
            "compaction_threshold",
            _whole_number(0, _BYTES_MAX),
            "BYTES",
            "size of the journal below which it is not yet folded into a new snapshot",
            "journal_bytes_min",
        ),
        Option("reject_cycles", _yes_or_no, "", "answer FAIL to an INDEX that would close a cycle of dependencies"),
    ),
    "limits": (
        Option("max_line", _whole_number(1, 2**30), "BYTES", "longest message before its newline", "line_bytes_max"),
        Option("max_clients", _whole_number(1, 1_000_000), "N", "most connections at a time", "clients_max"),
        Option(
            "max_accepts", _whole_number(1, 1_000_000), "N", "most new connections in one turn", "accepts_per_turn_max"
        ),
        Option(
            "max_read",
            _whole_number(1, 2**30),
            "BYTES",
            "most that is read from one client in one turn",
            "read_bytes_max",
        ),
        Option(
            "output_high_water",
            _whole_number(0, _BYTES_MAX),
            "BYTES",
            "unsent answers of a client above which nothing more is read from it",
            "output_bytes_high_water",
        ),
        Option(
            "max_output",
            _whole_number(0, _BYTES_MAX),
            "BYTES",
            "unsent answers of a client above which its connection is closed",
            "output_bytes_max",
        ),
        Option(
            "output_timeout",
            _seconds(),
            "SECONDS",
            "close a connection that takes nothing of its unsent answers for this long",
            "output_seconds_max",
        ),
        Option(
            "line_timeout",
            _seconds(),
            "SECONDS",
            "close a connection that has begun a message and not ended it for this long",
            "incomplete_line_seconds_max",
        ),
        Option(
            "idle_timeout",
            _seconds(or_never=True),
            "SECONDS",
            "close a connection that is silent this long; 0 never does",
            "idle_seconds_max",
        ),
        Option(
            "drain_timeout",
            _seconds(),
            "SECONDS",
            "longest wait at the end for clients that do not take their answers",
            "drain_seconds_max",
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
        Option(
            "log_level",
            _one_of(LOG_LEVELS),
            "LEVEL",
            f"least severe log line to print: {', '.join(LOG_LEVELS)}",
            words=LOG_LEVELS,
        ),
        Option(
            "log_format",
            _one_of(FORMATTERS),
            "FORMAT",
            "how to print log lines: text, or json, an object a line",
            words=FORMATTERS,
        ),
        Option("access_log", _yes_or_no, "", "log each request with its client and its answer"),
    ),
}

OPTIONS: Final = tuple(option for group in _GROUPS.values() for option in group)


class OneLineParser(argparse.ArgumentParser):
    """One line an error, as for every other bad input of an operator."""

    def error(self, message: str) -> NoReturn:
        """Print the line, and exit with status 2."""
        self.exit(2, f"{self.prog}: {escaped(message)} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``scoop-server``. What is not given stays out of the namespace."""
    parser = OneLineParser(
        prog="scoop-server",
        description="Serve a package index: nothing is indexed before its dependencies, "
        "and nothing is removed while another package depends on it.",
        epilog="Each option can be set by an environment variable as well, SCOOP_PORT for --port, and in the file "
        "that --config or SCOOP_CONFIG names, as port = 8080. A flag wins over a variable, and a variable over the "
        "file. To look after a data directory: scoop-server check DIR, "
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
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings: port = 8080, and so on")
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="print what holds, and where each value comes from, as such a file, and exit",
    )
    parser.add_argument("--version", action="version", version=f"scoop-server {__version__}")
    return parser
