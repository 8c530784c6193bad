"""The description of the machine, its disk and its load."""

import os
import platform
import re
import statistics
import time
from pathlib import Path
from typing import Final

from bench.servers import Processors

_SYNCS: Final = 50
_SYNCED_BYTES: Final = b"x" * 100


def describe_machine(directory: Path, processors: Processors, redis_version: str | None) -> dict[str, str]:
    """Return the description by name; ``directory`` is on the disk that the servers write to."""
    return {
        "processor": f"{_processor_name()}, {os.cpu_count()} of them, {_memory_gigabytes():.0f} GB of memory",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "redis": redis_version or "redis-server is not installed, so Redis is left out",
        "pinned": (
            "one processor for servers and load generator: the responses per second mean little"
            if processors.server is None
            else f"servers to processor {processors.server}, load generator to processor {processors.generator}"
        ),
        "disk": f"{_sync_milliseconds(directory):.2f} ms for a write of {len(_SYNCED_BYTES)} bytes and its fdatasync",
        "busy": f"load average {os.getloadavg()[0]:.2f} of other programs at the start",
    }


def _processor_name() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gigabytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _sync_milliseconds(directory: Path) -> float:
    """Return the median duration of a small append with its sync."""
    path = directory / "sync"
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(_SYNCED_BYTES)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(seconds) * 1e3
