"""The resources that a start claims: the data directory, certificates, addresses, descriptors."""

import os
import resource
import stat
from collections.abc import MutableMapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Final

from scoop_server.config.limits import Limits
from scoop_server.config.settings import Settings
from scoop_server.net.activation import inherited_listeners
from scoop_server.net.listener import Listener, bind
from scoop_server.net.tls import Certificates
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import user_name
from scoop_server.telemetry.logs import log

RESERVED_DESCRIPTORS: Final = 32
"""Descriptors that no client gets: standard streams, lock, two journals, a compaction, selectors, signals."""

ADMIN_DESCRIPTORS: Final = 48
"""Descriptors that no client gets if there is an admin endpoint: its socket and its connections."""

_HANDSHAKE_SHARE: Final = 8
"""If descriptors are scarce, one in this many is for TLS handshakes: they take seconds, clients stay."""

_ROOM_MIN: Final = 2
"""At least one client and one handshake, however few descriptors there are."""


class Claims:
    """The exclusive resources of one server, until ``resources`` are closed.

    The data directory, if any, is locked, and the addresses are bound, or inherited sockets taken; they do not listen
    yet. Raises DataDirectoryError, CertificateError or ListenError.
    """

    def __init__(
        self, settings: Settings, environment: MutableMapping[str, str], resources: ExitStack, *, has_directory: bool
    ) -> None:
        self.directory = resources.enter_context(DataDirectory.lock(str(settings.data_dir))) if has_directory else None
        """None for an index in memory only, or of a plug-in."""
        if self.directory is not None:
            _warn_of_other_writers(self.directory)
        self.certificates = certificates = read_certificates(settings)
        _warn_of_readable_key(settings)

        def claim(listener: Listener) -> Listener:
            return resources.enter_context(closing(listener))

        self.listeners = [claim(listener) for listener in inherited_listeners(environment, certificates)]
        if self.listeners:
            _warn_of_unused_addresses(settings, self.listeners)
        else:
            self.listeners = [claim(bind(address, certificates)) for address in settings.addresses]
        self.has_tls = any(listener.is_tls for listener in self.listeners)
        if certificates is not None and not self.has_tls:
            log.warning("--tls-cert is not used: no socket is named tls; enable scoop-tls.socket to serve TLS")
        warn_of_exposed_listeners(self.listeners)


def read_certificates(settings: Settings) -> Certificates | None:
    """Read the certificates of ``settings``, if any. Raises CertificateError."""
    if settings.tls_cert is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca, settings.tls_crl)


def _warn_of_unused_addresses(settings: Settings, inherited: list[Listener]) -> None:
    """Warn of configured addresses that the inherited sockets replace and do not include."""
    addresses = {listener.address for listener in inherited}
    unused = [str(each) for each in settings.listen if str(each).removeprefix("tcp:") not in addresses]
    if unused:
        log.warning(
            "--listen is ignored because the service manager passed other sockets than %(address)s; "
            "add a socket unit for it, or remove it from the settings",
            {"address": ", ".join(unused)},
        )


def _warn_of_other_writers(directory: DataDirectory) -> None:
    with suppress(OSError):
        status = directory.files.fstat(directory.descriptor)
        if status.st_uid != os.geteuid():
            log.warning(
                "the data directory %(path)s belongs to %(owner)s, and the server runs as %(user)s, whose files "
                "%(owner)s cannot read; start it as %(owner)s",
                {"path": directory.path, "owner": user_name(status.st_uid), "user": user_name(os.geteuid())},
            )
        if status.st_mode & stat.S_IWOTH:
            log.warning(
                "every user of this machine can write to the data directory %(path)s, and so change the index; "
                "remove that permission with chmod o-w",
                {"path": directory.path},
            )


def _warn_of_readable_key(settings: Settings) -> None:
    key = settings.tls_key or settings.tls_cert
    with suppress(OSError):
        if key is not None and os.stat(key).st_mode & stat.S_IROTH:
            log.warning(
                "every user of this machine can read the private key %(path)s; remove that permission with chmod o-r",
                {"path": key},
            )


_WARNINGS_OF_EXPOSURE: Final = {
    (True, False): (
        "%(address)s is reachable from other machines and requires no client certificate: "
        "anyone who connects can change the index; set --tls-client-ca, or restrict access with a firewall"
    ),
    (False, True): (
        "%(address)s is reachable from other machines without TLS: "
        "traffic can be read and altered in transit; listen with tls: or on loopback"
    ),
    (False, False): (
        "%(address)s is reachable from other machines without TLS: "
        "anyone who connects can change the index, and traffic can be read and altered in transit; "
        "listen with tls: and --tls-client-ca, or on loopback"
    ),
}
"""By whether a listener serves TLS, and whether it is read-only; with both there is nothing to warn of."""


def warn_of_exposed_listeners(listeners: list[Listener]) -> None:
    """Warn of each listener at which anyone on another machine can change the index, or traffic can be altered."""
    for listener in listeners:
        warning = _WARNINGS_OF_EXPOSURE.get((listener.is_tls, listener.policy.is_read_only))
        if listener.is_exposed and warning:
            log.warning(warning, {"address": listener.address})


def fit_descriptors(limits: Limits, *, has_admin: bool, has_tls: bool) -> Limits:
    """Raise the soft limit of open files to what ``limits`` need; return them, lowered if the hard limit is too low."""
    reserved = RESERVED_DESCRIPTORS + (ADMIN_DESCRIPTORS if has_admin else 0)
    handshakes = limits.handshakes_max if has_tls else 0
    needed = reserved + limits.clients_max + handshakes
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return limits
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == needed:
        return limits
    room = max(_ROOM_MIN, soft - reserved)
    handshakes = min(handshakes, max(1, room // _HANDSHAKE_SHARE)) if has_tls else 0
    clients = room - handshakes
    log.warning(
        "the limit of open files is %(files)d, which allows only %(clients)d clients; "
        "raise it with ulimit -n or LimitNOFILE=",
        {"clients": clients, "files": soft},
    )
    return replace(limits, clients_max=clients, handshakes_max=handshakes or limits.handshakes_max)
