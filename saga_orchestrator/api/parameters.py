"""Parameters that several routes have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from saga_orchestrator.api.cursors import CURSOR

SAGA_ID = r"^[0-9A-HJKMNP-TV-Z]{26}$"
PAGE_DEFAULT = 50
PAGE_MAX = 200


def read_by(parse: Callable[[str], Any]) -> BeforeValidator:
    """Return what reads a parameter with a parser of ours.

    Args:
        parse: its ValueError is told as it is: it says what to write.
    """

    def read(text: str) -> Any:  # noqa: ANN401 - whatever the parameter is
        try:
            return parse(text)
        except ValueError as error:
            problem = {"problem": str(error)}
            raise PydanticCustomError("parameter", "{problem}", problem) from error

    return BeforeValidator(read)


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
