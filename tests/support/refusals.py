"""How settings are refused: one line, and exit status 2."""

from collections.abc import Mapping, Sequence

import pytest

from scoop_server.config.sources import read_settings


def refusal(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the one line with which the settings are refused."""
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments, environment)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.rstrip("\n")
