"""``scoop log`` and ``scoop watch``: who changed what in a data directory, and a feed of new changes."""

import sys
from argparse import Namespace

from scoop_client.cli.output import Output
from scoop_client.cli.settings import Settings, UsageError
from scoop_client.cli.status import ExitStatus

_SELECTIONS = ("since", "until", "package", "identity")


def print_log(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    """Print the changes that are there, oldest first."""
    return _print(flags, settings, output)


def watch(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    """Print changes as they are made, without end."""
    return _print(flags, settings, output, since="now", follow=True)


def _print(flags: Namespace, settings: Settings, output: Output, **defaults: object) -> ExitStatus:
    # The server's package reads its own files, and prints what ``scoop-server log`` prints.
    try:
        from scoop_server.history import HistoryGoneError, ServerError, log  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise UsageError(f"{flags.command} needs an extra: pip install 'scoop-client[history]'") from error
    given = {name: value for name in _SELECTIONS if (value := getattr(flags, name, None)) is not None}
    if output.is_json:
        given["json"] = True
    try:
        log(settings.data_directory(), defaults | given, sys.stdout)
    except ServerError as error:
        status = ExitStatus.HISTORY_GONE if isinstance(error, HistoryGoneError) else ExitStatus.ERROR
        output.error(str(error), status)
        return status
    return ExitStatus.OK
