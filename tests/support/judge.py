"""The judge: invariants S1 to S17 and L2, checked after every single decision.

It is told the events and reads the decisions, and keeps its own account of
what is due and what must be undone; ``fold`` gives it the steps' states.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.events import (
    ResendRequested,
    ResidualDismissRequested,
    ResidualUndoRequested,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.saga import NO_DATA, SagaData
from saga_orchestrator.core.states import Direction
from saga_orchestrator.core.vector import decode_steps, encode_steps
from tests.support.fold import Fold
from tests.support.timetable import Timetable

if TYPE_CHECKING:
    from saga_orchestrator.core.decision import Dispatch, HistoryEntry
    from saga_orchestrator.core.definition import SagaDefinition
    from saga_orchestrator.core.events import Event
    from saga_orchestrator.core.fence import Fence
    from saga_orchestrator.core.saga import Saga

_BY_OPERATOR = {
    HistoryKind.COMPENSATE_REQUESTED,
    HistoryKind.RETRY_REQUESTED,
    HistoryKind.STEP_RESOLVED,
}
_ENDED = ("completed", "compensated")


class Judge:
    """Watches one saga from its start on."""

    def __init__(self, definition: SagaDefinition, *, is_undo: bool = False) -> None:
        """Begin before the start.

        Args:
            definition: the saga's.
            is_undo: it undoes a residual: its steps were done before it began.
        """
        self._fold = Fold(definition, is_undo=is_undo)
        self._times = Timetable(definition, self._fold)
        self._definition = definition
        self._steps = {step.name: step for step in definition.steps}
        self._needs = _needs(definition)
        self._version = 0
        self._rank = dict.fromkeys(self._steps, (0, False)) if is_undo else {}
        self._told: set[Fence] = set()

    def watch(
        self,
        before: Saga | None,
        event: Event | None,
        decision: Decision,
        now: dt.datetime,
    ) -> None:
        """Check one decision; fails by assertion, naming the invariant.

        Args:
            before: the snapshot it was made on; None: the saga starts.
            event: what happened; None: the start.
            decision: what ``decide`` said.
            now: the instant of the decision.
        """
        if isinstance(event, StepSucceeded | StepFailed):
            self._check_answer(event, decision)
        for entry in decision.history:
            self._check_entry(entry, now)
        if decision.ignored is None and isinstance(event, StepHeartbeat | StepAccepted):
            beats = isinstance(event, StepHeartbeat) or event.heartbeat
            self._times.beat(event.fence.step, now if beats else None)
        saga = decision.saga
        assert saga is not None
        if before is not None and event is not None:
            self._check_repeat(before, event, decision, now)
        for sent in decision.dispatches:
            if sent.fence.generation == 1 and not sent.resend:
                status = saga.status(sent.fence.step)
                assert status.revision == saga.revision, "an old context is sent"
        self._check_snapshot(saga, event, now)

    # -- answers ----------------------------------------------------------

    def _check_answer(
        self, event: StepSucceeded | StepFailed, decision: Decision
    ) -> None:
        step = self._fold.steps[event.fence.step]
        undo = event.fence.direction is Direction.COMPENSATION
        left = step.state in ("compensating", "compensated", "skipped", "failed")
        by_hand = step.state == "completed" and not self._was_told(event.fence.step)
        if isinstance(event, StepFailed):
            current = event.fence.generation == step.generation
            awaited = current and step.phase in ("sent", "accepted")
            assert (decision.ignored is None) == awaited, "S12: fence"
        elif undo:
            counts = step.state == "compensating"
            assert (decision.ignored is None) == counts, "S5: acknowledgement"
        elif step.state in ("started", "failed") and self._fold.saga not in _ENDED:
            assert decision.ignored is None, "S8: a late success was dropped"
        else:
            assert decision.ignored is not None, "S12: repeated"
            self._check_residual(event, decision, left=left or by_hand)
        if isinstance(event, StepSucceeded):
            repeated = step.state == "completed" and not by_hand
            counted = decision.ignored is None or repeated
            if counted or event.effect:
                self._told.add(event.fence)

    def _was_told(self, step: str) -> bool:
        """Tell whether any success of a step was; else a person completed it."""
        return any(fence.step == step for fence in self._told)

    def _check_residual(
        self, event: StepSucceeded, decision: Decision, *, left: bool
    ) -> None:
        expected = left and event.effect and event.fence not in self._told
        assert (decision.residual is not None) == expected, "S8: residual, once"

    # -- history ----------------------------------------------------------

    def _check_entry(self, entry: HistoryEntry, now: dt.datetime) -> None:
        self._version += 1
        assert (entry.seq, entry.at) == (self._version, now), "S1: seq"
        self._check_leaving(entry)
        self._times.check(entry)
        self._fold.add(entry)
        if entry.kind in (HistoryKind.STEP_SUCCEEDED, HistoryKind.STEP_RESOLVED):
            self._note_success(entry)
        for sent in entry.sent:
            if not sent.resend and sent.fence.direction is Direction.ACTION:
                self._check_action(sent, entry)
        for sent in entry.sent:
            if not sent.resend and sent.fence.direction is Direction.COMPENSATION:
                self._check_undo(sent, entry)
        self._fold.dispatch(entry)
        self._times.note(entry)
        if entry.state == "compensated":
            left = [n for n in self._steps if self._must_be_undone(n)]
            assert left == [], "S5: not undone"

    def _note_success(self, entry: HistoryEntry) -> None:
        """Remember when a step succeeded: before what its success sent."""
        assert entry.step is not None
        if self._fold.steps[entry.step].state == "completed":
            self._rank[entry.step] = (entry.seq, False)

    def _check_leaving(self, entry: HistoryEntry) -> None:
        before = self._fold.saga
        if entry.state == before:
            return
        assert before != "compensated", "S2: terminal"
        if entry.state == "compensating" and not self._fold.aborted:
            passed = any(
                step.pivot and self._fold.steps[name].state == "completed"
                for name, step in self._steps.items()
            )
            asked = entry.kind is HistoryKind.COMPENSATE_REQUESTED
            assert asked or not passed, "an abort past the pivot"
        if before == "completed":
            assert entry.data.get("force") is True, "S2: only by force"
        if before == "failed":
            assert entry.kind in _BY_OPERATOR, "S2: only by an operator"
            assert entry.data["principal"], "S2: principal"
            assert entry.data["reason"], "S2: reason"

    def _check_action(self, sent: Dispatch, entry: HistoryEntry) -> None:
        name = sent.fence.step
        assert not self._fold.aborted, "S4: an action after the abort"
        assert not self._fold.halting, "an action while stopping"
        needs = self._needs[name][0]
        states = {self._fold.steps[need].state for need in needs}
        assert states <= {"completed", "skipped"}, "S3: gating"
        self._rank[name] = (entry.seq, True)
        assert entry.state == "started", "S4: an action is sent by started sagas"

    def _check_undo(self, sent: Dispatch, entry: HistoryEntry) -> None:
        name = sent.fence.step
        steps = self._fold.steps
        again = steps[name].state == "compensating"
        assert again or self._must_be_undone(name), "S5: not in the set"
        running = [
            n
            for n, step in steps.items()
            if step.state == "started" and step.phase in ("sent", "accepted")
        ]
        assert not running, "an undo while an action runs"
        expired = entry.kind is HistoryKind.STEP_EXPIRED and entry.step == name
        was_open = expired or steps[name].phase in ("sent", "waiting", "accepted")
        if self._definition.parallel_compensation or was_open:
            return  # all at once; or another attempt of the undo whose turn it is
        waiting = [
            n
            for n, step in steps.items()
            if n != name
            and (
                self._must_be_undone(n)
                or (step.state == "compensating" and step.phase == "idle")
            )
        ]
        undoing = [
            n
            for n, step in steps.items()
            if n != name
            and step.state == "compensating"
            and step.phase not in ("idle", "gave_up")
        ]
        assert undoing == [], "S6: one undo at a time"
        assert all(self._rank[n] <= self._rank[name] for n in waiting), "S6: LIFO"
        later = [n for n in waiting if name in self._needs[n][1]]
        assert later == [], "S6: a dependent is undone first"

    def _must_be_undone(self, name: str) -> bool:
        """Tell whether the step is in C(s) and its undo was not sent yet (S5)."""
        step, folded = self._steps[name], self._fold.steps[name]
        if not step.compensation or folded.state not in ("completed", "failed"):
            return False
        return (
            folded.outcome == "succeeded"
            or (folded.outcome == "unknown" and step.undo_failed != "never")
            or self._was_refused(name)
        )

    def _was_refused(self, name: str) -> bool:
        """Tell whether a step is undone although it was refused, and was ever sent."""
        folded, policy = self._fold.steps[name], self._steps[name].undo_failed
        sent = folded.generation > 0
        return folded.outcome == "refused" and policy == "always" and sent

    # -- the snapshot -----------------------------------------------------

    def _check_snapshot(
        self, saga: Saga, event: Event | None, now: dt.datetime
    ) -> None:
        told = {
            name: (step.state, step.outcome, step.phase, step.generation)
            for name, step in self._fold.steps.items()
        }
        kept = {
            step.name: (s.state.value, s.outcome.value, s.phase.value, s.generation)
            for step, s in zip(saga.plan.steps, saga.steps, strict=True)
        }
        assert kept == told, "S19: fold(history) = snapshot"
        assert (saga.version, saga.state) == (self._version, self._fold.saga), "S1"
        in_flight = [
            name
            for name, (_, _, phase, _) in told.items()
            if phase in ("sent", "waiting", "accepted")
        ]
        if saga.state in ("started", "compensating"):
            assert in_flight, "L2: nothing moves it"
        else:
            assert not in_flight, "nothing is in flight when a saga stops"
        assert (saga.ended_at is not None) == (saga.state in _ENDED)
        due = self._times.earliest()
        assert (saga.wake_at is None) == (due is None), "L2: wake-up"
        if due is not None and saga.wake_at is not None:
            assert saga.wake_at <= due, "L2: it wakes too late"
        if isinstance(event, TimeCame) and saga.wake_at is not None:
            ahead = due is not None and min(due, saga.wake_at) > now
            assert ahead or due == saga.wake_at, "S14: it fires for ever in vain"
        assert decode_steps(*encode_steps(saga.steps)) == saga.steps

    def _check_repeat(
        self, before: Saga, event: Event, decision: Decision, now: dt.datetime
    ) -> None:
        saga = decision.saga
        assert saga is not None
        due = self._times.earliest()
        # A lost heartbeat may be retried without delay: that is due at once.
        due_still = isinstance(event, TimeCame) and due is not None and due <= now
        if not isinstance(event, ResendRequested) and not due_still:
            again = decide(saga, event, now)
            assert again.saga is not None
            quiet = (again.history, again.dispatches, again.residual, again.update)
            assert quiet == ((), (), None, None), "S1: the same event twice"
            assert replace(again.saga, ignored=saga.ignored) == saga, "S1: twice"
        by_data = isinstance(event, ResidualUndoRequested | ResidualDismissRequested)
        if not saga.plan.has_conditions and not by_data:
            given = SagaData(requests=before.data.requests)
            blind = decide(replace(before, data=given), event, now)
            assert blind.saga is not None
            assert str(blind.refusal) == str(decision.refusal)
            seen, expected = (
                replace(one, refusal=None, saga=replace(one.saga, data=NO_DATA))
                for one in (blind, replace(decision, saga=saga))
            )
            same = seen == expected
            assert same, "the decision depends on data that it was not given"


def _needs(definition: SagaDefinition) -> dict[str, tuple[set[str], set[str]]]:
    """Return, per step, its direct dependencies and all its ancestors."""
    steps = list(definition.steps)
    is_dag = any(step.depends_on for step in steps)
    direct: dict[str, set[str]] = {}
    for number, step in enumerate(steps):
        before = {steps[number - 1].name} if number else set()
        direct[step.name] = set(step.depends_on) if is_dag else before

    @cache
    def ancestors(name: str) -> set[str]:
        return direct[name].union(*(ancestors(need) for need in direct[name]))

    return {name: (needs, ancestors(name)) for name, needs in direct.items()}
