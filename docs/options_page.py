"""The reference page of the options, docs/options.md: ``python -m docs.options_page`` writes it anew."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from scoop_server.app.plugin import OptionTable
from scoop_server.config.options import Group

TABLE: Final = OptionTable()
TABLE.load_plugins()

PAGE: Final = Path(__file__).with_name("options.md")

_INTRODUCTION: Final = """\
# Options of the server

This page is generated from the table of options: `python -m docs.options_page`. A flag overrides a variable, a variable
overrides the file, and the file overrides the default:

- Flag: `--max-line 64k`. `--no-memory` and the like disable a switch.
- Environment variable: `SCOOP_MAX_LINE=64k`. An empty variable counts as unset; commas or spaces separate several
  values.
- TOML file, which `--config` or `SCOOP_CONFIG` names: `max_line = "64k"`. A switch is `true` or `false`, and several
  values are an array.

An unknown flag, key or variable with the prefix `SCOOP_` is an error, except `SCOOP_SERVER`, which is free for other
programs. `scoop-server --show-config` prints all settings with the source of each.

- A **SIZE** is in bytes, or has the unit `k`, `m` or `g` (1024, 1024², 1024³): `65536`, `64k`.
- A **TIME** is in seconds, or has the unit `ms`, `s`, `m`, `h` or `d`: `0.5`, `500ms`, `5m`.
- An **ADDRESS** is `tcp:HOST:PORT`, `tls:HOST:PORT` or `unix:PATH`. An IPv6 address is in brackets: `tcp:[::1]:8080`.
  In `--listen`, [restrictions](operations.md#readers-and-writers) of the clients may follow: `tls:[::]:8444?read-only`.
"""

_NOTES: Final[Mapping[str, str]] = {
    Group.LISTENING: """\
With `--listen`, `--host` and `--port` have no effect, and as flags they are an error. Sockets that a service manager
passes (`LISTEN_FDS`, systemd's socket activation) replace all addresses; a socket named `tls` serves TLS.
""",
    Group.TLS: """\
SIGHUP reads the certificates again. See [howto-tls.md](howto-tls.md).
""",
    Group.DATA: """\
With `--memory`, `--data-dir` and `--fsync` have no effect, and as flags they are an error. See
[durability.md](durability.md).
""",
    Group.LIMITS: """\
The reason of each default is beside it in `scoop_server/config/limits.py`, with limits that are constants.
""",
    Group.MONITORING: """\
See [monitoring.md](monitoring.md).
""",
    Group.LOGGING: """\
SIGHUP reads `log_level` in the file again; every other change needs a restart.
""",
    "replication": """\
These options are those of the package scoop-etcd; see [replication.md](replication.md). With `--etcd`, `--data-dir` and
`--fsync` have no effect, and as flags they are an error. The password has no flag, because every user of a machine can
list the arguments of its processes.
""",
}

_OTHERS: Final = """\
## others

| flag | meaning |
|---|---|
| `--config FILE` | TOML file with settings |
| `--show-config` | print all settings and their sources as such a file, and exit |
| `--check-config` | report every problem that a start would have, and exit with its status |
| `--help`, `--help-all` | print the most used options, or all, and exit |
| `--version` | print the version, and exit |
"""


def options_page() -> str:
    """Return the text of the page."""
    return "\n".join([_INTRODUCTION, *map(_section, _NOTES), _OTHERS])


def _section(group: str) -> str:
    return "\n".join([f"## {group}\n", *_table(group), "", _NOTES[group]])


def _table(group: str) -> Iterator[str]:
    yield "| flag | default | meaning |"
    yield "|---|---|---|"
    for option in TABLE:
        if option.group == group:
            flag = f"--[no-]{option.flag[2:]}" if option.is_switch else f"{option.flag} {option.kind.metavar}"
            default = option.default_text if option.default in (None, ()) else f"`{option.default_text}`"
            yield f"| `{flag}` | {default} | {option.meaning} |"


if __name__ == "__main__":
    PAGE.write_text(options_page(), "utf-8")
