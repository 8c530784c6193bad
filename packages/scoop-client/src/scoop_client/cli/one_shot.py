"""``scoop index``, ``remove``, ``query`` and ``ping``: one request per package, and the reason of each FAIL."""

import time
from collections.abc import Iterable, Sequence

from scoop_core import Command, MissingDependencies, Request, Response

from scoop_client.blocking import Client
from scoop_client.cli.output import JsonValue, Output
from scoop_client.cli.status import ExitStatus
from scoop_client.options import PING_NAME

_REMOVE_FAILED = "other packages depend on it; scoop impact --direct names them"
_INDEX_FAILED = "every dependency is indexed: the server rejects cycles, or the index has just changed"
_ERROR = "the listener is read-only, a role forbids it, or the server has lower limits than this client"


def run_requests(client: Client, requests: Sequence[Request], output: Output) -> ExitStatus:
    """Send ``requests``, print each response, and return the status of the worst."""
    worst = ExitStatus.OK
    for request in requests:
        response = client.send(request)
        reason, missing = explain(client, request, response)
        value: dict[str, JsonValue] = {"command": str(request.command), "package": request.package}
        if request.command is Command.INDEX:
            value["dependencies"] = list(request.dependencies)
        value["response"] = str(response)
        if reason:
            value |= {"reason": reason} | ({"missing": list(missing)} if missing else {})
        output.result(f"{request.package} {response}{f': {reason}' if reason else ''}", value)
        worst = max(worst, ExitStatus.of(response))
    return worst


def explain(client: Client, request: Request, response: Response) -> tuple[str, tuple[str, ...]]:
    """Return the reason of a FAIL or ERROR that the protocol lets a client find out, and the missing dependencies."""
    if response is Response.ERROR:
        return _ERROR, ()
    if response is Response.OK or request.command is Command.QUERY:
        return "", ()
    if request.command is Command.REMOVE:
        return _REMOVE_FAILED, ()
    missing = find_missing(client, request.dependencies)
    if not missing:
        return _INDEX_FAILED, ()
    return str(MissingDependencies(request.package, missing)).partition(": ")[2], missing


def find_missing(client: Client, packages: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``packages`` that are not indexed, by QUERY."""
    queries = (Request.of(Command.QUERY, name) for name in packages)
    return tuple(request.package for request, response in client.stream(queries) if response is Response.FAIL)


def ping(client: Client, output: Output) -> ExitStatus:
    """Print the time of one request."""
    client.connect()
    start = time.perf_counter()
    response = client.query(PING_NAME)
    seconds = time.perf_counter() - start
    address = str(client.address)
    value: dict[str, JsonValue] = {"address": address, "seconds": seconds}
    if response is Response.ERROR:
        output.result(f"{address}: ERROR: {_ERROR}", value | {"response": str(response)})
        return ExitStatus.ERROR
    output.result(f"{address}: {seconds * 1_000:.2f} ms", value)
    return ExitStatus.OK
