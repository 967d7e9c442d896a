"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from saga_orchestrator.api.cursors import CURSOR

SAGA_ID = r"^[0-9A-HJKMNP-TV-Z]{26}$"
PAGE_DEFAULT = 50
PAGE_MAX = 200

SagaIdPath = Annotated[
    str,
    Path(
        pattern=SAGA_ID,
        description="The saga.",
        examples=["01M7X3B60JTS25RD93M070YZWK"],
    ),
]
StepPath = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Its step.",
        examples=["charge_payment"],
    ),
]
ResidualPath = Annotated[
    int,
    Path(ge=1, le=10**9, description="The residual's number.", examples=[7]),
]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Rows at most.")]
Cursor = Annotated[
    str | None,
    Query(
        pattern=CURSOR,
        description="The `next_cursor` of the page before, with the same filters.",
    ),
]
