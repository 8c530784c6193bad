"""The command ``scoop-explorer``."""

import argparse
import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from scoop_core import format_host_and_port, parse_host_and_port

from scoop_explorer import __version__
from scoop_explorer.application import Application
from scoop_explorer.server import listen, serve
from scoop_explorer.sources import Source, open_source
from scoop_server.app.plugin import IndexPlugin, OptionTable
from scoop_server.config.options import Option, declared_options
from scoop_server.config.settings import Settings
from scoop_server.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here
"""The address of this machine to which each address of all interfaces answers."""

_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

_EXAMPLES: Final = """\
examples:
  scoop-explorer scoop-data                       follow the data directory of a server
  scoop-explorer index.dump                       show a dump
  scoop-explorer --etcd http://127.0.0.1:2379     follow the log of a replicated index
  scoop-explorer scoop-data --listen 0.0.0.0:8090 --host-name packages.example
"""


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, and a help text that cannot be written, which argparse ignores."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        if file is not sys.stdout:
            super()._print_message(message, file)
            return
        try:
            print(message, end="", flush=True)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the flush at exit would fail again
            self.exit(1, f"cannot print: {error.strerror}; check where standard output leads\n")


def _options_of(plugin: IndexPlugin) -> list[Option]:
    """Return the options by which a reader finds an index of ``plugin``."""
    return [option for option in declared_options(plugin.options) if "dump" in option.commands]


def _argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Return ``parse`` as argparse needs it, which does not print the message of a ValueError."""

    def convert(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _parser(plugins: Sequence[IndexPlugin]) -> argparse.ArgumentParser:
    parser = _Parser(
        "scoop-explorer",
        description="Serve web pages about a package index, which is followed and never changed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="the data directory of a server, or a dump file")
    for plugin in plugins:
        group = parser.add_argument_group(f"instead of SOURCE, an index in {plugin.place}")
        for option in _options_of(plugin):
            group.add_argument(
                option.flag, metavar=option.kind.metavar, type=_argument(option.kind.parse), default=option.default,
                help=option.meaning, dest=option.name,
            )  # fmt: skip
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_argument(partial(parse_host_and_port, port_min=0)),
        default=("127.0.0.1", 8090),
        help="the address to listen on (127.0.0.1:8090); port 0 takes a free one",
    )
    parser.add_argument(
        "--host-name",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which browsers reach the explorer, besides its address; may be repeated",
    )
    parser.add_argument("--version", action="version", version=f"scoop-explorer {__version__}")
    return parser


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def source_of(arguments: Sequence[str]) -> Source:
    """Return the source that the arguments of the command name. Raises ConfigurationError."""
    return _parse(arguments)[1]()


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, Callable[[], Source]]:
    """Return the options, and a function that opens the source that they name."""
    table = OptionTable()
    table.load_plugins()
    parser = _parser(table.plugins)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        advice = table.advice(unknown[0].partition("=")[0], {})
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{f'; {advice}' if advice else ''}")
    parts = {
        plugin.options: plugin.options(**{each.attribute: getattr(options, each.name) for each in _options_of(plugin)})
        for plugin in table.plugins
    }
    settings = Settings(parts=parts)
    plugin = table.selected(settings)
    if (options.source is None) is (plugin is None):
        parser.error(" or ".join(["expected either SOURCE", *(each.selector for each in table.plugins)]))
    return options, partial(open_source, options.source) if plugin is None else partial(plugin.follow, settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options, open_named_source = _parse(arguments)
    host, port = options.listen
    try:
        listener = listen(host, port)
    except OSError as error:
        address = format_host_and_port(host, port)
        print(f"cannot listen on {address}: {error.strerror}; name another with --listen", file=sys.stderr)
        return 1
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    hosts = [*_LOOPBACK_NAMES, *options.host_name]
    if not _is_unspecified(host):
        hosts.append(f"[{host}]" if ":" in host else host)
    with listener:
        try:
            source = open_named_source()
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            return error.exit_status
        host = _LOOPBACK.get(host, host)  # an address of all interfaces is none to go to
        reached = format_host_and_port(host, listener.getsockname()[1])
        print(f"exploring {source.path} at http://{reached}", file=sys.stderr)
        sys.stderr.flush()
        survey = [sys.executable, "-m", "scoop_explorer.survey_process", *arguments]
        serve(Application(source, hosts, survey), listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
