"""What the service manager is told that started the server: systemd's notify protocol, over one datagram socket.

``NOTIFY_SOCKET`` names that socket; without it, nothing here does anything. systemd.service(5) and sd_notify(3)
describe the messages. They are sent without waiting: one that is lost costs nothing but a warning, because the
next tick sends another, and for the few that are sent only once a service manager that is busy is waited for.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

from scoop_server.telemetry.logs import log

STATUS_SECONDS: Final = 5.0
"""How often the status is told anew, if it has changed."""

WORD_SECONDS: Final = 1.0
"""How often a word of loading or saving is sent, while these go on."""

_STEP_SECONDS_MAX: Final = 120.0
_STEP_BYTES_PER_SECOND: Final = 1_000_000
"""How long loading and saving may take from one word to the next, which systemd is asked for in advance: the longest
step is to decode or to sync a snapshot whole, and a tenth of the speed that a slow machine reaches is asked for."""

_STOP_MARGIN_SECONDS: Final = 30.0
"""What the end may take beyond the waits for clients: a disk that is slow in the last turns."""

_SEND_SECONDS_MAX: Final = 5.0
"""How long a message that is sent only once waits for a service manager that has no room for it."""

_WATCHDOG_DIGITS_MAX: Final = 20
"""systemd counts microseconds in 64 bits, which have no more digits."""

_TICKS_PER_WATCHDOG: Final = 4
_TICK_SECONDS_MIN: Final = 0.01
"""Nobody sets a watchdog that asks for more ticks than this."""


class ServiceManager:
    """The service manager that ``environment`` names, or nobody.

    Its variables are taken out of ``environment``, so that no child process takes them for its own. ``clock``
    gives seconds.
    """

    def __init__(self, environment: MutableMapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        name = environment.pop("NOTIFY_SOCKET", "")
        watchdog_usec = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        self.is_present = bool(name)
        self.watchdog_seconds: float | None = None
        """How long the server may be silent before it is taken for stuck; None for ever."""
        is_number = watchdog_usec.isascii() and watchdog_usec.isdigit() and len(watchdog_usec) <= _WATCHDOG_DIGITS_MAX
        if name and is_number and int(watchdog_usec) and watchdog_pid == str(os.getpid()):
            self.watchdog_seconds = int(watchdog_usec) / 1e6
        self._name = name
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name else None
        self._is_unreachable = False
        self._status = ""
        self._next_beat = self._next_status = self._next_word = clock()

    def tick_seconds(self, usual: float) -> float:
        """Return how often :meth:`tick` is to be called, where it would be every ``usual`` seconds."""
        if self.watchdog_seconds is None:
            return usual
        return max(_TICK_SECONDS_MIN, min(usual, self.watchdog_seconds / _TICKS_PER_WATCHDOG))

    def ready(self, status: str) -> None:
        """Clients are served: after loading, or again after a reload."""
        self._tell_once("READY=1", f"STATUS={status}")
        self._status = status

    def reloading(self) -> None:
        """Settings are read anew; :meth:`ready` follows."""
        self._tell_once("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self, status: str, seconds_max: float) -> None:
        """The server is on its way out; its clients have ``seconds_max`` for their answers, and then it saves."""
        usec = 1e6 * (seconds_max + _STOP_MARGIN_SECONDS)
        self._tell_once("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={usec:.0f}")
        self._status = status
        self._next_word = self._clock()  # stopping has a timeout of its own, and saving may take longer

    def tick(self, status: str) -> None:
        """Send what is due while clients are served: a beat for the watchdog, and ``status``, if it is another one."""
        now = self._clock()
        if self.watchdog_seconds is not None and now >= self._next_beat and self._tell("WATCHDOG=1"):
            self._next_beat = now + self.watchdog_seconds / 2
        if now >= self._next_status and status != self._status:
            self._next_status = now + STATUS_SECONDS
            self._status = status
            self._tell(f"STATUS={status}")

    def loading(self, path: str, done: int, size: int) -> None:
        """Of the file that is being read, ``done`` of ``size`` bytes have been dealt with."""
        if self._is_word_due():
            self._ask_for_time(size, f"loading {os.path.basename(path)}: {done:,} of {size:,} bytes")

    def saving(self, path: str, done: int) -> None:
        """Of the file that is being written, there are ``done`` bytes so far."""
        if self._is_word_due():
            self._ask_for_time(done, f"saving {os.path.basename(path)}: {done:,} bytes")

    def _is_word_due(self) -> bool:
        now = self._clock()
        if not self.is_present or now < self._next_word:
            return False
        self._next_word = now + WORD_SECONDS
        return True

    def _ask_for_time(self, size: int, status: str) -> None:
        usec = 1e6 * (_STEP_SECONDS_MAX + size / _STEP_BYTES_PER_SECOND)
        self._tell(f"EXTEND_TIMEOUT_USEC={usec:.0f}", f"STATUS={status}", "WATCHDOG=1")

    def _tell_once(self, *assignments: str) -> None:
        self._tell(*assignments, seconds_max=_SEND_SECONDS_MAX)

    def _tell(self, *assignments: str, seconds_max: float = 0.0) -> bool:
        """Send a message; return whether it has been taken."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(seconds_max)
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._is_unreachable:
                log.warning(
                    "cannot tell the service manager at %(address)s: %(why)s; see to NOTIFY_SOCKET, or unset it",
                    {"address": self._name, "why": error.strerror or error},
                )
            self._is_unreachable = True
            return False
        return True

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
