"""docs/events.md is true, and so is the connector that it names."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.lifecycle import Told
from saga_orchestrator.core.public import PublicEvent, PublicKind
from saga_orchestrator.wire.event import event_body
from saga_stores._event_rows import EVENT_COLUMNS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """Return the fenced block behind a marker."""
    found = re.search(
        rf"<!-- part of \S+: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL
    )
    assert found, name
    return found[1]


def test_the_example_is_a_program_and_its_test_passes() -> None:
    """Word for word: the handler emits, and the kit's outcome has the event."""
    names: dict[str, Any] = {}
    for name in ("emit", "test"):
        exec(compile(block(name), "docs/events.md", "exec"), names)
    names["test_a_charge_is_told"]()


def test_the_body_is_what_is_sent() -> None:
    """The same fields in the same order, with values of their kinds."""
    shown = json.loads(block("body"))
    event = PublicEvent(
        *(shown["id"], PublicKind.EMITTED, shown["saga"], SagaId(shown["saga_id"])),
        *(shown["type"], shown["data"], dt.datetime.fromisoformat(shown["at"])),
    )
    assert json.dumps(json.loads(event_body(event))) == json.dumps(shown)


def test_every_event_of_the_lifecycle_is_in_the_table() -> None:
    """One row each, and no row of what is never told."""
    _, _, section = PAGE.partition("## Lifecycle")
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("## Read")[0], re.MULTILINE)
    assert rows == [str(told) for told in Told]


@pytest.fixture
def connector() -> dict[str, str]:
    """The configuration of the Debezium connector."""
    text = (ROOT / "deploy" / "debezium" / "connector.json").read_text(encoding="utf-8")
    config: dict[str, str] = json.loads(text)["config"]
    return config


def test_the_connector_names_exactly_the_columns_of_the_table(
    connector: dict[str, str],
) -> None:
    """A column that is renamed, or added, must be told to Debezium."""
    prefix = "transforms.outbox."
    named = {
        value
        for key, value in connector.items()
        if key.startswith(f"{prefix}table.field.event.")
    }
    named.add(connector[f"{prefix}route.by.field"])
    placed = connector[f"{prefix}table.fields.additional.placement"].split(",")
    named |= {one.partition(":")[0] for one in placed}
    assert named == set(EVENT_COLUMNS)


def test_the_connector_reads_the_one_table(connector: dict[str, str]) -> None:
    """Nothing else of the store is anybody's business."""
    assert connector["table.include.list"] == "public.saga_events"
    assert connector["transforms.outbox.type"].endswith(".outbox.EventRouter")
    assert all(isinstance(value, str) for value in connector.values())
