"""One run of the server: put the parts together, serve, save."""

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Final

from scoop_core import DependencyGraph

from scoop_server.app.service_manager import ServiceManager
from scoop_server.app.signals import SignalPipe
from scoop_server.config.options import OPTIONS, Settings
from scoop_server.errors import ListenError
from scoop_server.loop.selector import best_selector
from scoop_server.loop.server import Server
from scoop_server.net.activation import inherited_listeners
from scoop_server.net.listener import Listener, bind
from scoop_server.net.tls import Certificates
from scoop_server.storage.compaction import CompactionProcess
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.lock import DirectoryLock
from scoop_server.storage.store import JournalStore, MemoryStore
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log, set_log_level
from scoop_server.telemetry.statistics import Stage, Statistics
from scoop_server.text import noun

_RESERVED_DESCRIPTORS: Final = 32
"""Kept from clients: standard streams, lock, journal and its successor, a compaction, the selector, signals."""

_ADMIN_DESCRIPTORS: Final = 48
"""Kept from clients for the admin endpoint and its connections."""


def serve(settings: Settings, reread: Callable[[], Settings]) -> None:
    """Serve as ``settings`` say until a signal ends it; ``reread`` gives them as they are when SIGHUP comes.

    Raises DataDirectoryError, ListenError or CertificateError.
    """
    run = Health(statistics := Statistics())
    with ExitStack() as resources:
        signals = resources.enter_context(closing(SignalPipe()))  # first, so that none ends it halfway
        manager = resources.enter_context(closing(ServiceManager(os.environ)))
        if not settings.memory:
            resources.enter_context(closing(DirectoryLock(str(settings.data_dir))))
        certificates = _certificates(settings)
        listeners = _bind_all(settings, certificates, resources)
        if settings.admin is not None:
            from scoop_server.admin.endpoint import AdminEndpoint  # noqa: PLC0415  # asyncio is not loaded for nothing

            resources.enter_context(closing(AdminEndpoint(settings.admin, run)))
        started = time.monotonic()
        store: JournalStore | None = None
        if settings.memory:
            graph, place = DependencyGraph(), "memory only"
        else:
            store, graph = _open_store(settings, signals, manager)
            resources.enter_context(closing(store))
            place = f"data directory {settings.data_dir}, fsync {settings.fsync}"
        statistics.recovery_seconds = time.monotonic() - started
        statistics.is_watched = settings.admin is not None
        statistics.dependency_edges = graph.dependency_total() if statistics.is_watched else 0
        run.index, run.storage = graph, store
        graph.reject_cycles = settings.reject_cycles
        limits = replace(
            settings.limits.of_costly_lines() if settings.reject_cycles else settings.limits,
            clients_max=_allow_descriptors(settings),
            tick_seconds=manager.tick_seconds(settings.limits.tick_seconds),
        )
        selector = resources.enter_context(best_selector())
        # What has been loaded stays: the collector need not look at it again in any turn.
        gc.collect()
        gc.freeze()
        for listener in listeners:
            listener.listen()
        server = Server(
            graph,
            store or MemoryStore(),
            listeners,
            selector,
            time.monotonic,
            limits,
            statistics,
            has_successor=listeners[0].is_inherited,
        )
        resources.enter_context(closing(server))

        def status() -> str:
            doing = "read-only" if run.is_read_only else statistics.stage
            packages, clients = len(graph), statistics.connections_now
            return f"{doing}: {packages:,} {noun(packages, 'package')}, {clients:,} {noun(clients, 'client')}"

        def stop() -> None:
            server.request_shutdown()
            waits = (limits.handover_seconds_max, limits.drain_seconds_max, limits.linger_seconds_max)
            manager.stopping(status(), sum(waits))

        def reload() -> None:
            manager.reloading()
            _reload(settings, reread, certificates)
            manager.ready(status())

        server.watch(signals.fileno(), lambda: _obey(signals, stop, store, reload))
        if manager.is_present:
            server.on_tick(lambda: manager.tick(status()))
        statistics.stage = Stage.SERVING  # before anyone is told
        where = ", ".join(listener.address for listener in listeners)
        log.info(
            f"listening on %(address)s with %(packages)d {noun(len(graph), 'package')} (%(place)s)",
            {"address": where, "packages": len(graph), "place": place},
        )
        manager.ready(status())
        server.run()
        server.close()
        statistics.stage = Stage.SAVING
        if store is not None:
            _save(store, graph, signals, manager)


