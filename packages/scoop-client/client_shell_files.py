"""The shell completions and the manual page of ``scoop``, made from its parser when the package is built."""

import argparse
import re
from collections.abc import Mapping
from typing import Final

import shtab
from argparse_manpage.manpage import Manpage

from scoop_client import __version__
from scoop_client.cli.parser import EXAMPLES, PROGRAM, build_parser
from scoop_client.cli.settings import CONFIG_VARIABLE, VARIABLES

COMPLETIONS: Final = {
    "bash": "share/bash-completion/completions/scoop",
    "zsh": "share/zsh/site-functions/_scoop",
    "fish": "share/fish/vendor_completions.d/scoop.fish",
}
MANUAL: Final = "share/man/man1/scoop.1"

EXIT_STATUSES: Final = {
    "0": "Every request was answered OK, or the question has an answer.",
    "1": "A request was answered FAIL, a package is not indexed, or two indexes differ.",
    "2": "A request was answered ERROR, or the command line, a setting or an input is invalid.",
    "3": "No server could be connected, or the connection was lost.",
    "4": "publish, withdraw: the command failed; the index is as before.",
    "5": "publish, withdraw: the command was killed, so its outcome is unknown; the index is as before.",
    "6": "publish, withdraw: the connection was lost, and the outcome of the change is unknown; nothing was run.",
    "7": "publish, withdraw: the command failed or was killed, and the change could not be undone.",
    "8": "log, watch: changes that should be printed are no longer there.",
    "129": "publish, withdraw: ended by SIGHUP; the index is as before.",
    "130": "Interrupted; of publish and withdraw, the index is as before.",
    "131": "publish, withdraw: ended by SIGQUIT; the index is as before.",
    "143": "publish, withdraw: ended by SIGTERM; the index is as before.",
}

FILES: Final = {
    "~/.config/scoop/client.toml": "Named servers and the default one; --config names another file.",
    "~/.local/state/scoop/history": "The lines typed in scoop shell.",
    "scoop-data": "The default source of offline questions, in the working directory; --from names another.",
}

_FILE_METAVARS: Final = frozenset({"FILE", "PATH", "OLD", "NEW", "SOURCE"})


def shell_files() -> Mapping[str, str]:
    """Return the text of each file, by its path below the installation prefix."""
    completions = {path: shtab.complete(_completed_parser(), shell) for shell, path in COMPLETIONS.items()}
    return {**completions, MANUAL: manual_page()}


def _completed_parser() -> argparse.ArgumentParser:
    """Return the parser with the files that each argument accepts."""
    root, parsers = build_parser()
    for parser in (root, *parsers.values()):
        for action in parser._actions:  # noqa: SLF001  # argparse has no other way to list them
            if action.metavar in _FILE_METAVARS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
    return root


def manual_page() -> str:
    """Return the page scoop(1)."""
    root, _ = build_parser()
    # The page shows the extra text of a section first, and an epilog in a section COMMENTS.
    introduction, root.description, root.epilog = str(root.description), None, None
    page = Manpage(
        root,
        {
            "project_name": PROGRAM,
            "version": __version__,
            "manual_title": "User Commands",
            "description": "use a package index",
        },
    )
    page.date = ""  # the same sources make the same page on every day
    variables = {variable: f"See --{name.replace('_', '-')}." for name, variable in VARIABLES.items() if name != "data"}
    variables |= {VARIABLES["data"]: "See --from.", CONFIG_VARIABLE: "See --config."}
    page.add_section("description", "=", f"{_escaped(introduction)}\n.PP")
    page.add_section("environment", "=", _terms(variables))
    page.add_section("files", "=", _terms(FILES))
    page.add_section("exit status", "=", _terms(EXIT_STATUSES))
    page.add_section("examples", "=", _terms(EXAMPLES))
    page.add_section("see also", "=", "scoop\\-server(1)")
    return str(page)


def _terms(terms: Mapping[str, str]) -> str:
    lines = (f".TP\n\\fB{_escaped(term)}\\fR\n{_escaped(text)}" for term, text in terms.items())
    return "\n".join(lines)


def _escaped(text: str) -> str:
    r"""Return ``text`` for roff, which would otherwise read a leading dot as a macro, and "-" as a hyphen."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", r"\e").replace("-", r"\-"))
