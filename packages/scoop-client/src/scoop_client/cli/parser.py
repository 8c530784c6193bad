"""The command line of ``scoop``."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from scoop_client import __version__
from scoop_client.cli.importing import ECOSYSTEMS
from scoop_client.cli.questions import EXPORT_FORMATS
from scoop_client.cli.settings import (
    CONFIG_VARIABLE,
    DEFAULT_ADDRESS,
    DEFAULT_DATA,
    VARIABLES,
    UsageError,
    default_file,
)
from scoop_client.forms import FORMS

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

PROGRAM: Final = "scoop"

EXAMPLES: Final = {
    "scoop index isl gmp": "Index isl, which depends on gmp.",
    "scoop publish isl --needs gmp -- ./upload isl.tar": "Upload isl if the index accepts it.",
    "scoop withdraw isl --needs gmp -- ./delete isl": "Delete isl if no other package depends on it.",
    "scoop load packages.txt": "Send the packages of a file in dependency order.",
    "scoop import debian --into 127.0.0.1:8080": "Index the packages that apt knows.",
    "scoop sync debian Packages.gz --from /var/lib/scoop --into 127.0.0.1:8080": "Index what a repository has.",
    "scoop impact libssl3t64": "Print all that depends on a package.",
    "scoop why vim libc6": "Print how one package depends on another.",
    "scoop tree vim --depth 2": "Print what a package needs as a tree.",
    "scoop plan --remove libxml2": "Print what a removal would break, and what nothing would need any more.",
    "scoop log --package libc6 --since 2h": "Print who changed a package, and when.",
    "scoop watch --since 4711 --json": "Print all changes after a batch, and new ones, as JSON.",
    "scoop shell": "Type requests, with completion and history.",
}


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, and a help text that cannot be written, which argparse ignores."""

    runs_command = False
    """True if the words after ``--`` are a command to run."""

    def parse_known_args(  # type: ignore[override]  # the overloads of argparse are for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments; those after ``--`` are kept as ``run``, if they are a command."""
        words = list(args or ())
        end = words.index("--") if self.runs_command and "--" in words else len(words)
        flags, unknown = super().parse_known_args(words[:end], namespace)
        if self.runs_command:
            flags.run = words[end + 1 :]
            if not flags.run:
                self.error("expected -- and a command at the end")
        return flags, unknown

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def check_options(self, arguments: Sequence[str]) -> None:
        """Raise UsageError at the first option that is unknown to this parser and to those of its commands.

        argparse would report the value of an unknown option, as an unknown command, before the option itself.
        """
        known = self.known_options()
        for argument in arguments:
            option = argument.partition("=")[0]
            if option == "--":
                return
            if option.startswith("-") and option not in {"-", *known}:
                self.error(f"unknown option {option}{_suggestion(option, known)}")

    def command_of(self, flags: argparse.Namespace) -> "_Parser":
        """Return the parser of the command, or of its part, that ``flags`` name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # the type has no public name
                chosen: _Parser = action.choices[getattr(flags, action.dest)]
                return chosen.command_of(flags)
        return self

    def check_use(self, flags: argparse.Namespace, rest: Sequence[str]) -> None:
        """Raise UsageError for a setting that the command does not use, or an argument too many."""
        command = self.command_of(flags)
        used = {action.dest for action in command._actions}  # noqa: SLF001  # of the same class
        if getattr(flags, "into", "") is None:  # printed only
            used -= VARIABLES.keys()
        unused = [
            option for option, each in self._option_string_actions.items() if each.dest in vars(flags).keys() - used
        ]
        for argument in [*unused, *rest]:
            command.error(f"{argument} is not used" if argument[:1] == "-" else f"unexpected argument {argument!r}")

    def known_options(self) -> set[str]:
        """Return the options of this parser and of its commands."""
        known = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # the type has no public name
                known.update(*(parser.known_options() for parser in action.choices.values()))
        return known

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001  # as above
            self.error(f"unknown {str(action.metavar).lower()} {value!r}{_suggestion(value, action.choices)}")
        super()._check_value(action, value)

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        if file is sys.stdout:
            print(message, end="", flush=True)
        else:
            super()._print_message(message, file)


def _suggestion(word: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {similar[0]}?" if similar else ""


def _settings_parser(*, server: bool = True, connection: bool = True) -> _Parser:
    """Return the common options. They have no defaults, so that they may precede or follow the command."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("settings")
    if server:
        group.add_argument(
            "--server",
            metavar="ADDRESS",
            help=f"HOST:PORT, tls:HOST:PORT or unix:PATH, several with commas, or the name "
            f"of a server in the settings file (default {DEFAULT_ADDRESS})",
        )
    if connection:
        _add_connection(group)
    group.add_argument("--config", metavar="FILE", help="the settings file")
    group.add_argument("--json", action="store_true", help="print results as JSON, one value per line")
    return parser


def _add_connection(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ca", metavar="FILE", help="trust the authorities in this PEM file")
    group.add_argument("--cert", metavar="FILE", help="present this client certificate")
    group.add_argument("--key", metavar="FILE", help="the private key of --cert, if it is in another file")
    group.add_argument("--connect-timeout", metavar="TIME", help="limit of a connection attempt (default 5s)")
    group.add_argument("--response-timeout", metavar="TIME", help="limit of the wait for a response (default 30s)")


def _source_parser(default: str, *names: str) -> _Parser:
    """Return the options of a source, whose form is named by any of ``names``."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument(
        "--from",
        dest="data",
        metavar="SOURCE",
        help=f"a data directory, a dump, a list, JSON, DOT or GraphML; - is standard input ({default})",
    )
    parser.add_argument(*names, dest="form", choices=FORMS, help="the form of SOURCE (default: as its content shows)")
    return parser


def _history_parser() -> _Parser:
    """Return the options of a history, and those that select changes of it."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    source = f"a data directory, or one of archived files (default {DEFAULT_DATA})"
    parser.add_argument("--from", dest="data", metavar="SOURCE", help=source)
    parser.add_argument("--since", metavar="MOMENT", help="begin after this batch, or at this time, such as 2h ago")
    parser.add_argument("--package", metavar="NAME", help="changes of this package only")
    parser.add_argument("--identity", metavar="NAME", help="changes of this identity only, such as CN=builder")
    return parser


def build_parser() -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser, and that of each command."""
    default = f"default {DEFAULT_DATA}"
    settings, source = _settings_parser(), _source_parser(default, "--from-format")
    # A change must not rest on a directory that may belong to another server.
    named_source = _source_parser("no default: what is indexed is unknown", "--from-format")
    # The server of a question is the name of one in the settings file, which names its data directory.
    offline = _settings_parser(connection=False), _source_parser(default, "--from-format", "--format")
    variables = ", ".join([*VARIABLES.values(), CONFIG_VARIABLE])
    root = _Parser(
        PROGRAM,
        description="Use a package index: send requests, load and import packages, and answer questions about them.",
        epilog=f"Variables: {variables}. Settings file: {default_file({'HOME': '~'})}.",
        parents=[settings, source],
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers: dict[str, _Parser] = {}

    def add_with(parents: Sequence[_Parser], name: str, summary: str) -> _Parser:
        text = f"{summary[0].upper()}{summary[1:]}."
        parsers[name] = commands.add_parser(
            name, help=summary, description=text, parents=[*parents], allow_abbrev=False
        )
        return parsers[name]

    def add(name: str, summary: str, *parents: _Parser) -> _Parser:
        return add_with([settings, *parents], name, summary)

    def add_question(name: str, summary: str) -> _Parser:
        return add_with(offline, name, summary)

    _add_requests(add("index", "index a package"), add("remove", "remove packages"), add("query", "query packages"))
    _add_gate(
        add("publish", "index a package, and run a command that uploads it", named_source),
        add("withdraw", "remove a package, and run a command that deletes it", named_source),
    )
    add("ping", "measure the time of one request")
    add("shell", "read requests from a prompt or a pipe")
    _add_load(add("load", "send the packages of a file in dependency order"))
    _add_import(add_with([], "import", "turn the packages of an ecosystem into requests"))
    _add_sync(add("sync", "make the index equal to a repository", named_source))
    history = offline[0], _history_parser()
    log = add_with(history, "log", "print who changed what, and when")
    log.add_argument("--until", metavar="MOMENT", help="end with this batch, or at this time")
    add_with(history, "watch", "print changes as they are made; exit status 8 if some are no longer there")
    _add_questions(
        add_question("why", "print a shortest path from a package to a dependency (find_path in the library)"),
        add_question("needs", "print all that packages depend on, in installation order (transitive_dependencies)"),
        add_question("impact", "print all that depends on packages, in rebuild order (transitive_dependents)"),
        add_question("tree", "print what a package needs, or what depends on it, as a tree (dependencies, dependents)"),
        add_question(
            "plan", "print what changes would break, orphan or rebuild; exit status 1 if they break any (Plan)"
        ),
        add_with([offline[0], source], "export", "print the graph for graph tools (encode_dot and others)"),
        add_question("diff", "print the difference between two indexes; exit status 1 if there is one"),
    )
    add_question("cycles", "print the groups of packages that depend on each other (cyclic_components)")
    add_question("order", "print all packages, dependencies first (topological_order)")
    add_question("layers", "print the packages that can be built in parallel, one layer per line")
    add_question("stats", "print the size and shape of the index")
    return root, parsers


def _add_requests(*parsers: argparse.ArgumentParser) -> None:
    index, *others = parsers
    index.add_argument("package", metavar="NAME")
    index.add_argument("dependencies", metavar="DEPENDENCY", nargs="*", default=[])
    for parser in others:
        parser.add_argument("packages", metavar="NAME", nargs="+")


def _add_gate(*parsers: _Parser) -> None:
    for parser in parsers:
        parser.runs_command = True
        parser.usage = f"{parser.prog} [options] (PACKAGE [--needs A,B] | --artifact FILE) -- COMMAND ..."
        parser.epilog = "If COMMAND fails, the change of the index is undone. --from names the former dependencies."
        parser.add_argument("package", metavar="PACKAGE", nargs="?")
        parser.add_argument("--needs", metavar="A,B", type=_names, help="the dependencies of the package")
        parser.add_argument(
            "--artifact", metavar="FILE", help="read the name and the dependencies of a .deb, a .whl or an npm .tgz"
        )


def _names(text: str) -> list[str]:
    return re.findall(r"[^,\s]+", text)


def _depth(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"expected a number of levels, got {text!r}")
    return int(text)


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help="protocol lines, 'name: dep dep' lines, JSON, DOT or GraphML (default -)",
    )
    parser.add_argument(
        "--format", dest="form", choices=FORMS, default=None, help="the form of FILE (default: as its content shows)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the requests instead of sending them")
    parser.add_argument("--failures", metavar="FILE", help="write the requests that failed, with reasons, to a file")
    parser.add_argument("--resend", action="store_true", help="send changes again after a broken connection")


def _add_import(parser: _Parser) -> None:
    settings = _settings_parser(server=False)
    adapters = parser.add_subparsers(dest="ecosystem", metavar="ECOSYSTEM", required=True)
    for name, ecosystem in ECOSYSTEMS.items():
        adapter = adapters.add_parser(name, help=ecosystem.paths, parents=[settings], allow_abbrev=False)
        adapter.add_argument("paths", metavar="PATH", nargs="*", help=ecosystem.paths)
        for switch, meaning in ecosystem.switches.items():
            adapter.add_argument(f"--{switch}", action="store_true", help=meaning)
        adapter.add_argument("--into", metavar="ADDRESS", help="send the requests to this server, instead of printing")
        adapter.add_argument("--since", metavar="OLD", help="only the difference from this index: any SOURCE of --from")
        _add_reports(adapter)


def _add_sync(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help=f"an ecosystem ({', '.join(ECOSYSTEMS)}) with its PATHs, or a source of --from"
    )
    parser.add_argument("paths", metavar="PATH", nargs="*", help="as for scoop import")
    for name, ecosystem in ECOSYSTEMS.items():
        for switch, meaning in ecosystem.switches.items():
            parser.add_argument(
                f"--{switch}", dest="switches", action="append_const", const=switch, help=f"{name}: {meaning}"
            )
    parser.set_defaults(switches=[])
    parser.add_argument(
        "--into", dest="server", metavar="SERVER", default=argparse.SUPPRESS, help="the server, as in --server"
    )
    parser.add_argument(
        "--record", metavar="FILE", help="remember the packages here, where --from cannot read the index"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the requests instead of sending them")
    parser.add_argument("--strict", action="store_true", help="change nothing if the repository lacks a dependency")
    parser.add_argument("--allow-empty", action="store_true", help="remove all packages if the repository has none")
    _add_reports(parser)


def _add_reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--failures", metavar="FILE", help="write the requests that failed to a file, with reasons")
    parser.add_argument("--left-out", metavar="FILE", help="write all that was left out to a file, with reasons")


def _add_questions(*parsers: argparse.ArgumentParser) -> None:
    why, needs, impact, tree, plan, export, diff = parsers
    why.add_argument("package", metavar="PACKAGE")
    why.add_argument("dependency", metavar="DEPENDENCY")
    for parser in (needs, impact):
        parser.add_argument("packages", metavar="PACKAGE", nargs="+")
        parser.add_argument("--direct", action="store_true", help="only direct neighbours")
    tree.add_argument("package", metavar="PACKAGE")
    tree.add_argument("--depth", metavar="N", type=_depth, help="show only N levels below the package")
    tree.add_argument("--invert", action="store_true", help="show what depends on the package")
    for option, meaning in (
        ("--remove", "remove these packages"),
        ("--change", "change these packages, but not their dependencies"),
        ("--keep", "these packages are no orphans, even if nothing needs them"),
    ):
        plan.add_argument(option, metavar="A,B", type=_names, action="extend", default=[], help=meaning)
    plan.add_argument(
        "--index", metavar="'NAME: A B'", action="append", default=[], help="add or change a package with dependencies"
    )
    export.add_argument("packages", metavar="PACKAGE", nargs="*", help="only these, and all that they need")
    export.add_argument("--format", choices=list(EXPORT_FORMATS), help="the format of the output (default dot)")
    diff.usage = f"{diff.prog} [options] [OLD] NEW"
    diff.add_argument(
        "sources", metavar="[OLD] NEW", nargs="+", help="sources, as of --from, which is the default of OLD"
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line. Raises UsageError, and SystemExit after printing the help or the version."""
    root, _ = build_parser()
    root.check_options(arguments)
    flags, rest = root.parse_known_args(arguments)
    root.check_use(flags, rest)
    return flags