def _save(store: JournalStore, graph: DependencyGraph, signals: SignalPipe, manager: ServiceManager) -> None:
    """Write the last snapshot. A signal that comes meanwhile ends that: the journal holds every change."""

    def progress(path: str, done: int) -> None:
        manager.saving(path, done)
        signals.interrupt_if_asked()

    try:
        store.save(graph, progress)
    except KeyboardInterrupt:
        log.info("stopped by a signal before the snapshot was whole; the journal holds every change")


def _open_store(
    settings: Settings, signals: SignalPipe, manager: ServiceManager
) -> tuple[JournalStore, DependencyGraph]:
    """Read the index. A signal that ends the server ends it here at once, because nothing has been changed yet."""
    try:
        with signals.interrupting():
            return JournalStore.open(
                DataDirectory(str(settings.data_dir)),
                settings.fsync,
                time.monotonic,
                partial(CompactionProcess, log_format=settings.log_format),
                settings.limits.journal_bytes_min,
                manager.loading,
            )
    except KeyboardInterrupt:
        log.info("stopped by a signal while %(path)s was read; it is as it was", {"path": settings.data_dir})
        raise SystemExit from None


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _bind_all(settings: Settings, certificates: Certificates | None, resources: ExitStack) -> list[Listener]:
    """Return listeners for what was handed over, or else for the addresses of ``settings``, to be closed with the rest.

    They do not listen yet.
    """
    listeners = [resources.enter_context(closing(each)) for each in inherited_listeners(os.environ, certificates)]
    if listeners:
        _look_at_what_is_not_used(settings, listeners)
    else:
        listeners = [resources.enter_context(closing(bind(each, certificates))) for each in settings.addresses]
    _look_at_security(listeners, certificates)
    return listeners


def _look_at_what_is_not_used(settings: Settings, inherited: list[Listener]) -> None:
    """Warn of addresses that someone has asked for, and that sockets which were handed over take the place of."""
    handed_over = {listener.address for listener in inherited}
    unused = [str(each) for each in settings.listen if str(each).removeprefix("tcp:") not in handed_over]
    if unused:
        log.warning(
            "the service manager has handed over sockets, so --listen is not used, and none of them is %(address)s; "
            "add a socket unit, or leave it out",
            {"address": ", ".join(unused)},
        )


def _look_at_security(listeners: list[Listener], certificates: Certificates | None) -> None:
    """Refuse certificates that no address uses, because an operator takes it for safe then; warn of what is not."""
    if certificates is not None and not any(listener.is_tls for listener in listeners):
        raise ListenError("--tls-cert is given, and no socket has TLS; give one FileDescriptorName=tls in its unit")
    for listener in listeners:
        if listener.is_exposed and listener.is_tls:
            log.warning(
                "%(address)s can be reached from other machines, and asks clients for no certificate: "
                "whoever connects can change the index",
                {"address": listener.address},
            )
        elif listener.is_exposed:
            log.warning(
                "%(address)s can be reached from other machines without TLS: whoever connects can change the index, "
                "and what clients send can be read and altered on its way",
                {"address": listener.address},
            )


def _allow_descriptors(settings: Settings) -> int:
    """Raise the limit of open files as far as its clients need; return how many clients it leaves room for."""
    clients = settings.limits.clients_max
    reserved = _RESERVED_DESCRIPTORS + (0 if settings.admin is None else _ADMIN_DESCRIPTORS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + reserved
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            clients = max(1, soft - reserved)
            log.warning(
                f"at most %(clients)d {noun(clients, 'client')} at a time: the limit of open files is %(files)d; "
                "raise it with ulimit -n",
                {"clients": clients, "files": soft},
            )
    return clients


def _obey(
    signals: SignalPipe, stop: Callable[[], None], store: JournalStore | None, reload: Callable[[], None]
) -> None:
    for number in signals.read():
        log.info("received %(signal)s", {"signal": signal.Signals(number).name})
        match number:
            case signal.SIGHUP:
                reload()
            case signal.SIGUSR1:
                if store is not None:
                    store.request_compaction()
                else:
                    log.info("nothing to compact: nothing is kept on disk")
            case _:
                stop()


def _reload(running: Settings, reread: Callable[[], Settings], certificates: Certificates | None) -> None:
    """Apply what can change while the server runs, certificates and the log level; name what else has changed."""
    if certificates is not None:
        certificates.reload()
    try:
        settings = reread()
    except ValueError as error:
        log.error("cannot read the settings again: %(why)s; those from before stay", {"why": error})
        return
    set_log_level(settings.log_level)
    log.info("the log level is %(log_level)s", {"log_level": settings.log_level})
    changed = {each.name for each in OPTIONS if each.value_in(settings) != each.value_in(running)}
    if waiting := sorted(changed - {"log_level"}):
        log.warning("changed settings wait for a restart: %(settings)s", {"settings": ", ".join(waiting)})
