"""The application: open, run, reload and stop one server.

It opens the stages in order: claims (lock, certificates, addresses), the index, the server.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Final

from scoop_server import __version__
from scoop_server.app.access import Access
from scoop_server.app.claims import Claims, fit_descriptors
from scoop_server.app.plugin import IndexPlugin, OptionTable, Resources
from scoop_server.app.signals import SignalPipe
from scoop_server.app.stored_index import load_index
from scoop_server.app.systemd_notify import SystemdNotifier
from scoop_server.config.settings import Settings
from scoop_server.errors import ConfigurationError, ServerError
from scoop_server.loop.client import Client
from scoop_server.loop.server import Server
from scoop_server.net.selector import best_selector
from scoop_server.ports import OpenIndex
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log, set_log_level
from scoop_server.telemetry.statistics import Meter, Stage, Statistics
from scoop_server.text import noun

_RELOADABLE: Final = frozenset({"log_level"})
"""Settings that SIGHUP applies; any other change waits for a restart."""


class Application:
    """One server with everything it needs open, until ``resources`` are closed.

    ``reread`` reads the settings again. Raises ServerError.
    """

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings], options: OptionTable, resources: ExitStack
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._options = options
        self._signals = resources.enter_context(closing(SignalPipe()))
        self._notifier = resources.enter_context(closing(SystemdNotifier(os.environ)))
        absolute, plugin = _with_absolute_paths(settings), options.selected(settings)
        has_directory = plugin is None and not settings.memory
        self._claims = Claims(absolute, os.environ, resources, has_directory=has_directory)
        self._access = Access(absolute.access, self._claims.certificates)
        self._health = Health(Statistics(), self._claims.certificates)
        if settings.admin is not None:
            from scoop_server.admin.endpoint import open_endpoint  # noqa: PLC0415  # its imports cost memory and time

            resources.enter_context(closing(open_endpoint(settings.admin, self._health)))
        self._meter = Meter() if settings.admin is None else self._health.statistics
        started = time.monotonic()
        self._health.index = self._index = resources.enter_context(closing(self._open_index(absolute, plugin)))
        self._health.statistics.recovery_seconds = time.monotonic() - started
        self._server = resources.enter_context(closing(self._begin_to_listen(resources)))
        self._health.statistics.stage = Stage.SERVING
        self._log_start()

    def _open_index(self, settings: Settings, plugin: IndexPlugin | None) -> OpenIndex[Client]:
        """Open the index of ``plugin``, load that of the data directory, or make an empty one in memory.

        Raises SystemExit if a signal stops the server meanwhile: nothing has been changed yet.
        """
        try:
            with self._signals.interrupting():
                if plugin is None:
                    return load_index(settings, self._claims.directory, self._meter)
                addresses = [listener.address for listener in self._claims.listeners]
                return plugin.open(Resources(settings, addresses, self._access.digest, self._meter))
        except KeyboardInterrupt:
            log.info("a signal stopped the server while it loaded the index; nothing was changed")
            raise SystemExit from None

    def _begin_to_listen(self, resources: ExitStack) -> Server:
        """Begin to listen, and return the server of the index."""
        claims, index = self._claims, self._index
        tick_seconds = self._notifier.tick_seconds(min(self._settings.limits.tick_seconds, index.tick_seconds_max))
        limits = replace(self._settings.limits, tick_seconds=tick_seconds)
        limits = fit_descriptors(limits, has_admin=self._settings.admin is not None, has_tls=claims.has_tls)
        self._health.connections_max = limits.clients_max
        selector = resources.enter_context(best_selector())
        _freeze_heap()
        for listener in claims.listeners:
            listener.listen()
        statistics = self._health.statistics
        server = Server(index, claims.listeners, selector, time.monotonic, limits, statistics, self._meter)
        server.on_tick(index.tick)
        index.use_timer(server.call_later)
        self._access.enforce(server)
        server.watch(self._signals.fileno(), self._handle_signals)
        server.on_tick(lambda: self._notifier.tick(self.status))
        return server

    def _log_start(self) -> None:
        log.info(
            "scoop-server %(version)s with Python %(python)s",
            {"version": __version__, "python": sys.version.split()[0]},
        )
        addresses = ", ".join(listener.address for listener in self._claims.listeners)
        log.info(
            "listening on %(address)s with %(packages)d packages (%(place)s)",
            {"address": addresses, "packages": self._index.package_count(), "place": self._index.place},
        )

    @property
    def status(self) -> str:
        """One line for ``systemctl status``."""
        stage = self._index.not_ready_reason or self._health.statistics.stage
        packages, clients = self._index.package_count(), self._health.statistics.connections_now
        return f"{stage}: {packages:,} {noun(packages, 'package')}, {clients:,} {noun(clients, 'client')}"

    def run(self) -> None:
        """Serve until a signal stops the server, then save the index."""
        self._notifier.ready(self.status)
        self._server.run()
        self._server.close()
        self._health.statistics.stage = Stage.SAVING
        self._save()

    def stop(self) -> None:
        """Begin the shutdown; a second call ends it immediately."""
        self._server.shutdown.request()
        self._notifier.stopping(self.status)

    def reload(self) -> None:
        """Apply what can change while the server runs: log level, certificates, revocation lists and roles.

        A file with a mistake changes nothing.
        """
        self._notifier.reloading()
        mistakes: list[ServerError] = []
        for kept, reload in (
            ("settings", self._reload_settings),
            ("certificates", self._access.reload_certificates),
            ("roles", self._access.reload_rules),
        ):
            try:
                reload()
            except ServerError as error:
                log.error("%(reason)s; the previous %(kept)s stay in use", {"reason": error, "kept": kept})
                mistakes.append(error)
        self._health.last_reload_succeeded = not mistakes
        self._access.enforce(self._server)
        self._notifier.ready(self.status)

    def _reload_settings(self) -> None:
        """Apply the log level, and warn of changed settings that need a restart. Raises ConfigurationError."""
        try:
            settings = self._reread()
        except ConfigurationError as error:
            raise ConfigurationError(f"cannot reload the settings: {error}") from error
        set_log_level(settings.log_level)
        log.info("the log level is %(log_level)s", {"log_level": settings.log_level})
        changed = {each.name for each in self._options if settings.value_of(each) != self._settings.value_of(each)}
        if waiting := ", ".join(sorted(changed - _RELOADABLE)):
            log.warning("changed settings take effect at the next restart: %(settings)s", {"settings": waiting})

    def _handle_signals(self) -> None:
        for number in self._signals.read():
            log.info("received %(signal)s", {"signal": signal.Signals(number).name})
            match number:
                case signal.SIGHUP:
                    self.reload()
                case signal.SIGUSR1:
                    self._index.request_compaction()
                case _:
                    self.stop()

    def _save(self) -> None:
        """Write the last snapshot. A signal interrupts it: the journal holds every change."""
        try:
            with self._signals.interrupting():
                self._index.save()
        except KeyboardInterrupt:
            log.info("a signal interrupted the snapshot; the journal holds every change")


def _with_absolute_paths(settings: Settings) -> Settings:
    """Return ``settings`` with absolute paths, so that log lines and errors do not depend on the working directory."""
    names = ("data_dir", "tls_cert", "tls_key", "tls_client_ca", "tls_crl", "access")
    return replace(settings, **{name: path.absolute() for name in names if (path := getattr(settings, name))})


def _freeze_heap() -> None:
    """Exclude the loaded index from every later garbage collection: it lives as long as the process."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has none
        gc.freeze()
