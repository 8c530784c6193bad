"""The command ``scoop`` in this process, and its result."""

import io
import json
from typing import NamedTuple

import pytest

from scoop_client.cli.main import main


class Result(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    def json(self) -> list[object]:
        """Return the values that were printed, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Scoop:
    """Runs the command without the settings of the person who runs the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run the command with ``stdin`` as its input."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = self._capsys.readouterr()
        return Result(status, out, err)
