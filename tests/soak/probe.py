"""A correct client in a process of its own, which reports its latency.

``python -m tests.soak.probe ADDRESS SECONDS`` sends requests until its standard input ends. SECONDS after each byte of
standard input it prints a line of JSON: the number of responses since the last one, and their latency. The last line
contains its packages, as the server must have them. A wrong or missing response ends it with a traceback and status 1.
"""

import json
import math
import os
import select
import sys
import time
from random import Random
from typing import Final

from tests.crash.load_client import OwnPackages
from tests.soak.connectors import connector
from tests.soak.visits import read_lines

PAUSE_SECONDS: Final = 0.02
NUMBER: Final = 1_000
"""A number that no visitor has, for packages of its own."""


def main(address: str, report_seconds: float) -> None:
    """Send requests until standard input ends."""
    packages = OwnPackages(NUMBER, {}, Random(NUMBER))
    seconds: list[float] = []
    report_due = math.inf
    with connector(address)() as stream:
        while True:
            if select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
                if not os.read(sys.stdin.fileno(), 1):
                    break
                report_due = time.monotonic() + report_seconds
            line = f"{packages.submit()}\n".encode()
            started = time.perf_counter()
            stream.send(line)
            answer = read_lines(stream, 1)
            seconds.append(time.perf_counter() - started)
            packages.take_answer(answer.decode("latin-1").removesuffix("\n"))
            if time.monotonic() >= report_due:
                report_due = math.inf
                seconds.sort()
                report = {
                    "answers": len(seconds),
                    "p50_ms": round(1_000 * seconds[len(seconds) // 2], 3),
                    "p99_ms": round(1_000 * seconds[len(seconds) * 99 // 100], 3),
                }
                print(json.dumps(report), flush=True)
                seconds.clear()
    print(json.dumps({name: sorted(needed) for name, needed in packages.acknowledged.items()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
