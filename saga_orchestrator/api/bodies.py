"""What clients send. Unknown fields and wrong types are refused by name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from saga_orchestrator.core.fence import COMPLETION_PATTERN
from saga_orchestrator.core.states import Direction
from saga_orchestrator.runtime.completion import ERROR_CHARS_MAX, ERROR_TYPE_CHARS_MAX
from saga_orchestrator.runtime.starting import TEXT_CHARS_MAX

TEXT = r"^[^\x00]*[^\s\x00-\x1f][^\x00]*$"
"""Something to read in it, and no NUL, which no store can keep."""

JsonObject = dict[str, Any]

Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=TEXT_CHARS_MAX,
        pattern=TEXT,
        description="Why; kept in the history, with who asks.",
        examples=["the customer called"],
    ),
]
Token = Annotated[
    str,
    Field(
        pattern=f"^{COMPLETION_PATTERN}$",
        description="The `completion_token` of the run that is answered.",
        examples=["action.1.5d41402abc4b2a76b9719d911017c592"],
    ),
]
Update = Annotated[
    JsonObject,
    Field(description="Merged into the saga's context by key; null deletes a key."),
]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StartBody(Body):
    """A saga to start."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            description="A definition that this process was given.",
            examples=["order_processing"],
        ),
    ]
    context: Annotated[
        JsonObject,
        Field(
            description="What handlers and conditions read; at most 1 MiB of JSON.",
            examples=[{"customer_id": "c-1", "sku": "book", "quantity": 2}],
        ),
    ] = {}


class ReasonBody(Body):
    """A request of a person."""

    reason: Reason


class CompensateBody(ReasonBody):
    """A saga to undo."""

    force: Annotated[
        bool, Field(description="Also past the pivot, also where it completed.")
    ] = False


class ResolveBody(ReasonBody):
    """A step that a person did, or undid, by hand."""

    output: Annotated[
        Any,
        Field(description="What the action would have returned; later steps read it."),
    ] = None
    direction: Annotated[
        Direction | None,
        Field(
            strict=False,
            description="What was done by hand. Left out: whichever way the saga goes.",
        ),
    ] = None


class TokenBody(Body):
    """A sign of life of a run."""

    token: Token


class CompleteBody(TokenBody):
    """A run that is done."""

    output: Annotated[
        Any, Field(description="What the handler would have returned.")
    ] = None
    update: Update = {}


class FailBody(TokenBody):
    """A run that failed."""

    error: Annotated[
        str,
        Field(
            min_length=1,
            max_length=ERROR_CHARS_MAX,
            pattern=TEXT,
            description="Why, for people.",
            examples=["card declined"],
        ),
    ]
    error_type: Annotated[
        str,
        Field(
            min_length=1,
            max_length=ERROR_TYPE_CHARS_MAX,
            pattern=TEXT,
            description="Compared with the step's `non_retryable`.",
        ),
    ] = "StepFailed"
    refused: Annotated[
        bool,
        Field(description="A definite no: nothing happened. false: it may have."),
    ] = True
    retryable: Annotated[
        bool | None,
        Field(description="Try again by the retry policy; left out: unless refused."),
    ] = None
    update: Update = {}
