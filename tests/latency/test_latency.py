"""A short run of the latency campaign serves a healthy client beside each attack."""

import pytest

from tests.latency import run
from tests.latency.attacks import ATTACKS

pytestmark = pytest.mark.any_python


@pytest.mark.campaign
def test_a_healthy_client_is_served_beside_an_attack(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seconds", "0.2", "--rows", "newlines,tls-silent,metrics"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 3


def test_every_attack_has_a_row() -> None:
    assert {row.attack for row in run.ROWS if row.attack} == ATTACKS.keys()


def test_a_row_is_marked_where_the_client_waited_too_long() -> None:
    [row] = [row for row in run.ROWS if row.attack == "lists"]
    good = run.Figures(row, 100, 1.0, 50.0, 250.0, 250.0, 0.5)
    assert (
        str(good) == "| lists of 12,000 names, each different from the last | 500 | 1.0 | 50.0 | 250.0 | 250.0 | 50% |"
    )
    for over in (
        run.Figures(row, 100, 1.0, 50.1, 60.0, 1.0, 0.5),
        run.Figures(row, 100, 1.0, 2.0, 250.1, 1.0, 0.5),
        run.Figures(row, 100, 1.0, 2.0, 3.0, 250.1, 0.5),
    ):
        assert "**over**" in str(over)
