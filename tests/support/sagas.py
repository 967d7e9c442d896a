"""Sagas without a store: builders, and a driver that feeds ``decide``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.events import (
    CompensateRequested,
    GiveUpRequested,
    ResendRequested,
    ResidualDismissRequested,
    ResidualUndoRequested,
    ResolveRequested,
    RetryRequested,
    SagaStarted,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import SagaData
from saga_orchestrator.core.states import Direction, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from saga_orchestrator.core.decision import (
        Decision,
        Dispatch,
        HistoryEntry,
        HistoryKind,
    )
    from saga_orchestrator.core.events import Event
    from saga_orchestrator.core.payload import Json
    from saga_orchestrator.core.residual import Residual
    from saga_orchestrator.core.saga import Saga, StepStatus

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
SAGA_ID = SagaId("01JGFJJZ00000000000000000A")
UNDO_ID = SagaId("01JGFJJZ00000000000000000B")
ONCE = RetryPolicy(max_attempts=1)
TWICE = RetryPolicy(max_attempts=2, jitter=0.0)


def seconds(number: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=number)


def step(name: str, **options: Any) -> Step:
    """Return a step ``x`` with the action ``do.x`` and the compensation ``undo.x``."""
    options.setdefault("action", f"do.{name}")
    options.setdefault("compensation", f"undo.{name}")
    return Step(name, **options)


def sequence(*names: str, **options: Any) -> list[Step]:
    """Return steps that differ in their names only."""
    return [step(name, **options) for name in names]


def definition(*steps: Step, **options: Any) -> SagaDefinition:
    """Return a definition of these steps."""
    return SagaDefinition("order", steps=steps, **options)


class Run:
    """One saga from its start on, and all that its decisions said.

    Attributes:
        saga: the snapshot now.
        now: the clock; ``wait`` moves it.
        history: every entry so far.
        dispatches: every command so far, resends included.
        residuals: every residual so far, as it was opened and as it was settled.
        last: the decision of the last event.
    """

    saga: Saga
    last: Decision

    def __init__(
        self, definition: SagaDefinition, context: Mapping[str, Json] | None = None
    ) -> None:
        self.now = NOW
        self.history: list[HistoryEntry] = []
        self.dispatches: list[Dispatch] = []
        self.residuals: list[Residual] = []
        plan = compile_plan(definition)
        self.context = context or {}
        started = SagaStarted(SAGA_ID, plan, self.context)
        self._keep(decide(None, started, self.now))

    # -- events -----------------------------------------------------------

    def apply(self, event: Event) -> Decision:
        """Decide an event now, on the snapshot so far."""
        return self._keep(decide(self.saga, event, self.now))

    def succeed(
        self, step: str, output: Json = None, *, generation: int = 0, **options: Any
    ) -> Decision:
        """Let a dispatch, by default the step's current one, succeed."""
        fence = self.fence(step, generation)
        return self.apply(StepSucceeded(fence, output, **options))

    def refuse(self, step: str, *, generation: int = 0, **options: Any) -> Decision:
        """Let a dispatch be refused; by default there is no further attempt."""
        options = {"retryable": False, "error": "no", **options}
        fence = self.fence(step, generation)
        return self.apply(StepFailed(fence, refused=True, **options))

    def err(self, step: str, *, generation: int = 0, **options: Any) -> Decision:
        """Let a dispatch end with an exception: its outcome is unknown."""
        fence = self.fence(step, generation)
        return self.apply(StepFailed(fence, refused=False, **options))

    def skip(self, step: str, *, generation: int = 0, **options: Any) -> Decision:
        """Let a handler answer ``Skip``."""
        return self.apply(StepSkipped(self.fence(step, generation), **options))

    def postpone(self, step: str, delay: float, *, generation: int = 0) -> Decision:
        """Let a handler answer ``RetryLater``."""
        fence = self.fence(step, generation)
        return self.apply(StepPostponed(fence, seconds(delay)))

    def accept(self, step: str, *, heartbeat: bool = True) -> Decision:
        """Let a participant take the current dispatch, to answer later."""
        return self.apply(StepAccepted(self.fence(step), heartbeat))

    def beat(self, step: str) -> Decision:
        """Let a heartbeat come."""
        return self.apply(StepHeartbeat(self.fence(step)))

    def wait(self, duration: float) -> Decision:
        """Move the clock by some seconds and look what is due."""
        self.now += seconds(duration)
        return self.apply(TimeCame(self.saga.id))

    def retry_now(self, step: str) -> Decision:
        """Move the clock to the step's next attempt."""
        due_at = self.status(step).due_at
        assert due_at is not None, f"{step} waits for nothing"
        return self.wait((due_at - self.now).total_seconds())

    def resend(self) -> Decision:
        """Ask for every open command again."""
        return self.apply(ResendRequested(self.saga.id))

    def compensate(self, *, force: bool = False) -> Decision:
        """Ask for the saga to be undone."""
        return self.apply(
            CompensateRequested(self.saga.id, "ann", "asked", force=force)
        )

    def retry(self) -> Decision:
        """Ask for what gave up to be tried again."""
        return self.apply(RetryRequested(self.saga.id, "ann", "asked"))

    def resolve(
        self, step: str, output: Json = None, *, direction: Direction | None = None
    ) -> Decision:
        """Say that a person did, or undid, a step."""
        known = step in self.saga.plan.number
        generation = self.status(step).generation if known else 0
        return self.apply(
            ResolveRequested(
                *(self.saga.id, "ann", "asked", step),
                *(direction or self.saga.direction, generation, output),
            )
        )

    def give_up(self, step: str) -> Decision:
        """Say that nobody waits for a step's current dispatch any more."""
        known = step in self.saga.plan.number
        generation = self.status(step).generation if known else 1
        return self.apply(
            GiveUpRequested(self.saga.id, "ann", "asked", step, generation)
        )

    def undo_residual(self, number: int, undo_id: SagaId = UNDO_ID) -> Decision:
        """Ask for a residual to be undone by a saga of that id."""
        self._load_residuals()
        data = SagaData(self.context, self.saga.outputs)
        return self.apply(
            ResidualUndoRequested(self.saga.id, "ann", "asked", number, undo_id, data)
        )

    def dismiss_residual(self, number: int) -> Decision:
        """Say that a residual needs no undo."""
        self._load_residuals()
        return self.apply(
            ResidualDismissRequested(self.saga.id, "ann", "asked", number)
        )

    def _load_residuals(self) -> None:
        """Load what a store loads for such a request: the last word on each."""
        known = {residual.number: residual for residual in self.residuals}
        self.saga = replace(self.saga, data=replace(self.saga.data, residuals=known))

    # -- questions --------------------------------------------------------

    def fence(self, step: str, generation: int = 0) -> Fence:
        """Return a dispatch's fence; generation 0: the current one."""
        if not generation:
            return self.saga.fence_of(self.saga.plan.number[step])
        issued = [sent.fence for sent in self.dispatches if sent.fence.step == step]
        return next(fence for fence in issued if fence.generation == generation)

    def status(self, step: str) -> StepStatus:
        """Return a step's status."""
        return self.saga.status(step)

    @property
    def states(self) -> list[str]:
        """The steps' states, in the plan's order."""
        return [status.state.value for status in self.saga.steps]

    @property
    def kinds(self) -> list[HistoryKind]:
        """What the history tells, in order."""
        return [entry.kind for entry in self.history]

    @property
    def sent(self) -> list[str]:
        """What the last event sent, as ``do.a#1`` or ``undo.a#2``."""
        return [_told(sent) for sent in self.last.dispatches]

    @property
    def all_sent(self) -> list[str]:
        """What was sent so far, as in ``sent``."""
        return [_told(sent) for sent in self.dispatches]

    @property
    def open_steps(self) -> list[str]:
        """Names of the steps that a participant may be at work on."""
        pairs = zip(self.saga.plan.steps, self.saga.steps, strict=True)
        return [step.name for step, status in pairs if status.is_in_flight]

    def finish(self, limit: int = 500) -> None:
        """Answer every command with a success, and move time, until nothing moves.

        Args:
            limit: events at most.
        """
        for _ in range(limit):
            if self.open_steps:
                self.succeed(self.open_steps[0])
            elif any(status.phase is Phase.WAITING for status in self.saga.steps):
                assert self.saga.wake_at is not None, "it waits and nobody wakes it"
                self.now = max(self.now, self.saga.wake_at)
                self.wait(0)
            else:
                return
        raise AssertionError(f"the saga still moves after {limit} events")

    def _keep(self, decision: Decision) -> Decision:
        assert decision.saga is not None
        self.saga = decision.saga
        self.last = decision
        self.history += decision.history
        self.dispatches += decision.dispatches
        if decision.residual is not None:
            self.residuals.append(decision.residual)
        return decision


def _told(sent: Dispatch) -> str:
    fence = sent.fence
    verb = "do" if fence.direction is Direction.ACTION else "undo"
    return f"{verb}.{fence.step}#{fence.generation}"
