"""``scoop load``: send the packages of a file in dependency order."""

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import Final, TextIO

from scoop_core import ENCODING, Request

from scoop_client.cli.output import Output
from scoop_client.cli.sending import Transfer
from scoop_client.cli.settings import Settings
from scoop_client.cli.status import ExitStatus
from scoop_client.forms import LINES, parse_packages, recognise
from scoop_client.inputs import STDIN, cannot_read, lines_of, open_stdin
from scoop_client.ordering import Reject, in_dependency_order, requests_of_lines, requests_of_packages

_READ_BYTES: Final = 1_048_576

_BYTE_ORDER_MARK: Final = codecs.BOM_UTF8.decode(ENCODING)


def load(
    source: str,
    settings: Settings,
    output: Output,
    *,
    form: str | None,
    dry_run: bool,
    failures: str | None,
    resend: bool,
) -> ExitStatus:
    """Send the packages in ``source``, or print the requests; return the status of the worst response."""
    transfer = Transfer(output, failures)
    with ExitStack() as stack:
        total = None if source == STDIN else _count_lines(source)
        stream = open_stdin() if source == STDIN else stack.enter_context(_open(source))
        try:
            requests = in_dependency_order(_read(stream, source, form, transfer.reject))
            client = None if dry_run else stack.enter_context(settings.new_client(resend_changes=resend))
            if client:
                client.connect()
        except KeyboardInterrupt:
            return transfer.interrupt()
        if client is None:
            return transfer.print_requests(requests)
        return transfer.send(client, requests, "loading", total)


def _open(path: str) -> TextIO:
    try:
        return open(path, encoding=ENCODING, newline="\n")
    except OSError as error:
        raise cannot_read(path, error) from error


def _count_lines(path: str) -> int | None:
    """Return the number of lines, which is the number of packages in protocol lines and lists.

    Returns None for a pipe, such as that of ``<(COMMAND)``, which can be read only once.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_READ_BYTES), b""))
    except OSError as error:
        raise cannot_read(path, error) from error


def _read(stream: TextIO, source: str, form: str | None, reject: Reject) -> Iterator[Request]:
    """Yield the requests of protocol lines as they arrive, or of another form, which is read whole."""
    lines = lines_of(stream, source)
    head: list[str] = []
    for line in chain((each.removeprefix(_BYTE_ORDER_MARK) for each in islice(lines, 1)), lines):
        head.append(line)
        if line.strip() and not line.startswith("#"):
            break
    text = "".join(head)
    if (form or recognise(text)) == LINES:
        return requests_of_lines(chain(head, lines), reject)
    data = (text + "".join(lines)).encode(ENCODING, "replace")
    return requests_of_packages(parse_packages(data.decode("utf-8", "replace"), source, form), reject)
