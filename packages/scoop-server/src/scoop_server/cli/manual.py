"""The manual page, made from the parsers, in the macros of man(7)."""

import argparse
import re
from collections.abc import Iterator, Mapping
from typing import Final

from scoop_server import __version__
from scoop_server.config.options import OPTIONS
from scoop_server.config.sources import CONFIG_VARIABLE

_SEE_ALSO: Final = "nc(1), systemd.service(5)"

_SIGNALS: Final = (
    (
        "SIGTERM, SIGINT",
        "Answer what has arrived, save the index, and end. The next one does not wait for clients or the disk.",
    ),
    ("SIGHUP", "Read the certificates again, and the log level in the configuration file; the rest needs a restart."),
    ("SIGUSR1", "Fold the journal into a new snapshot now."),
)

_STATUSES: Final = (
    ("0", "It has done what was asked."),
    ("1", "It could not: standard error says why, in one line."),
    ("2", "The command line, a variable or the configuration file is wrong: standard error says where."),
    ("130", "It was interrupted before it was serving, or while it ran one of the commands."),
)


def manual_page(parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the page ``scoop-server(1)``; ``parsers`` are those of the commands, that of the server first."""
    server = parsers[""]
    lines = [
        f'.TH SCOOP\\-SERVER 1 "" "scoop\\-server {_escaped(__version__)}" "User Commands"',
        ".SH NAME",
        "scoop\\-server \\- serve a package index that stays consistent",
        ".SH SYNOPSIS",
        *_synopsis(parsers),
        ".SH DESCRIPTION",
        _escaped(str(server.description)),
        ".PP",
        _escaped(str(server.epilog)),
        ".SH OPTIONS",
        *_options(server),
        ".SH COMMANDS",
    ]
    for name, parser in parsers.items():
        if name:
            lines += [".TP", f"{_bold(f'scoop-server {name}')}{_operands(parser)}", _escaped(str(parser.description))]
    lines.append(".SH ENVIRONMENT")
    lines.append("Each variable is read where its flag is not given.")
    for option in OPTIONS:
        lines += [".TP", _bold(option.variable), _escaped(f"See {option.flag}.")]
    lines += [".TP", _bold(CONFIG_VARIABLE), _escaped("See --config.")]
    lines += _terms("SIGNALS", _SIGNALS)
    lines += _terms("EXIT STATUS", _STATUSES)
    lines += [".SH SEE ALSO", _SEE_ALSO]
    return "\n".join([*lines, ""])


def _synopsis(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    for number, (name, parser) in enumerate(parsers.items()):
        if number:
            yield ".br"
        command = f" {name}" if name else ""
        operands = _operands(parser) if name else f" [{_italic('OPTION')}...]"
        yield f"{_bold(f'scoop-server{command}')}{operands}"


def _operands(parser: argparse.ArgumentParser) -> str:
    actions = parser._actions  # noqa: SLF001  # argparse has no other way to ask a parser what it takes
    return "".join(f" {_italic(str(action.metavar))}" for action in actions if not action.option_strings)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:  # noqa: SLF001  # nor what its groups are
        actions = [action for action in group._group_actions if action.option_strings]  # noqa: SLF001
        if actions:
            yield f".SS {_escaped(str(group.title))}"
        for action in actions:
            flags = ", ".join(map(_bold, action.option_strings))
            metavar = f" {_italic(str(action.metavar))}" if action.metavar else ""
            yield from (".TP", f"{flags}{metavar}", _escaped(_sentence(str(action.help))))


def _terms(title: str, terms: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {title}"
    for term, text in terms:
        yield from (".TP", _bold(term), _escaped(text))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escaped(text)}\\fR"


def _escaped(text: str) -> str:
    r"""Return ``text`` so that roff sets it as it is.

    >>> print(_escaped(".a-b"))
    \\&.a\\-b
    """
    return re.sub(r"^(?=[.\'])", r"\\&", text.replace("\\", "\\e").replace("-", "\\-"))
