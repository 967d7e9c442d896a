"""What a user writes: a saga's steps, their order and their rules.

A definition is plain, frozen data. It is checked where it is made, so that a
mistake shows at import and names the step; ``plan.py`` compiles it and turns
it into JSON, for it travels with each saga that is started from it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from saga_orchestrator.core.step import LIMIT_DEFAULT, Step
from saga_orchestrator.core.validation import check_choice, check_saga

__all__ = ["LIMIT_DEFAULT", "SagaDefinition", "Step"]

OnFailure = Literal["compensate", "park"]
OnDeadline = Literal["compensate", "suspend"]
OnCompensationFailure = Literal["halt", "continue"]


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
        object.__setattr__(self, "steps", tuple(self.steps))
        check_saga(self.name, tuple(self.steps), self.deadline)
        where = f"saga {self.name!r}"
        check_choice(where, "on_failure", self.on_failure, get_args(OnFailure))
        check_choice(where, "on_deadline", self.on_deadline, get_args(OnDeadline))
        check_choice(
            where,
            "on_compensation_failure",
            self.on_compensation_failure,
            get_args(OnCompensationFailure),
        )
