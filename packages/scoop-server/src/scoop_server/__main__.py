"""``scoop-server``, and ``python -m scoop_server``."""

import faulthandler
import signal
import sys


def main() -> int:
    """Run the command; Ctrl-C during the imports, before it can handle that, ends it without a traceback."""
    if sys.stderr is not None:
        faulthandler.enable()  # a watchdog ends a process with SIGABRT, and its stacks tell why
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from scoop_server.cli.main import main as run  # noqa: PLC0415  # it takes most of the time of a start

    signal.signal(signal.SIGINT, handler)
    return run()


if __name__ == "__main__":
    sys.exit(main())
