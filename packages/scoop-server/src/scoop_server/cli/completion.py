"""Completion in shells, made from the parsers: all flags, the words that an option can be, files and directories."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from scoop_server.config.options import OPTIONS

Parsers = Mapping[str, argparse.ArgumentParser]
"""The parsers of the commands by their names; that of the server has the empty name."""

_WORDS: Final = {option.flag: " ".join(option.words) for option in OPTIONS if option.words}

_REPEATABLE: Final = {option.flag for option in OPTIONS if option.is_repeatable}

_HEADER: Final = "# Completion of scoop-server, printed by: scoop-server completion"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001  # argparse has no other way to ask a parser what it takes


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in _actions(parser):
        yield from action.option_strings


def _operand(parser: argparse.ArgumentParser) -> argparse.Action | None:
    """Return what a command takes beside flags; none takes more than one."""
    return next((action for action in _actions(parser) if not action.option_strings), None)


def _help(action: argparse.Action) -> str:
    return str(action.help).replace("%%", "%")


def bash(parsers: Parsers) -> str:
    """Return the script for bash. It needs nothing beside bash."""
    server = parsers[""]
    commands = {name: parser for name, parser in parsers.items() if name}
    values = []
    for action in _actions(server):
        if not action.metavar:
            continue
        pattern = "|".join(action.option_strings)
        if words := _WORDS.get(pattern):
            values.append(f"        {pattern}) _scoop_server_reply -W '{words}'; return ;;")
        elif action.metavar in {"FILE", "DIR"}:
            kind = "-d" if action.metavar == "DIR" else "-f"
            values.append(f"        {pattern}) _scoop_server_paths {kind}; return ;;")
        else:
            values.append(f"        {pattern}) return ;;")
    after_command = []
    for name, parser in commands.items():
        operand, flags = _operand(parser), " ".join(_flags(parser))
        if operand is not None and operand.choices:
            flags = " ".join([*map(str, operand.choices), flags])
        takes_path = operand is not None and not operand.choices
        otherwise = " || _scoop_server_paths -d" if takes_path else ""
        condition = "[[ $cur == -* ]] && " if takes_path else ""
        after_command.append(f"        {name}) {condition}_scoop_server_reply -W '{flags}'{otherwise}; return ;;")
    return "\n".join(
        [
            f"{_HEADER} bash",
            "_scoop_server_reply() {",
            '    mapfile -t COMPREPLY < <(compgen "$@" -- "$cur")',
            "}",
            "_scoop_server_paths() {",
            "    compopt -o filenames 2>/dev/null",
            '    _scoop_server_reply "$@"',
            "}",
            "_scoop_server() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
            "    COMPREPLY=()",
            "    # --flag=value comes as three words",
            "    if [[ $cur == = ]]; then cur=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi",
            "    [[ $COMP_CWORD -gt 1 ]] && case ${COMP_WORDS[1]} in",
            *after_command,
            "    esac",
            "    case $before in",
            *values,
            "    esac",
            f"    local words='{' '.join(_flags(server))}'",
            f"    [[ $COMP_CWORD -eq 1 ]] && words+=' {' '.join(commands)}'",
            '    _scoop_server_reply -W "$words"',
            "}",
            "complete -F _scoop_server scoop-server",
            "",
        ]
    )


def zsh(parsers: Parsers) -> str:
    """Return the function for zsh, for a file ``_scoop-server`` in a directory of ``fpath``."""
    commands = {name: parser for name, parser in parsers.items() if name}
    cases = []
    for name, parser in commands.items():
        cases.append(f"        {name}) shift words; (( CURRENT-- )); _arguments {' '.join(_zsh_arguments(parser))} ;;")
    names = " ".join(commands)
    return "\n".join(
        [
            "#compdef scoop-server",
            f"{_HEADER} zsh",
            "_scoop_server() {",
            "    case ${words[2]} in",
            *cases,
            f"        *) _arguments '1:command:({names})' \\",
            "            " + " \\\n            ".join(_zsh_arguments(parsers[""])) + " ;;",
            "    esac",
            "}",
            # As a file of fpath it is the body of a function; sourced, it defines one.
            'if [[ $funcstack[1] == _scoop-server ]]; then _scoop_server "$@"',
            "else compdef _scoop_server scoop-server; fi",
            "",
        ]
    )


def _zsh_arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in _actions(parser):
        if action.option_strings:
            text = _help(action).translate({ord(character): f"\\{character}" for character in "[]:\\"})
            for flag in action.option_strings:
                often = "*" if flag in _REPEATABLE else ""
                value = f":{action.metavar}:{_zsh_values(action)}" if action.metavar else ""
                yield _quoted(f"{often}{flag}[{text}]{value}")
        else:
            yield _quoted(f"1:{action.metavar}:{_zsh_values(action)}")


def _zsh_values(action: argparse.Action) -> str:
    if action.choices:
        return f"({' '.join(map(str, action.choices))})"
    for flag in action.option_strings:
        if flag in _WORDS:
            return f"({_WORDS[flag]})"
    return {"FILE": "_files", "DIR": "_files -/"}.get(str(action.metavar), "")


def fish(parsers: Parsers) -> str:
    """Return the commands for fish."""
    commands = {name: parser for name, parser in parsers.items() if name}
    none_yet = f"not __fish_seen_subcommand_from {' '.join(commands)}"
    lines = [f"{_HEADER} fish", "complete -c scoop-server -f"]
    for name, parser in parsers.items():
        if name:
            description = str(parser.description).partition(". ")[0]
            lines.append(f"complete -c scoop-server -n '__fish_is_first_token' -a {name} -d {_quoted(description)}")
        where = _quoted(f"__fish_seen_subcommand_from {name}" if name else none_yet)
        for action in _actions(parser):
            values = _fish_values(action)
            if not action.option_strings:
                lines.append(f"complete -c scoop-server -n {where} {values}")
            for flag in action.option_strings:
                named = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                words = f"complete -c scoop-server -n {where} {named} {values}".rstrip()
                lines.append(f"{words} -d {_quoted(_help(action))}")
    return "\n".join([*lines, ""])


def _fish_values(action: argparse.Action) -> str:
    if action.choices:
        return f"-a {_quoted(' '.join(map(str, action.choices)))}"
    for flag in action.option_strings:
        if flag in _WORDS:
            return f"-x -a {_quoted(_WORDS[flag])}"
    directories = "-a '(__fish_complete_directories)'"
    match action.metavar:
        case "DIR":
            return f"-x {directories}" if action.option_strings else directories
        case "FILE":
            return "-r -F"
        case None:
            return ""
        case _:
            return "-x"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: Final[Mapping[str, Callable[[Parsers], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
