"""The connection to etcd that the settings ask for. gRPC is imported only when one is opened."""

import os
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from scoop_etcd.client.api import EtcdClient
from scoop_etcd.client.connection_settings import ConnectionSettings, Credentials
from scoop_etcd.options import PASSWORD_VARIABLE, EtcdSettings
from scoop_server.errors import ConfigurationError
from scoop_server.net.x509 import expiries

_REQUEST_SHARE: Final = 4
"""Requests to etcd that may time out, one after the other, before a client's request does."""


def read_connection_settings(etcd: EtcdSettings, environment: Mapping[str, str]) -> ConnectionSettings:
    """Return what a client needs to connect. Raises ConfigurationError if a file cannot be read."""
    if etcd.urls is None:
        raise ConfigurationError("cannot connect to etcd: no URLs are set; set them with --etcd")
    expires_at = _check_certificates(etcd)
    credentials = Credentials(
        user=etcd.user or "",
        password=_password(etcd, environment),
        ca=_read(etcd.ca) or (_system_authorities() if etcd.urls.is_tls else None),
        certificate=_read(etcd.cert),
        key=_read(etcd.key),
    )
    return ConnectionSettings(etcd.urls.addresses, etcd.urls.is_tls, credentials, expires_at)


def open_client(connection: ConnectionSettings, commit_seconds_max: float) -> EtcdClient:
    """Return a client of ``connection``. Raises ConfigurationError if the extra is not installed."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would write to standard error, past the log
    try:
        from scoop_etcd.client.grpc_client import REQUEST_SECONDS_MAX, GrpcEtcdClient  # noqa: PLC0415  # of an extra
    except ImportError as error:
        raise ConfigurationError(
            f"cannot use etcd: {error}; install it with: pip install 'scoop-server[etcd]'"
        ) from error
    # In an order of its own, so that a member that hangs does not stall all nodes at once.
    endpoints = random.sample(connection.endpoints, len(connection.endpoints))
    seconds_max = min(REQUEST_SECONDS_MAX, commit_seconds_max / _REQUEST_SHARE)
    return GrpcEtcdClient(replace(connection, endpoints=endpoints), seconds_max)


def connect(etcd: EtcdSettings, environment: Mapping[str, str]) -> EtcdClient:
    """Return a client for one command. Raises ConfigurationError."""
    return open_client(read_connection_settings(etcd, environment), etcd.commit_seconds_max)


def _check_certificates(etcd: EtcdSettings) -> float | None:
    """Return the time at which the first certificate of the client's chain expires; None without one.

    Raises ConfigurationError if gRPC could not use the files, which it would not explain.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if _read(etcd.ca):
        try:
            context.load_verify_locations(etcd.ca)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"cannot use {etcd.ca} for etcd: {error.reason or error}; name a file of certificates in PEM"
            ) from None
    if etcd.cert and _read(etcd.cert) and _read(etcd.key):
        try:
            context.load_cert_chain(etcd.cert, etcd.key, lambda: "")
            each_expires_at = expiries(etcd.cert.read_text(encoding="ascii", errors="replace"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"cannot use {etcd.cert} with the key in {etcd.key} for etcd: {error};"
                " name a certificate and its key, without a passphrase, in PEM"
            ) from None
        own_expires_at = each_expires_at[0]  # the client's own comes first; etcd may not need the others
        if own_expires_at < time.time():
            date = datetime.fromtimestamp(own_expires_at, UTC).date()
            raise ConfigurationError(f"cannot use {etcd.cert} for etcd: it expired on {date}; renew it")
        return min(each_expires_at)
    return None


def _password(etcd: EtcdSettings, environment: Mapping[str, str]) -> str:
    if etcd.user is None:
        return ""
    given = _read(etcd.password_file)
    if given is None:
        password = environment.get(PASSWORD_VARIABLE, "")
    else:
        try:
            password = given.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"cannot read {etcd.password_file}: it is not UTF-8; name a file with a password"
            ) from None
    if not password:
        raise ConfigurationError(
            f"cannot authenticate {etcd.user} at etcd: no password; write it into a file for "
            f"--etcd-password-file, or set {PASSWORD_VARIABLE}"
        )
    return password


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error


def _system_authorities() -> bytes | None:
    """Return the authorities of the system, which gRPC does not use by itself; None for those of gRPC."""
    file = ssl.get_default_verify_paths().cafile
    return _read(Path(file)) if file else None
