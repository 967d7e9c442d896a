"""Alerts and dashboard: on metrics that there are, each alert with its runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from saga_orchestrator.cli.main import app
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.families import (
    PROCESS_LABEL,
    UP,
    exposition_of,
    families,
)
from tests.support.promtool import promtool

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())[
    "groups"
][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "saga.json").read_text())
QUERIES = [
    target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
_NAME = re.compile(r"\bsaga_[a-z_]+")
_LABEL = re.compile(r"\bby \(([^)]*)\)|\{([^}]*)\}")
_OF_PROMETHEUS = {"le", "instance", "job", PROCESS_LABEL}


def exposed() -> dict[str, Metric]:
    """Return what this program exposes, by the names of its samples."""
    text = exposition_of({1: families()}).decode()  # also what tells of processes
    found = {family.name: family for family in text_string_to_metric_families(text)}
    by_sample = {}
    for name, family in found.items():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        for ending in endings.get(family.type, [""]):
            by_sample[name + ending] = family
    return by_sample


def labels_of(name: str) -> set[str]:
    """Return the labels that a metric is defined with."""
    stem = re.sub(r"_(total|bucket|sum|count)$", "", name)
    defined = {
        one._name: set(one._labelnames)
        for one in vars(metrics).values()
        if hasattr(one, "_labelnames")
    }
    defined[UP] = {PROCESS_LABEL}
    return defined[stem] if stem in defined else defined[name]


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_a_query_asks_for_what_there_is(query: str) -> None:
    """Its metrics are exposed, and its labels are theirs."""
    names = [name for name in _NAME.findall(query) if name not in _OF_PROMETHEUS]
    known = exposed()
    assert [name for name in names if name not in known] == []
    allowed = _OF_PROMETHEUS.union(*map(labels_of, names))
    used = set()
    for grouped, selected in _LABEL.findall(query):
        used |= {label.strip() for label in grouped.split(",") if label.strip()}
        used |= set(re.findall(r"(\w+)(?==|!)", selected))
    assert used <= allowed


def test_every_metric_has_a_place() -> None:
    """What is counted is shown on the dashboard, or has an alert."""
    text = " ".join([*QUERIES, *(rule["expr"] for rule in RULES)])
    ours = {f.name for f in exposed().values() if f.name.startswith("saga_")}
    ours = {name for name in ours if not name.endswith("_created")}
    assert {name for name in ours if name not in text} == set()


def test_the_queries_of_the_dashboard_are_well_formed(tmp_path: Path) -> None:
    """Prometheus reads each of them."""
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    code, printed = promtool("check", "rules", "--lint=none", str(file))
    assert code == 0, printed


def test_the_alerts_fire_when_they_should() -> None:
    """On what each one is for, and on nothing else; the servers' deaths too."""
    code, printed = promtool("test", "rules", "alerts_test.yml", folder=PROMETHEUS)
    assert code == 0, printed
    tested = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {
        check["alertname"]
        for test in tested
        for check in test["alert_rule_test"]
        if check.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_its_runbook(rule: dict[str, Any]) -> None:
    """It says what it means, what users notice, where to look and what to mend."""
    text = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Look", "Mend"]
    assert "**Users notice:**" in text


def test_a_runbook_names_commands_and_pages_that_there_are() -> None:
    """Each `saga …` is a command, each link leads to a page, no page is left over."""
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    pages = list(RUNBOOKS.glob("*.md"))
    for page in pages:
        text = page.read_text()
        assert set(re.findall(r"`saga ([a-z-]+)", text)) <= known, page
        for link in re.findall(r"\]\(([^)]*)\)", text):
            assert (page.parent / link).exists(), (page, link)
    named = {Path(rule["annotations"]["runbook"]).name for rule in RULES}
    assert {page.name for page in pages} == named


def test_every_metric_is_documented() -> None:
    """The table in docs/monitoring.md has each with its type, labels and help."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(
        r"^\| `(saga_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE
    )
    expected = []
    for one in vars(metrics).values():
        if hasattr(one, "_labelnames"):
            family = next(iter(one.collect()))
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in one._labelnames) or "none"
            expected.append((name, family.type, labels, family.documentation))
    assert rows == expected
