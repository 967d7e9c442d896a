"""What a user writes: a saga's steps, their order and their rules.

A definition is plain, frozen data. It is checked where it is made, so that a
mistake shows at import and names the step; ``plan.py`` compiles it and turns
it into JSON, for it travels with each saga that is started from it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.retry import COMPENSATION_RETRY, RetryPolicy

UndoFailed = Literal["if_unknown", "always", "never"]
OnFailure = Literal["compensate", "park"]
OnDeadline = Literal["compensate", "suspend"]
OnCompensationFailure = Literal["halt", "continue"]

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
            included; None: 24 hours, or the saga's deadline where that is less.
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


@dataclass(frozen=True, slots=True)
class SagaDefinition:
    """A business transaction: its steps and what happens when one fails.

    Attributes:
        name: names the kind of saga, as ``order_processing``.
        steps: at most 2,000; none: the saga completes at once.
        deadline: bounds the forward part, from the start.
        on_failure: when a step gives up: undo, or stop as ``failed`` for a
            person.
        on_deadline: when the deadline passes: undo, or stop as ``failed``.
        parallel_compensation: send all undos at once, in no order.
        on_compensation_failure: when an undo gives up: stop there, or undo the
            rest first; either way the saga ends up ``failed``.

    Raises:
        DefinitionError: when made; names the saga, the step and the fix.
    """

    name: str
    steps: Iterable[Step] = ()
    deadline: dt.timedelta | None = None
    on_failure: OnFailure = "compensate"
    on_deadline: OnDeadline = "compensate"
    parallel_compensation: bool = False
    on_compensation_failure: OnCompensationFailure = "halt"

    def __post_init__(self) -> None:
        """Freeze the steps and check the whole."""
        # Not at module level: the rules are about the classes above.
        from saga_orchestrator.core.validation import check_definition

        object.__setattr__(self, "steps", tuple(self.steps))
        check_definition(self)
