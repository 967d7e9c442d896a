"""A saga's steps told from its history alone: the second book-keeping.

Written against DESIGN section 3, not against the code, and it reads nothing
but history entries. What it comes to must be what the snapshot says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction

if TYPE_CHECKING:
    from saga_orchestrator.core.decision import HistoryEntry
    from saga_orchestrator.core.definition import SagaDefinition

_SAGA_EDGES = {
    ("", "started"), ("", "completed"), ("started", "completed"),
    ("started", "compensating"), ("started", "failed"),
    ("compensating", "compensated"), ("compensating", "failed"),
    ("failed", "started"), ("failed", "compensating"),
    ("completed", "compensating"),
}  # fmt: skip
_STEP_EDGES = {
    "pending": {"started", "skipped", "completed", "failed"},
    "started": {"completed", "skipped", "failed"},
    "failed": {"pending", "started", "completed", "compensating", "compensated"},
    "completed": {"compensating", "compensated"},
    "compensating": {"compensated"},
    "compensated": set(),
    "skipped": set(),
}
_ATTEMPT_ENDED = {
    HistoryKind.STEP_FAILED,
    HistoryKind.HEARTBEAT_LOST,
    HistoryKind.WAIT_GIVEN_UP,
}


@dataclass
class FoldedStep:
    """What history tells of one step."""

    state: str = "pending"
    outcome: str = "none"
    phase: str = "idle"
    generation: int = 0

    def move(self, state: str, phase: str = "idle") -> None:
        """Go along an edge of the step's machine."""
        assert state in {self.state} | _STEP_EDGES[self.state], (self, state)
        self.state, self.phase = state, phase

    def fail(self) -> None:
        """End the action without success; nobody's answer is as good as unknown."""
        if self.outcome == "none":
            self.outcome = "unknown"
        self.move("failed")


