"""Notifications to systemd: its notify protocol over one datagram socket, named by ``NOTIFY_SOCKET``.

Without that variable nothing is sent. systemd.service(5) and sd_notify(3) describe the messages. Periodic messages
do not wait: a lost one is followed by another. Messages that are sent once wait for a busy service manager.
"""

import os
import re
import socket
import time
from collections.abc import Callable, MutableMapping
from math import inf
from typing import Final

from scoop_server.telemetry.logs import log

STATUS_SECONDS: Final = 5.0
"""The shortest time between two status messages while clients are served."""

_SEND_SECONDS_MAX: Final = 5.0
"""The longest wait for a service manager whose socket is full, for messages that are sent once."""

_is_positive: Final = re.compile("0*[1-9][0-9]{0,19}").fullmatch
"""Matches a number of microseconds; 64 bits have 20 digits."""

_TICKS_PER_WATCHDOG: Final = 4
_TICK_SECONDS_MIN: Final = 0.01
"""The shortest tick, whatever the watchdog asks for."""


class SystemdNotifier:
    """The sender of notifications to the service manager that ``environment`` names, if any.

    It removes its variables from ``environment``, so that child processes do not inherit them. ``clock`` gives seconds.
    """

    def __init__(self, environment: MutableMapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name = environment.pop("NOTIFY_SOCKET", "")
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        has_watchdog = name and pid in {"", str(os.getpid())} and _is_positive(usec)
        self.watchdog_seconds = int(usec) / 1e6 if has_watchdog else inf
        """The longest silence before systemd restarts the server; infinity if there is no watchdog."""
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name else None
        self._has_warned = False
        self._last_status = ""
        self._next_status = clock()
        self._next_heartbeat = self._next_status if has_watchdog else inf

    def tick_seconds(self, usual: float) -> float:
        """Return the tick interval that the watchdog needs, at most ``usual``."""
        return min(usual, max(_TICK_SECONDS_MIN, self.watchdog_seconds / _TICKS_PER_WATCHDOG))

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
        if now >= self._next_heartbeat and self._send("WATCHDOG=1"):
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
