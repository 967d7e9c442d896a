"""The messages as JSON Schemas, made of the models that read them.

``tools/wire_documents.py`` writes them to ``docs/wire``, for participants in
other languages; a test fails when the files are not what the code says.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from saga_orchestrator.wire.models import (
    VERSION,
    CommandFields,
    CommandMessage,
    ReplyMessage,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALWAYS_SENT = ("idempotency_key", "action_key", "output", "outputs")
"""Fields that every command has, although our reader could do without them."""

_Schema = dict[str, Any]


def command_schema(ref: str = "#/$defs/{model}") -> _Schema:
    """Return the schema of a message of commands.

    Args:
        ref: where definitions stand, for documents that keep them elsewhere.
    """
    schema = _schema(CommandMessage, "commands", ref)
    command = schema["$defs"][CommandFields.__name__]
    command["required"].extend(ALWAYS_SENT)
    del command["properties"]["input"]["default"]  # it is the context, not null
    return schema


def reply_schema(ref: str = "#/$defs/{model}") -> _Schema:
    """Return the schema of a message of replies.

    Args:
        ref: where definitions stand, for documents that keep them elsewhere.
    """
    return _schema(ReplyMessage, "replies", ref)


def _schema(model: type[BaseModel], name: str, ref: str) -> _Schema:
    return {
        "$schema": DIALECT,
        "$id": f"urn:saga-orchestrator:wire:{VERSION}:{name}",
        **model.model_json_schema(ref_template=ref),
    }
