"""The expressions that the dashboard and the alert rules evaluate."""

import json
from collections.abc import Iterator
from typing import Any, Final

import yaml

from tests.support.pages import ROOT

DASHBOARD: Final = ROOT / "contrib" / "grafana" / "scoop.json"

ALERTS: Final = ROOT / "contrib" / "prometheus" / "scoop-alerts.yml"

INHIBITION: Final = ROOT / "contrib" / "prometheus" / "alertmanager.yml"


def panels() -> list[dict[str, Any]]:
    board: dict[str, list[dict[str, Any]]] = json.loads(DASHBOARD.read_text())
    return board["panels"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    """Yield all that is asked of Prometheus."""
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in rules())
