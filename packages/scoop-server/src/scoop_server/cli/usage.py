"""What the parsers know, for a shell and for a reader.

``scoop-server completion SHELL``  print what makes a shell complete the command
``scoop-server manual``            print the manual page
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Final

from scoop_server.cli import maintenance
from scoop_server.cli.completion import SHELLS
from scoop_server.cli.manual import manual_page
from scoop_server.cli.stdio import print_all
from scoop_server.config.options import OneLineParser, build_parser

COMMAND_NAMES: Final = frozenset({"completion", "manual"})


def parsers() -> Mapping[str, ArgumentParser]:
    """Return the parsers of the commands by their names; that of the server has the empty name, and comes first."""
    completion = OneLineParser(
        prog="scoop-server completion",
        description="Print what makes a shell complete the command. In bash: source <(scoop-server completion bash); "
        "in zsh, save it as _scoop-server in a directory of fpath; in fish: scoop-server completion fish | source.",
    )
    completion.add_argument("shell", metavar="SHELL", choices=list(SHELLS), help=f"one of {', '.join(SHELLS)}")
    manual = OneLineParser(
        prog="scoop-server manual",
        description="Print the manual page in roff. To read it: scoop-server manual | man -l -; "
        "to install it, save it as scoop-server.1 in a directory man1 of the manual path.",
    )
    commands = {name: maintenance.build_parser(name) for name in sorted(maintenance.COMMAND_NAMES)}
    return {"": build_parser(), **commands, "completion": completion, "manual": manual}


def main(arguments: Sequence[str]) -> int:
    """Run ``scoop-server completion`` or ``manual``; return the exit status."""
    known = parsers()
    given = known[arguments[0]].parse_args(arguments[1:])
    if arguments[0] == "manual":
        return print_all(manual_page(known))
    return print_all(SHELLS[given.shell](known))
