"""Snapshots: a saga and its steps at one instant. Frozen.

``Saga`` is what the hot row of a store holds, and what ``decide`` maps to the
next. What only ever grows (context, outputs, history) stands beside it: the
engine loads of it what a decision or a command needs, ``Manager.get`` all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.references import step_in
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.states import (
    IN_FLIGHT,
    OPEN,
    SATISFIED,
    UNDO,
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)


class StepStatus(Struct, frozen=True):
    """One step of a snapshot; the engine makes one per transition.

    Attributes:
        state: where the step stands.
        outcome: what is known of its action.
        phase: what its current dispatch waits for.
        generation: the number of its last dispatch; 0: none yet.
        attempt: the retry policy's count in the current direction.
        heard: the generations whose success was told, as bits; from 32 on they
            share the last one.
        mark: the history number of its success, or of its action's last
            dispatch; undo goes by descending mark.
        revision: the context's revision its input is made of.
        opened_at: the first dispatch in this direction; the limit counts from it.
        due_at: when the phase must be looked at: retry, resend, lost heartbeat.
        resends: how often the current dispatch was published again.
    """

    state: StepState = StepState.PENDING
    outcome: Outcome = Outcome.NONE
    phase: Phase = Phase.IDLE
    generation: int = 0
    attempt: int = 0
    heard: int = 0
    mark: int = 0
    revision: int = 0
    opened_at: dt.datetime | None = None
    due_at: dt.datetime | None = None
    resends: int = 0

    @property
    def is_open(self) -> bool:
        """Whether a dispatch is out or a retry is due."""
        return self.phase in OPEN

    @property
    def is_in_flight(self) -> bool:
        """Whether a participant may be at work on it."""
        return self.phase in IN_FLIGHT

    @property
    def direction(self) -> Direction:
        """The direction of the current or last dispatch."""
        return Direction.COMPENSATION if self.state in UNDO else Direction.ACTION


class SagaData(Struct, frozen=True):
    """What of a saga's growing data was loaded.

    Attributes:
        context: the context at the saga's revision.
        outputs: outputs of steps that succeeded, by name.
        residuals: all of them by number, settled ones too; loaded only for what
            a person asks of one.
        requests: ids of the requests of people that were applied; loaded only for
            what a person asks.
    """

    context: Mapping[str, Json] = field(default_factory=dict)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    residuals: Mapping[int, Residual] = field(default_factory=dict)
    requests: frozenset[str] = frozenset()


NO_DATA = SagaData()

HEARD_BITS = 32


def heard_bit(generation: int) -> int:
    """Return the bit of a generation in ``StepStatus.heard``."""
    return 1 << min(generation, HEARD_BITS) - 1


class Saga(Struct, frozen=True):
    """A saga at one instant.

    Attributes:
        id: a ULID.
        name: the definition's name.
        key: the idempotency key it was started with, unique per name.
        fingerprint: hash of the start's body; the same key needs the same.
        plan: what it was started with, whatever the code says today.
        state: where it stands.
        direction: forward, or undoing since its abort; also while ``failed``.
        halting: it is to stop as ``failed`` once nothing is in flight.
        version: the number of its last history entry.
        revision: counts the updates of its context.
        ignored: answers that changed nothing: repeated, late, out of order.
        residuals: effects that may stand outside its account, not yet settled.
        steps: the plan's steps, in its order.
        created_at: when it was started.
        updated_at: when it last changed.
        ended_at: when it completed or was compensated.
        deadline_at: when its forward part must be done; None: never.
        wake_at: no later than the next instant something is due; None: nothing.
        reason: why it aborted or stopped; for people.
        undoes: the saga whose residual this one undoes; None for all others.
        data: what was loaded of context and outputs.
    """

    id: SagaId
    name: str
    key: str | None
    fingerprint: str
    plan: Plan
    state: SagaState
    direction: Direction
    halting: bool
    version: int
    revision: int
    ignored: int
    residuals: int
    steps: tuple[StepStatus, ...]
    created_at: dt.datetime
    updated_at: dt.datetime
    ended_at: dt.datetime | None
    deadline_at: dt.datetime | None
    wake_at: dt.datetime | None
    reason: str
    undoes: SagaId | None = None
    data: SagaData = NO_DATA

    @classmethod
    def new(
        cls,
        saga_id: SagaId,
        plan: Plan,
        context: Mapping[str, Json],
        now: dt.datetime,
        *,
        key: str | None = None,
        fingerprint: str = "",
        undoes: SagaId | None = None,
    ) -> Saga:
        """Return a saga that has just been started, before its first transition."""
        deadline = plan.definition.deadline
        return cls(
            id=saga_id,
            name=plan.definition.name,
            key=key,
            fingerprint=fingerprint,
            plan=plan,
            state=SagaState.STARTED,
            direction=Direction.ACTION,
            halting=False,
            version=0,
            revision=0,
            ignored=0,
            residuals=0,
            steps=(StepStatus(),) * len(plan.steps),
            created_at=now,
            updated_at=now,
            ended_at=None,
            deadline_at=None if deadline is None else now + deadline,
            wake_at=None,
            reason="",
            undoes=undoes,
            data=SagaData(context),
        )

    def __repr__(self) -> str:
        """Return what fits a line: a plan alone has dozens of fields."""
        steps = ", ".join(
            f"{step.name}={status.state}"
            for step, status in zip(self.plan.steps, self.steps, strict=True)
        )
        return f"<Saga {self.id} {self.name}: {self.state}; {steps}>"

    @property
    def context(self) -> Mapping[str, Json]:
        """The saga's context now; empty where it was not loaded."""
        return self.data.context

    @property
    def outputs(self) -> Mapping[str, Json]:
        """Outputs of the steps that succeeded, by name, as far as loaded."""
        return self.data.outputs

    @property
    def is_completed(self) -> bool:
        """Whether every step completed or was skipped."""
        return self.state is SagaState.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether it stopped and a person must look."""
        return self.state is SagaState.FAILED

    @property
    def is_compensating(self) -> bool:
        """Whether it is being undone."""
        return self.state is SagaState.COMPENSATING

    @property
    def is_compensated(self) -> bool:
        """Whether all that had to be undone was."""
        return self.state is SagaState.COMPENSATED

    @property
    def completed_steps(self) -> tuple[str, ...]:
        """Names of the steps that stand as completed, in the plan's order."""
        return self._names(lambda status: status.state is StepState.COMPLETED)

    @property
    def failed_steps(self) -> tuple[str, ...]:
        """Names of the steps whose action, or whose undo, gave up."""
        return self._names(
            lambda status: (
                status.state is StepState.FAILED or status.phase is Phase.GAVE_UP
            )
        )

    @property
    def next_steps(self) -> tuple[str, ...]:
        """Names of the pending steps whose dependencies are all done."""
        return tuple(
            step.name
            for number, step in enumerate(self.plan.steps)
            if self.steps[number].state is StepState.PENDING and self.is_ready(number)
        )

    def status(self, name: str) -> StepStatus:
        """Return a step's status.

        Raises:
            KeyError: the saga has no such step.
        """
        return self.steps[self.plan.number[name]]

    def is_ready(self, number: int) -> bool:
        """Whether every step that this one waits for is done."""
        steps = self.steps
        return all(steps[i].state in SATISFIED for i in self.plan.depends_on[number])

    def fence_of(self, number: int) -> Fence:
        """Return the fence of a step's current dispatch."""
        status = self.steps[number]
        return Fence(
            self.id, self.plan.steps[number].name, status.direction, status.generation
        )

    def _names(self, holds: Callable[[StepStatus], bool]) -> tuple[str, ...]:
        pairs = zip(self.plan.steps, self.steps, strict=True)
        return tuple(step.name for step, status in pairs if holds(status))


def needs_undo(step: Step, status: StepStatus) -> bool:
    """Tell whether a settled step is in the set that must be undone.

    RELIABILITY S5: succeeded or unknown, refused only where the step says
    ``always``, unknown not where it says ``never``.
    """
    if not step.compensation:
        return False
    if status.state not in (StepState.COMPLETED, StepState.FAILED):
        return False
    if status.outcome is Outcome.SUCCEEDED:
        return True
    if status.outcome is Outcome.UNKNOWN:
        return step.undo_failed != "never"
    refused = status.outcome is Outcome.REFUSED and step.undo_failed == "always"
    return refused and status.generation > 0  # else it was never sent


def is_of_skipped(plan: Plan, steps: Sequence[StepStatus], path: str) -> bool:
    """Tell whether a path reads a skipped step: it is None at any depth."""
    step = step_in(path)
    return step is not None and steps[plan.number[step]].state is StepState.SKIPPED
