"""Write docs/wire from the code: JSON Schemas and the AsyncAPI document.

.venv/bin/python -m tools.wire_documents
"""

from __future__ import annotations

import json
from pathlib import Path

from saga_orchestrator.wire.asyncapi import asyncapi
from saga_orchestrator.wire.schema import command_schema, reply_schema

FOLDER = Path(__file__).parents[1] / "docs" / "wire"


def documents() -> dict[Path, str]:
    """Return the text of each file."""
    made = {
        "commands.schema.json": command_schema(),
        "replies.schema.json": reply_schema(),
        "asyncapi.json": asyncapi(),
    }
    return {
        FOLDER / name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in made.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in documents().items():
        path.write_text(text)
