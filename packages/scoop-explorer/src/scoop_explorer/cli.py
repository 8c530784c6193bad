"""The command ``scoop-explorer``."""

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from typing import Final

from scoop_explorer import __version__
from scoop_explorer.application import Application
from scoop_explorer.server import listen, serve
from scoop_explorer.sources import open_source

_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

_EXAMPLES: Final = """\
examples:
  scoop-explorer scoop-data                       follow the data directory of a server
  scoop-explorer index.dump                       show a dump
  scoop-explorer scoop-data --listen 0.0.0.0:8090 --host-name packages.example
"""


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535 or not host:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "scoop-explorer",
        description="Serve web pages about a package index, which is followed and never changed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", help="the data directory of a server, or a dump file")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_address,
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


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    host, port = options.listen
    try:
        listener = listen(host, port)
    except OSError as error:
        address = f"{_written(host)}:{port}"
        print(f"cannot listen on {address}: {error.strerror}; name another with --listen", file=sys.stderr)
        return 1
    hosts = [*_LOOPBACK_NAMES, *options.host_name, *([] if _is_unspecified(host) else [_written(host)])]
    with listener:
        print(f"exploring {options.source} at http://{_written(host)}:{listener.getsockname()[1]}", file=sys.stderr)
        sys.stderr.flush()
        serve(Application(open_source(options.source), hosts), listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
