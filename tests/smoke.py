"""Smoke test of an installed server: ``python -m tests.smoke path/to/scoop-server``."""

import sys
import tempfile
from pathlib import Path

from tests.support.process import ServerProcess


def main(command: str) -> None:
    """Start ``command`` on an empty directory, change the index, and check the changes after a restart."""
    with tempfile.TemporaryDirectory() as parent:
        arguments = ("--data-dir", str(Path(parent, "data")))
        with ServerProcess(*arguments, command=[command]) as server, server.connect() as client:
            answers = client.ask("INDEX|isl|gmp", "INDEX|gmp|", "INDEX|isl|gmp", "REMOVE|gmp|", "QUERY|isl|", "QUIT||")
            if answers != ["FAIL", "OK", "OK", "FAIL", "OK", "ERROR"]:
                raise AssertionError(f"unexpected answers: {answers}")
        with ServerProcess(*arguments, command=[command]) as server, server.connect() as client:
            answers = client.ask("QUERY|gmp|", "QUERY|isl|", "REMOVE|isl|", "REMOVE|gmp|", "QUERY|gmp|")
            if answers != ["OK", "OK", "OK", "OK", "FAIL"]:
                raise AssertionError(f"unexpected answers after a restart: {answers}")
    print(f"{command} starts, answers, stops, and starts again with what it held")


if __name__ == "__main__":
    main(sys.argv[1])
