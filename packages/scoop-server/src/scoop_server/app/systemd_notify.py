"""Notifications to systemd: its notify protocol over one datagram socket, named by ``NOTIFY_SOCKET``.

Without that variable nothing is sent. systemd.service(5) and sd_notify(3) describe the messages. Periodic messages
do not wait: a lost one is followed by another. Messages that are sent once wait for a busy service manager.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

from scoop_server.telemetry.logs import log

STATUS_SECONDS: Final = 5.0
"""The shortest time between two status messages while clients are served."""

_SEND_SECONDS_MAX: Final = 5.0
"""The longest wait for a service manager whose socket is full, for messages that are sent once."""

_WATCHDOG_DIGITS_MAX: Final = 20
"""Digits of the largest 64-bit number of microseconds."""

_TICKS_PER_WATCHDOG: Final = 4
_TICK_SECONDS_MIN: Final = 0.01
"""The shortest tick, whatever the watchdog asks for."""


class SystemdNotifier:
    """The sender of notifications to the service manager that ``environment`` names, if any.

    It removes its variables from ``environment``, so that child processes do not inherit them. ``clock`` gives seconds.
    """

    def __init__(self, environment: MutableMapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        name = environment.pop("NOTIFY_SOCKET", "")
        watchdog_usec = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        self.is_present = bool(name)
        self.watchdog_seconds: float | None = None
        """The longest silence before systemd restarts the server; None if there is no watchdog."""
        is_number = watchdog_usec.isascii() and watchdog_usec.isdigit() and len(watchdog_usec) <= _WATCHDOG_DIGITS_MAX
        if name and is_number and int(watchdog_usec) and watchdog_pid == str(os.getpid()):
            self.watchdog_seconds = int(watchdog_usec) / 1e6
        self._name = name
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name else None
        self._has_warned = False
        self._last_status = ""
        self._next_heartbeat = self._next_status = clock()

    def tick_seconds(self, usual: float) -> float:
        """Return the tick interval that the watchdog needs, at most ``usual``."""
        if self.watchdog_seconds is None:
            return usual
        return max(_TICK_SECONDS_MIN, min(usual, self.watchdog_seconds / _TICKS_PER_WATCHDOG))

    def ready(self, status: str) -> None:
        """Report that clients are served: after loading, and again after a reload."""
        self._send("READY=1", f"STATUS={status}", seconds_max=_SEND_SECONDS_MAX)
        self._last_status = status

    def reloading(self) -> None:
        """Report the start of a reload; :meth:`ready` reports its end."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self._send("RELOADING=1", f"MONOTONIC_USEC={usec}", seconds_max=_SEND_SECONDS_MAX)

    def stopping(self, status: str) -> None:
        """Report the start of a shutdown."""
        self._send("STOPPING=1", f"STATUS={status}", seconds_max=_SEND_SECONDS_MAX)
        self._last_status = status

    def tick(self, status: str) -> None:
        """Send a heartbeat to the watchdog if one is due, and ``status`` if it has changed."""
        now = self._clock()
        if self.watchdog_seconds is not None and now >= self._next_heartbeat and self._send("WATCHDOG=1"):
            self._next_heartbeat = now + self.watchdog_seconds / 2
        if now >= self._next_status and status != self._last_status:
            self._next_status = now + STATUS_SECONDS
            self._last_status = status
            self._send(f"STATUS={status}")

    def _send(self, *assignments: str, seconds_max: float = 0.0) -> bool:
        """Send a message; return whether systemd's socket accepted it."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(seconds_max)
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._has_warned:
                log.warning(
                    "cannot notify the service manager at %(address)s: %(reason)s; check NOTIFY_SOCKET, or unset it",
                    {"address": self._name, "reason": error.strerror or error},
                )
            self._has_warned = True
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
