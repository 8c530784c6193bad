"""The token that etcd gives for a user and a password, renewed when etcd no longer accepts it."""

import threading
from collections.abc import Callable
from typing import Final

import grpc

from scoop_server.etcd import wire
from scoop_server.etcd.api import ErrorCode, Failure
from scoop_server.etcd.channels import Endpoint, Endpoints, Metadata, UnaryCall
from scoop_server.etcd.cluster import Credentials

_AUTHENTICATION_SECONDS_MAX: Final = 2.0
"""A password check is slow by intent, and takes 0.1 s."""

_REQUIRE_LEADER: Final = ("hasleader", "true")
"""Asks a member without a leader to fail immediately instead of waiting for one, and to end its watches."""

Receiver = Callable[[str | Failure], None]


class Tokens:
    """The token of a user; an empty one without a user. Any thread may call it."""

    def __init__(self, credentials: Credentials, endpoints: Endpoints) -> None:
        self._credentials = credentials
        self._endpoints = endpoints
        self._lock = threading.Lock()
        self._token = ""
        self._waiting: list[Receiver] = []
        """The requests that wait for a token; while there are any, an authentication is in progress."""

    @staticmethod
    def metadata(token: str) -> Metadata:
        """Return the metadata of a request with ``token``."""
        return (_REQUIRE_LEADER, ("token", token)) if token else (_REQUIRE_LEADER,)

    def request(self, receive: Receiver) -> None:
        """Call ``receive`` with the token, now if there is one; or with the failure to get one."""
        if self._credentials.user:
            with self._lock:
                token = self._token
                if not token:
                    self._waiting.append(receive)
                    if len(self._waiting) > 1:
                        return
            if not token:
                self._authenticate(len(self._endpoints))
                return
        else:
            token = ""
        receive(token)

    def discard(self, token: str) -> None:
        """Forget ``token``, which etcd no longer accepts."""
        with self._lock:
            if self._token == token:
                self._token = ""

    def _authenticate(self, endpoints_left: int) -> None:
        endpoint = self._endpoints.current
        method, data = wire.authentication(self._credentials.user, self._credentials.password)
        call = endpoint.call(method, data, _AUTHENTICATION_SECONDS_MAX, (_REQUIRE_LEADER,))
        call.add_done_callback(lambda call: self._receive(call, endpoint, endpoints_left - 1))

    def _receive(self, call: UnaryCall, endpoint: Endpoint, endpoints_left: int) -> None:
        outcome: str | Failure
        try:
            outcome = wire.token(call.result())
        except grpc.FutureCancelledError:
            outcome = Failure(ErrorCode.UNAVAILABLE, "the client has been closed")
        except grpc.RpcError:
            failed = self._endpoints.failed(endpoint, call)
            if failed.was_not_sent and endpoints_left:
                self._authenticate(endpoints_left)
                return
            outcome = Failure(failed.code, f"cannot authenticate: {failed.reason}")
        with self._lock:
            if isinstance(outcome, str):
                self._token = outcome
            waiting, self._waiting = self._waiting, []
        for receive in waiting:
            receive(outcome)