class Fold:
    """The fold over a saga's history.

    Attributes:
        saga: the saga's state, empty before its first entry.
        aborted: it turned back.
        halting: it is to stop once nothing is in flight.
        steps: by name.
    """

    def __init__(self, definition: SagaDefinition, *, is_undo: bool = False) -> None:
        """Begin before the first entry; an undo's steps are done by then."""
        self.definition = definition
        self.saga = ""
        self.aborted = False
        self.halting = False
        first = ("completed", "succeeded") if is_undo else ("pending", "none")
        self.steps = {step.name: FoldedStep(*first) for step in definition.steps}

    def add(self, entry: HistoryEntry) -> None:
        """Take in the next entry, its sends excepted: those are ``dispatch``."""
        if entry.step is not None:
            self._step_entry(entry, self.steps[entry.step])
        elif entry.kind is HistoryKind.DEADLINE_PASSED and entry.state == "started":
            self._halt()
        self._move_saga(entry)
        if entry.kind is HistoryKind.RETRY_REQUESTED and not self.aborted:
            self._reconsider()

    def dispatch(self, entry: HistoryEntry) -> None:
        """Take in what the entry sent."""
        for sent in entry.sent:
            step = self.steps[sent.fence.step]
            if sent.resend:
                assert sent.fence.generation == step.generation, "S12: resend"
                continue
            assert sent.fence.generation == step.generation + 1, "S12: generations"
            assert step.phase not in ("sent", "accepted"), "S12: sent while it is out"
            step.generation += 1
            forward = sent.fence.direction is Direction.ACTION
            step.move("started" if forward else "compensating", "sent")

    def _step_entry(self, entry: HistoryEntry, step: FoldedStep) -> None:
        forward = step.state not in ("compensating", "compensated")
        kind = entry.kind
        if kind is HistoryKind.STEP_SUCCEEDED and forward:
            step.outcome = "succeeded"
            step.move("completed")
        elif kind is HistoryKind.STEP_SKIPPED and forward:
            step.move("skipped")
        elif kind in (HistoryKind.STEP_SUCCEEDED, HistoryKind.STEP_SKIPPED):
            step.move("compensated")
        elif kind is HistoryKind.STEP_ACCEPTED:
            step.phase = "accepted"
        elif kind is HistoryKind.STEP_RESOLVED:
            self._resolved(step)
        elif kind is HistoryKind.STEP_EXPIRED:
            self._expired(step, entry, forward=forward)
        elif kind is HistoryKind.STEP_POSTPONED:
            self._postponed(step, entry, forward=forward)
        elif kind is HistoryKind.STEP_FAILED and step.state == "pending":
            step.outcome = "refused"  # its condition could not be judged
            self._gave_up(step, entry, forward=True)
        elif kind in _ATTEMPT_ENDED:
            self._attempt_ended(step, entry, forward=forward)

    def _expired(self, step: FoldedStep, entry: HistoryEntry, *, forward: bool) -> None:
        if forward and (step.phase != "waiting" or step.outcome == "none"):
            step.outcome = "unknown"
        if _sent_again(entry):
            step.phase = "idle"
        else:
            self._gave_up(step, entry, forward=forward)

    def _attempt_ended(
        self, step: FoldedStep, entry: HistoryEntry, *, forward: bool
    ) -> None:
        if forward and step.outcome != "unknown":  # S7: unknown sticks
            step.outcome = "refused" if entry.data["refused"] else "unknown"
        if "retry_at" in entry.data:
            step.phase = "waiting"
        else:
            self._gave_up(step, entry, forward=forward)

    def _postponed(
        self, step: FoldedStep, entry: HistoryEntry, *, forward: bool
    ) -> None:
        wanted = "started" if forward else "compensating"
        if self.saga == wanted and not self.halting:
            step.phase = "waiting"
            if forward and step.outcome == "refused":
                step.outcome = "none"  # what was put off may have begun
            return
        if forward:
            step.outcome = "unknown"
        self._gave_up(step, entry, forward=forward)

    def _gave_up(self, step: FoldedStep, entry: HistoryEntry, *, forward: bool) -> None:
        if forward:
            step.fail()
            if entry.state == "started":
                self._halt()
            return
        step.phase = "gave_up"
        if self.definition.on_compensation_failure == "halt":
            self._halt()

    def _resolved(self, step: FoldedStep) -> None:
        if self.aborted:
            step.move("compensated")
        else:
            step.outcome = "succeeded"
            step.move("completed")

    def _halt(self) -> None:
        self.halting = True
        self._settle_waiting()

    def _settle_waiting(self) -> None:
        for step in self.steps.values():
            if step.phase == "waiting" and step.state == "started":
                step.fail()
            elif step.phase == "waiting" and self.halting:
                step.phase = "gave_up"

    def _move_saga(self, entry: HistoryEntry) -> None:
        after = entry.state.value
        if after == self.saga:
            return
        assert (self.saga, after) in _SAGA_EDGES, f"S1: {self.saga} -> {after}"
        if after == "compensating":
            self.aborted = True
            self._revive(entry)
        if after == "failed":
            self.halting = True
        self._settle_waiting()
        self.saga, self.halting = after, False

    def _reconsider(self) -> None:
        """Judge again the conditions that could not be judged."""
        for step in self.steps.values():
            if step.state == "failed" and not step.generation:
                step.outcome = "none"
                step.move("pending")

    def _revive(self, entry: HistoryEntry) -> None:
        if entry.kind in (
            HistoryKind.RETRY_REQUESTED,
            HistoryKind.COMPENSATE_REQUESTED,
        ):
            for step in self.steps.values():
                if step.phase == "gave_up":
                    step.phase = "idle"


def _sent_again(entry: HistoryEntry) -> bool:
    """Tell whether an undo without a last attempt starts anew at its limit."""
    return any(
        sent.fence.step == entry.step and sent.fence.direction is entry.direction
        for sent in entry.sent
    )
