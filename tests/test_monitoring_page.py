"""docs/monitoring.md, the dashboard and the alert rules match the metrics and log lines of the server."""

import ast
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.metrics_core import Metric

from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.node import Node
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_server.admin.endpoint import open_endpoint
from scoop_server.config.addresses import parse_listen_address
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.statistics import CloseReason, Statistics

from tests.simulation.replicated.etcd import Cluster, SimulatedClient
from tests.simulation.replicated.nodes import CompactionProcess
from tests.simulation.replicated.schedule import Schedule
from tests.support.admin import get
from tests.support.messages import SERVER_SOURCES, template_of
from tests.support.metrics import complete_run, parsed, scraped
from tests.support.pages import ROOT, code_spans, table_rows
from tests.support.prometheus import DASHBOARD, expressions, panels, rules

pytestmark = pytest.mark.any_python

PAGE: Final = ROOT / "docs" / "monitoring.md"

GRID_WIDTH: Final = 24
"""Columns of a Grafana dashboard."""

LOG_METHODS: Final = {"info", "warning", "error", "log"}


@pytest.fixture
def families(tmp_path: Path) -> list[Metric]:
    """The metrics of a server with a data directory, of which everything is known, and those that only a node has."""
    with complete_run(tmp_path) as (health, _):
        complete = parsed(scraped(health))
    cluster = Cluster(schedule := Schedule(0), lambda _: None)
    settings = NodeSettings("a1", keys := Keys("/scoop/"), Config(reject_cycles=False, line_bytes_max=1))

    def start_compaction(fence: int) -> CompactionProcess:
        return CompactionProcess(cluster, "a1", keys, fence, settings.config)

    node = Node[str](SimulatedClient(cluster, "a1", lambda: None), schedule.clock, settings, start_compaction)
    known = {family.name for family in complete}
    of_node = parsed(scraped(Health(Statistics(), index=node)))
    return [*complete, *(family for family in of_node if family.name not in known)]


# The endpoint and its metrics


def test_the_table_of_paths_is_current() -> None:
    with closing(open_endpoint(parse_listen_address("tcp:127.0.0.1:0"), Health(Statistics()))) as endpoint:
        _, unknown = get(endpoint.address, "/")
    documented = [path for row in table_rows(PAGE, "path", "answers", "for") for path in code_spans(row[0])]
    assert unknown == f"Not Found: the paths are {', '.join(documented)}\n"


def test_the_table_of_metrics_is_current(families: list[Metric]) -> None:
    documented = {
        code_spans(name)[0]: (kind, set(code_spans(labels)))
        for name, kind, labels, _ in table_rows(PAGE, "metric", "type", "labels", "meaning")
    }
    real = {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in families
        if family.name.startswith("scoop_")
    }
    assert documented == real


def test_the_table_of_reasons_is_current() -> None:
    documented = [code_spans(reason)[0] for reason, _ in table_rows(PAGE, "reason", "a connection was closed because")]
    assert sorted(documented) == sorted(CloseReason)


# The dashboard and the alerts


def labels_in(expression: str) -> set[str]:
    """Return the labels in selectors and groupings."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = [name.strip() for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(",")]
    return {*selected, *grouped}


def test_dashboard_and_alerts_use_exactly_the_exposed_metrics(families: list[Metric]) -> None:
    exposed = {sample.name for family in families for sample in family.samples} | {"up"}
    labels = {label for family in families for sample in family.samples for label in sample.labels} | {
        "job",
        "instance",
    }
    asked: set[str] = set()
    for expression in expressions():
        metrics = set(re.findall(r"\b(?:scoop|process|python)_\w+|\bup\b", expression))
        assert metrics, expression
        assert metrics <= exposed, expression
        assert labels_in(expression) <= labels, expression
        asked |= metrics
    # A metric that neither the dashboard nor an alert uses is not needed.
    families_asked = {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in asked}
    families_exposed = {re.sub("_info$", "", each.name) for each in families if each.name.startswith("scoop_")}
    assert families_exposed <= families_asked


def test_dashboard_and_alerts_use_existing_label_values(families: list[Metric]) -> None:
    known = {value for family in families for sample in family.samples for value in sample.labels.values()}
    for expression in expressions():
        for _, values in re.findall(r"\b(command|response|reason)=~?\"([^\"]*)\"", expression):
            assert set(values.split("|")) <= known, expression


def test_the_dashboard_has_the_fields_that_grafana_needs() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["title"]
    assert board["uid"]
    assert board["schemaVersion"] >= 39
    assert board.get("id") is None, "Grafana assigns the id"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert not any("allValue" in variable for variable in board["templating"]["list"]), "All means Scoop's jobs alone"
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables
            assert {"job", "instance"} <= used, "it shows the selected servers"


def test_panels_do_not_overlap() -> None:
    places = [(each["x"], each["y"], each["w"], each["h"]) for each in (panel["gridPos"] for panel in panels())]
    for x, _, width, _ in places:
        assert 0 <= x < x + width <= GRID_WIDTH
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(places, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1


def test_alert_rules_name_the_server_and_the_row_of_the_page() -> None:
    for rule in rules():
        assert re.fullmatch(r"Scoop[A-Za-z]+", rule["alert"])
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"] or rule["expr"].startswith("absent(")
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"docs/monitoring.md#{anchor}"
        assert f'<a id="{anchor}"></a>' in PAGE.read_text()


def test_the_table_of_alerts_is_current() -> None:
    documented = [
        (code_spans(alert)[0], severity) for alert, severity, _ in table_rows(PAGE, "alert", "severity", "what to do")
    ]
    assert documented == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]


# The log


def log_lines() -> Iterator[tuple[str, str | None]]:
    """Yield each template of a log line above debug, with `…` for fields, and its level if fixed."""
    nodes = [node for path in SERVER_SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    for template in (each for node in nodes if isinstance(node, ast.AnnAssign) for each in ast.walk(node)):
        if isinstance(template, ast.Constant) and "%(" in str(template.value):
            yield template_of(template), None
    for call in nodes:
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr == "note_end":
            yield template_of(call.args[-1]), None
        if call.func.attr not in LOG_METHODS:
            continue
        if not ast.unparse(call.func.value).endswith(("log", "limit")):
            continue
        for line in filter(None, map(template_of, call.args)):
            if re.search("[a-z]", line):
                yield line, None if call.func.attr == "log" else call.func.attr


def test_the_table_of_log_lines_is_current() -> None:
    documented = {
        code_spans(line)[0]: set(levels.split(", "))
        for line, levels, _ in table_rows(PAGE, "line", "level", "what to do")
    }
    real = dict(line for line in log_lines() if line[0])
    names_its_way_out = re.compile(r"; (add|check|enable|listen|raise|remove|restrict|set) [^;]*$").search
    unexplained = {line for line, level in real.items() if level != "info" and not names_its_way_out(line)}
    unexplained -= set(documented)
    gone = set(documented) - set(real)
    assert (unexplained, gone) == (set(), set()), "the page has a row for each line that needs one, and no unknown line"
    for line, levels in documented.items():
        assert real[line] is None or levels == {real[line]}, line


def test_every_line_has_an_action() -> None:
    assert all(what_to_do for _, _, what_to_do in table_rows(PAGE, "line", "level", "what to do"))
