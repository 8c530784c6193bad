"""The token that etcd gives for a user and a password, renewed when etcd no longer accepts it."""

import threading
from typing import Final

import grpc

from scoop_etcd.client import wire
from scoop_etcd.client.api import Failure
from scoop_etcd.client.channels import Endpoints, Metadata
from scoop_etcd.client.connection_settings import Credentials

_AUTHENTICATION_SECONDS_MAX: Final = 2.0
"""A password check is slow by intent, and takes 0.1 s."""

_REQUIRE_LEADER: Final = ("hasleader", "true")
"""Asks a member without a leader to fail immediately instead of waiting for one, and to end its watches."""


class Tokens:
    """The token of a user; an empty one without a user. Any thread may call it."""

    def __init__(self, credentials: Credentials, endpoints: Endpoints) -> None:
        self._credentials = credentials
        self._endpoints = endpoints
        self._lock = threading.Lock()
        """Held during an authentication: all that need a token wait for it."""
        self._token = ""

    @staticmethod
    def metadata(token: str) -> Metadata:
        """Return the metadata of a request with ``token``."""
        return (_REQUIRE_LEADER, ("token", token)) if token else (_REQUIRE_LEADER,)

    def get(self) -> str | Failure:
        """Return the token, or the failure to get one."""
        if not self._credentials.user:
            return ""
        with self._lock:
            if self._token:
                return self._token
            outcome = self._authenticate(len(self._endpoints))
            if isinstance(outcome, str):
                self._token = outcome
            return outcome

    def discard(self, token: str) -> None:
        """Forget ``token``, which etcd no longer accepts."""
        with self._lock:
            if self._token == token:
                self._token = ""

    def _authenticate(self, endpoints_left: int) -> str | Failure:
        endpoint = self._endpoints.current
        method, data = wire.authentication(self._credentials.user, self._credentials.password)
        try:
            return wire.token(endpoint.call(method, data, _AUTHENTICATION_SECONDS_MAX, (_REQUIRE_LEADER,)))
        except grpc.RpcError as error:
            failed = self._endpoints.failed(endpoint, error)
        if failed.was_not_sent and endpoints_left > 1:
            return self._authenticate(endpoints_left - 1)
        return Failure(failed.code, f"cannot authenticate: {failed.reason}")
