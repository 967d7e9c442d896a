"""One step of a definition: an action, and the compensation that undoes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.retry import COMPENSATION_RETRY, RetryPolicy

UndoFailed = Literal["if_unknown", "always", "never"]

TIMEOUT_DEFAULT = dt.timedelta(seconds=60)
LIMIT_DEFAULT = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: an action, and the compensation that undoes it.

    Attributes:
        name: unique in the saga; letters, digits, ``_`` and ``-``.
        action: the action's name, as ``payment.charge``; empty: the step is
            done as soon as its turn comes.
        compensation: the compensation's name; empty: nothing to undo.
        depends_on: names of the steps that must be done first. Where no step of
            a saga names any, the steps are a sequence; as soon as one does, a
            step without it depends on nothing.
        input: the handler's argument: JSON in which ``{"$ref": "outputs.a.id"}``
            or ``{"$ref": "context.x"}`` stands for a value; None: the context.
        when: conditions that must all hold, by path:
            ``{"context.requires_approval": True}``; else the step is skipped.
        retry: how often a failed action is made again.
        timeout: bounds one run of a handler, enforced where it runs.
        limit: bounds the step over all its dispatches, queueing and retries
            included; None: 24 hours.
        compensation_retry: the same for the compensation.
        undo_failed: whether the step is undone when its own action failed:
            when the outcome is unknown, always, or never.
        pivot: after this step completed, the saga only goes forward.
    """

    name: str
    action: str = ""
    compensation: str = ""
    depends_on: Iterable[str] = ()
    input: Json = None
    when: Mapping[str, Json] | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: dt.timedelta = TIMEOUT_DEFAULT
    limit: dt.timedelta | None = None
    compensation_retry: RetryPolicy = COMPENSATION_RETRY
    undo_failed: UndoFailed = "if_unknown"
    pivot: bool = False

    def __post_init__(self) -> None:
        """Freeze the lists; the definition checks the rest, with its name."""
        depends_on = self.depends_on
        if isinstance(depends_on, str):
            depends_on = (depends_on,)
        object.__setattr__(self, "depends_on", tuple(depends_on))
