"""The admin endpoint: the state of a run over HTTP, for probes and Prometheus.

``/livez``    the process is up, also while it loads a large index, and its event loop is not stuck
``/readyz``   clients are served and may change the index; otherwise one word for the reason
``/metrics``  the metrics, if prometheus_client is installed
``/version``  as JSON

It runs in a thread of its own and reads a few numbers of the server, never the graph.
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from scoop_server import __version__, form
from scoop_server.admin.http_server import BACKLOG, CPU_SHARE, HttpResponse, HttpServer, problem
from scoop_server.config.addresses import ListenAddress
from scoop_server.net.listener import ADMIN_WAY_OUT, bind
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log

_INSTALL_METRICS: Final = b"prometheus_client is not installed; install it with: pip install 'scoop-server[metrics]'\n"


def open_endpoint(address: ListenAddress, health: Health) -> HttpServer:
    """Serve the state of a run at ``address`` until the result is closed.

    Raises :exc:`~scoop_server.errors.ListenError` if it cannot listen there.
    """
    listener = bind(address, way_out=ADMIN_WAY_OUT)
    listener.listen(BACKLOG)
    place = listener.address if listener.is_unix else f"http://{listener.address}"
    log.info("serving the admin endpoint at %(address)s", {"address": place})
    if listener.is_exposed:
        log.warning(
            "the admin endpoint at %(address)s is reachable from other machines; restrict access to it",
            {"address": place},
        )
    responses: Mapping[str, Callable[[], HttpResponse]] = {
        "/livez": lambda: _probed("stuck" if health.is_stuck else "", "ok"),
        "/readyz": lambda: _probed(health.not_ready_reason, "ready"),
        "/metrics": _metrics_response(health),
        "/version": _version,
    }

    def respond(path: str) -> HttpResponse:
        response = responses.get(path)
        return response() if response else problem(HTTPStatus.NOT_FOUND, f"the paths are {', '.join(responses)}")

    return HttpServer(listener, respond)


def _probed(reason: str, success: str) -> HttpResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
    return HttpResponse(status, f"{reason or success}\n".encode())


def _version() -> HttpResponse:
    version = {"version": __version__, "form": form(), "python": platform.python_version(), "platform": sys.platform}
    return HttpResponse(HTTPStatus.OK, json.dumps(version).encode() + b"\n", "application/json")


def _metrics_response(health: Health) -> Callable[[], HttpResponse]:
    try:
        from scoop_server.admin.metrics import metrics_of  # noqa: PLC0415  # prometheus_client comes with an extra
    except ImportError:
        return lambda: HttpResponse(HTTPStatus.NOT_IMPLEMENTED, _INSTALL_METRICS)
    media_type, render = metrics_of(health)
    body, valid_until = b"", 0.0

    def respond() -> HttpResponse:
        nonlocal body, valid_until
        # A rendering takes a few milliseconds. At most half of the endpoint's share is for them, so a body is at most a
        # tenth of a second old, and many requests for metrics cannot use up the share that the probes need.
        if time.monotonic() >= valid_until:
            cpu_started = time.thread_time()
            body = render()
            valid_until = time.monotonic() + (time.thread_time() - cpu_started) / (CPU_SHARE / 2)
        return HttpResponse(HTTPStatus.OK, body, media_type)

    return respond
