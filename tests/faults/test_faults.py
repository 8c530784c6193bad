"""A share of ``python -m tests.faults.run``: failing system calls of a real server."""

from pathlib import Path

import pytest

from tests.faults import run
from tests.faults.calls import Fault, reason_to_skip, try_fault

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "nothing to skip"),
]


def test_a_server_continues_or_ends_with_one_line() -> None:
    assert run.main(["--share", "12"]) == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("fdatasync", "EIO", 3), "one line"),
        (Fault("fdatasync", "EROFS", 3), "one line"),
        (Fault("write", "ENOSPC", 30), "continues"),
        (Fault("close", "EIO", 8), "continues"),
    ],
)
def test_outcomes(tmp_path: Path, fault: Fault, outcome: str) -> None:
    assert try_fault(fault, tmp_path) == outcome
