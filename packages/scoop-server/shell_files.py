"""The shell completions and the manual page of ``scoop-server``, made from its parsers.

They are built with the package and shipped as data files, so that the installed server needs neither shtab nor
argparse-manpage.
"""

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import Final

import shtab
from argparse_manpage.manpage import Manpage

from scoop_etcd.plugin import PLUGIN
from scoop_server import __version__
from scoop_server.app.plugin import OptionTable
from scoop_server.app.sources import CONFIG_VARIABLE
from scoop_server.cli.parser import PROGRAM, all_commands, build_parsers
from scoop_server.config.options import SERVE

TABLE: Final = OptionTable(lambda: [PLUGIN])
"""All options and commands of the project. Where a package is missing, its options say how to install it."""
TABLE.load_plugins()

COMPLETIONS: Final = {
    "bash": "share/bash-completion/completions/scoop-server",
    "zsh": "share/zsh/site-functions/_scoop-server",
    "fish": "share/fish/vendor_completions.d/scoop-server.fish",
}
MANUAL: Final = "share/man/man1/scoop-server.1"

SIGNALS: Final = {
    "SIGTERM, SIGINT": (
        "Stop accepting, answer the requests that have arrived, save a snapshot, and exit. A second signal skips the "
        "waiting for clients and the snapshot; the journal holds every change."
    ),
    "SIGHUP": "Read the certificates and the log level again. Other settings need a restart.",
    "SIGUSR1": "Compact the journal into a new snapshot now.",
}

EXIT_STATUSES: Final = {
    "0": "Success.",
    "1": "Failure: standard error has the reason in one line. For check: a file is damaged.",
    "2": "The command line, a variable or the configuration file is invalid: standard error names it.",
    "3": "For check: intact, except for an interrupted write at the end, which the next start drops.",
    "4": "For check: not damaged, but written by a newer version.",
    "5": "For check: a file could not be read, so it is unknown whether it is intact.",
    "8": "For log: changes that were asked for are no longer there.",
    "130": "Interrupted before the server was ready, or in another command.",
}

FILES: Final = {
    "/etc/scoop/scoop.toml": "The configuration file by convention; it is read if --config or SCOOP_CONFIG names it.",
    "scoop-data": "The default data directory, in the working directory; --data-dir names another.",
    "snapshot-N, journal-N": "In a data directory: the index at some moment, and the changes since then, as text.",
    "lock": "In a data directory: locked by the server that uses it; holds its process id.",
}

EXAMPLES: Final = {
    "scoop-server --port 9000 --data-dir /var/lib/scoop": "Serve on port 9000 of the loopback interface.",
    "scoop-server --listen tls:[::]:8443 --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem": (
        "Serve all interfaces, for clients with a certificate."
    ),
    "scoop-server --config /etc/scoop/scoop.toml --show-config": "Print the settings, and the source of each.",
    "scoop-server dump /var/lib/scoop > index.txt": "Save the index, also while a server is running.",
    "scoop-server restore /var/lib/scoop.new < index.txt": "Create a data directory from it.",
}


def shell_files() -> Mapping[str, str]:
    """Return the text of each file, by its path below the installation prefix."""
    completions = {path: shtab.complete(_completed_parser(), shell) for shell, path in COMPLETIONS.items()}
    return {**completions, MANUAL: manual_page()}


def _completed_parser() -> argparse.ArgumentParser:
    """Return the root of the parsers, with the words, files and directories that each option accepts."""
    words = {option.flag: option.kind.words for option in TABLE if option.kind.words}
    root, parsers = build_parsers(TABLE)
    for parser in (root, *parsers.values()):
        for action in parser._actions:  # noqa: SLF001  # argparse has no other way to list them
            if choices := next((words[flag] for flag in action.option_strings if flag in words), None):
                action.choices = choices
            elif action.metavar in {"FILE", "DIR"}:
                action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]  # read by shtab
    return root


def manual_page() -> str:
    """Return the page scoop-server(1)."""
    root, parsers = build_parsers(TABLE)
    # The options of serve are those of the root, and listed there.
    parsers[SERVE].usage = f"{PROGRAM} {SERVE} [OPTION ...]"
    for action in parsers[SERVE]._actions:  # noqa: SLF001  # argparse has no other way to list them
        action.help = argparse.SUPPRESS
    # The page shows the extra text of a section first, and an epilog in a section COMMENTS.
    introduction, root.description, root.epilog = str(root.description), root.epilog, None
    page = Manpage(
        root,
        {
            "project_name": PROGRAM,
            "version": __version__,
            "manual_title": "User Commands",
            "description": "serve a package index that stays consistent",
        },
    )
    page.date = ""  # the same sources make the same page on every day
    page.add_section("synopsis", "=", _synopsis())
    page.add_section("description", "=", f"{_escaped(introduction)}\n.PP")
    variables = {option.variable: f"See {option.flag}." for option in TABLE}
    page.add_section("environment", "=", _terms({**variables, CONFIG_VARIABLE: "See --config."}))
    page.add_section("files", "=", _terms(FILES))
    page.add_section("signals", "=", _terms(SIGNALS))
    page.add_section("exit status", "=", _terms(EXIT_STATUSES))
    page.add_section("examples", "=", _terms(EXAMPLES))
    page.add_section("see also", "=", "nc(1), systemd.service(5)")
    return str(page)


def _synopsis() -> str:
    """Return one line for each command, and for each place of an index that it can use."""
    lines = [(f"[{SERVE}]", "[OPTION ...]")]
    _, parsers = build_parsers(OptionTable(tuple))
    for name, command in all_commands(TABLE).items():
        if name == SERVE:
            continue
        if name in parsers:
            *_, arguments = parsers[name].format_usage().partition("[-h]")
            lines.append((name, " ".join(arguments.replace("[DIR]", "DIR").split())))
        places = [plugin.selector for plugin in TABLE.plugins if command.has_directory or name in plugin.commands]
        lines += [(name, place) for place in places]
    return "\n.br\n".join(rf"\fB{_escaped(f'{PROGRAM} {name}')}\fR {_escaped(words)}" for name, words in lines)


def _terms(terms: Mapping[str, str]) -> str:
    return "\n".join(_lines(terms))


def _lines(terms: Mapping[str, str]) -> Iterable[str]:
    for term, text in terms.items():
        yield from (".TP", rf"\fB{_escaped(term)}\fR", _escaped(text))


def _escaped(text: str) -> str:
    r"""Return ``text`` for roff, which would otherwise read a leading dot as a macro, and "-" as a hyphen."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", r"\e").replace("-", r"\-"))
