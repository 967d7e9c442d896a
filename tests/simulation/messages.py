"""Messages on the wire, read without the engine's reader."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction


class Item(NamedTuple):
    """One command or reply of a message."""

    fence: Fence
    answer: str
    token: str


@lru_cache(maxsize=512)
def items_of(body: bytes) -> tuple[Item, ...]:
    """Read what a message is about; nothing where it is no message of ours."""
    try:
        document = json.loads(body)
        items = document.get("commands") or document.get("replies") or []
        return tuple(
            Item(
                Fence(
                    SagaId(item["saga_id"]),
                    item["step"],
                    Direction(item["direction"]),
                    item["generation"],
                ),
                item.get("answer", ""),
                item["token"],
            )
            for item in items
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ()
