"""docs/wire and docs/wire.md say what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from saga_orchestrator.brokers.rabbitmq.queues import queue_arguments
from saga_orchestrator.core.commands import Answer
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.runtime.returning import QUARANTINE_HEADER
from saga_orchestrator.runtime.serving import PUT_OFF
from saga_orchestrator.wire.envelope import read_commands, read_replies
from saga_orchestrator.wire.frame import pack
from saga_orchestrator.wire.schema import command_schema, reply_schema
from saga_orchestrator.wire.topology import Topology
from tests.unit.wire.samples import command
from tools.wire_documents import documents

_TEXT = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()
_EXAMPLES = [
    json.loads(text) for text in re.findall(r"```json\n(.*?)```", _TEXT, re.DOTALL)
]


def _keys(schema: dict[str, Any], model: str) -> tuple[set[str], set[str]]:
    """Return the properties of a definition, and those that are required."""
    found = schema["$defs"][model]
    return set(found["properties"]), set(found["required"])


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_files(path: Path) -> None:
    """A committed file is what `python -m tools.wire_documents` writes."""
    assert path.read_text() == documents()[path]


@pytest.mark.parametrize("schema", [command_schema(), reply_schema()])
def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    """Both are valid JSON Schemas of 2020-12."""
    Draft202012Validator.check_schema(schema)


def test_required_fields_of_a_command() -> None:
    """What the schema requires is what the plainest command has; no more is sent."""
    (frame,) = pack([command()])
    (sent,) = json.loads(frame.body)["commands"]
    properties, required = _keys(command_schema(), "CommandFields")
    assert required == set(sent)
    assert required <= properties


def test_tables_name_every_field() -> None:
    """docs/wire.md speaks of each field of both messages."""
    named = set(re.findall(r"`(\w+)`", _TEXT))
    commands, _ = _keys(command_schema(), "CommandFields")
    replies, _ = _keys(reply_schema(), "ReplyFields")
    assert commands | replies <= named


def test_table_names_every_answer() -> None:
    """docs/wire.md has a row for each answer, and no other."""
    table = _TEXT.split("| `answer` | means | reads |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(rows) == sorted(Answer)


def test_examples() -> None:
    """The examples of docs/wire.md are good messages, to the schemas and to us."""
    arguments, sent, answered = _EXAMPLES
    Draft202012Validator(command_schema()).validate(sent)
    Draft202012Validator(reply_schema()).validate(answered)
    assert read_commands(json.dumps(sent).encode())
    assert read_replies(json.dumps(answered).encode())
    spec = QueueSpec("saga.steps.payments", dead_letter=Topology().undelivered)
    assert arguments == queue_arguments(spec)


def test_numbers_and_headers() -> None:
    """What docs/wire.md asks for is what our own participants do."""
    assert f"`delay_ms` {PUT_OFF.total_seconds() * 1000:.0f}" in _TEXT
    assert f"`{QUARANTINE_HEADER}: 1`" in _TEXT
