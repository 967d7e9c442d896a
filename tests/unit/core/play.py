"""Plays random moves on one saga, with the judge looking on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saga_orchestrator.core.events import (
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
)
from tests.support.judge import Judge
from tests.support.sagas import Run, seconds
from tests.unit.core.strategies import DELAYS, Move

if TYPE_CHECKING:
    from saga_orchestrator.core.decision import Decision
    from saga_orchestrator.core.definition import SagaDefinition
    from saga_orchestrator.core.events import Answered, Event
    from saga_orchestrator.core.fence import Fence


class Play(Run):
    """A run in which every decision is judged."""

    def __init__(self, definition: SagaDefinition) -> None:
        self._judge = Judge(definition)
        super().__init__(definition, {"flag": True})
        self._judge.watch(None, None, self.last, self.now)

    def apply(self, event: Event) -> Decision:
        """Decide an event and let the judge see it."""
        before = self.saga
        decision = super().apply(event)
        self._judge.watch(before, event, decision, self.now)
        return decision

    def play(self, move: Move) -> None:
        """Make one move; one that has nothing to act on is left out."""
        if move.kind in ("wait", "wake", "almost"):
            self._pass_time(move)
        elif move.kind in ("compensate", "force", "retry", "resend"):
            self._ask(move.kind)
        elif move.kind in ("resolve", "give_up"):
            names = [step.name for step in self.saga.plan.steps]
            likely = self.saga.failed_steps if move.kind == "resolve" else ()
            names = list(likely) or self.open_steps or names
            getattr(self, move.kind)(names[move.pick % len(names)])
        else:
            fence = self._pick(move.pick)
            if fence is not None:
                self.apply(_answer(move, fence))

    def _pick(self, pick: int) -> Fence | None:
        """Choose a dispatch: mostly an open one, else any that was ever sent."""
        current = [self.fence(name) for name in self.open_steps]
        if current and pick % 4:
            return current[pick // 4 % len(current)]
        issued = [sent.fence for sent in self.dispatches]
        return issued[-1 - pick // 4 % len(issued)] if issued else None

    def _pass_time(self, move: Move) -> None:
        if move.kind == "wait" or self.saga.wake_at is None:
            self.wait(DELAYS[move.option])
            return
        ahead = max((self.saga.wake_at - self.now).total_seconds(), 0)
        self.wait(max(ahead - 1e-6, 0) if move.kind == "almost" else ahead)

    def _ask(self, kind: str) -> None:
        if kind == "force":
            self.compensate(force=True)
        else:
            getattr(self, kind)()


def _answer(move: Move, fence: Fence) -> Answered:
    update: dict[str, Any] = {} if move.option else {"flag": bool(move.pick % 2)}
    answers: dict[str, Answered] = {
        "succeed": StepSucceeded(fence, {"n": move.option}, update),
        "succeed_idly": StepSucceeded(fence, effect=False),
        "err": StepFailed(fence, refused=False, error_type="Timeout"),
        "refuse": StepFailed(fence, refused=True, retryable=False),
        "refuse_for_now": StepFailed(fence, refused=True),
        "decline": StepFailed(fence, refused=False, error_type="Declined"),
        "skip": StepSkipped(fence, "nothing to do", update),
        "postpone": StepPostponed(fence, seconds(DELAYS[move.option])),
        "accept": StepAccepted(fence, heartbeat=move.option > 1),
        "beat": StepHeartbeat(fence),
    }
    return answers[move.kind]
