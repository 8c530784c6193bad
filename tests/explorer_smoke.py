"""Smoke test of an installed explorer, by the Python that has it: ``python -m tests.explorer_smoke``."""

import http.client
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = Path(sys.executable).with_name("scoop-explorer")
WAIT_SECONDS = 60.0


def get(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def main() -> None:
    """Explore a dump, and check that a page and its static files are there."""
    with tempfile.TemporaryDirectory() as parent:
        dump = Path(parent, "dump")
        dump.write_text("INDEX|gmp|\nINDEX|isl|gmp\n")
        with subprocess.Popen(
            [COMMAND, dump, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as explorer:
            try:
                assert explorer.stderr is not None
                line = explorer.stderr.readline()
                port = int(line.rpartition(":")[2])
                deadline = time.monotonic() + WAIT_SECONDS
                while get(port, "/readyz")[0] != 200:
                    if time.monotonic() > deadline:
                        raise AssertionError(get(port, "/readyz")[1])
                    time.sleep(0.05)
                status, page = get(port, "/packages/gmp")
                if status != 200 or "1 package needs" not in page:
                    raise AssertionError(page)
                static = re.findall(r"/static/[^\"]+", page)
                if not static or any(get(port, each)[0] != 200 for each in static):
                    raise AssertionError(f"a static file is missing: {static}")
                explorer.terminate()
                if explorer.wait(WAIT_SECONDS) != 0:
                    raise AssertionError(explorer.stderr.read())
            finally:
                explorer.kill()  # otherwise a failure would wait for its end
    print(f"{COMMAND} starts, shows a package, and stops")


if __name__ == "__main__":
    main()
