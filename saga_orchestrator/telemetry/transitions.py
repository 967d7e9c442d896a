"""Counts what committed decisions did: a listener of the commit pipeline.

The one place where sagas and steps are counted. A decision is announced once,
by the process that committed it, so a transition is counted once however many
replicas, duplicates and retries it took. The exception: where a commit's answer
was lost, the decision that is announced is the second one, which changed nothing
(``saga_commits_failed_total``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, SagaState
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import saga_label, step_labels

SENT_MAX = 50_000
"""Dispatches whose instant is kept until they are answered; 10 MiB."""

_OUTCOMES = {
    HistoryKind.STEP_SUCCEEDED: "succeeded",
    HistoryKind.STEP_SKIPPED: "skipped",
    HistoryKind.STEP_POSTPONED: "postponed",
    HistoryKind.STEP_EXPIRED: "expired",
    HistoryKind.HEARTBEAT_LOST: "heartbeat_lost",
    HistoryKind.WAIT_GIVEN_UP: "given_up",
}
_ANSWERED = frozenset(
    {
        HistoryKind.STEP_SUCCEEDED,
        HistoryKind.STEP_SKIPPED,
        HistoryKind.STEP_FAILED,
        HistoryKind.STEP_POSTPONED,
    }
)
_RESENT = frozenset({HistoryKind.STEP_RESENT, HistoryKind.RESEND_REQUESTED})

_WHY_IGNORED = {
    "repeated": "duplicate",
    "another dispatch of the step succeeded first": "duplicate",
    "the step was accepted before": "duplicate",
    "late: undone, ended, or done by hand before": "late",
    "not the dispatch that is awaited": "outdated",
    "the step is not being undone": "outdated",
}


class Transitions:
    """Counts the decisions of one pipeline."""

    def __init__(self) -> None:
        self._sent: OrderedDict[Fence, float] = OrderedDict()

    def count(self, decisions: Sequence[Decision]) -> None:
        """Count what a commit changed."""
        for decision in decisions:
            if decision.ignored is not None:
                why = _WHY_IGNORED.get(decision.ignored.reason, "unasked")
                metrics.ANSWERS_IGNORED.labels(why).inc()
            if decision.saga is not None and decision.history:
                self._count(decision.saga, decision)

    def _count(self, saga: Saga, decision: Decision) -> None:
        before = decision.was
        for entry in decision.history:
            if entry.kind is HistoryKind.SAGA_STARTED:
                metrics.SAGAS_STARTED.labels(saga_label(saga.name)).inc()
            elif entry.kind is HistoryKind.RESIDUAL_FOUND:
                metrics.RESIDUALS_FOUND.labels(saga_label(saga.name)).inc()
            elif entry.generation and entry.step is not None:
                self._count_step(saga.name, saga.id, entry)
            if entry.state is not before:
                _count_move(saga, before, entry)
            before = entry.state
            for sent in entry.sent:
                if not sent.resend:
                    self._note(sent.fence, entry.at.timestamp())

    def _count_step(self, name: str, saga_id: SagaId, entry: HistoryEntry) -> None:
        assert entry.step is not None, entry
        assert entry.direction is not None, entry
        labels = (*step_labels(name, entry.step), str(entry.direction))
        outcome = _OUTCOMES.get(entry.kind)
        if entry.kind is HistoryKind.STEP_FAILED:
            outcome = "refused" if entry.data.get("refused") else "unknown"
        if outcome is not None:
            metrics.STEP_ATTEMPTS.labels(*labels, outcome).inc()
        if entry.kind is HistoryKind.STEP_RETRIED:
            metrics.STEP_RETRIES.labels(*labels).inc()
        elif entry.kind in _RESENT:
            metrics.STEP_RESENDS.labels(*labels).inc()
        fence = Fence(saga_id, entry.step, entry.direction, entry.generation)
        if entry.kind in _ANSWERED and fence in self._sent:
            seconds = entry.at.timestamp() - self._sent.pop(fence)
            metrics.STEP_DURATION.labels(*labels).observe(max(seconds, 0.0))

    def _note(self, fence: Fence, at: float) -> None:
        self._sent[fence] = at
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)


def _count_move(saga: Saga, before: SagaState | None, entry: HistoryEntry) -> None:
    """Count that a saga went from one state to another."""
    name = saga_label(saga.name)
    if before is SagaState.COMPLETED:
        metrics.SAGAS_REOPENED.labels(name).inc()
    if entry.state is SagaState.COMPENSATING:
        metrics.COMPENSATIONS.labels(name).inc()
    elif entry.state is SagaState.FAILED:
        metrics.SAGAS_PARKED.labels(name).inc()
    elif entry.state in ENDED:
        metrics.SAGAS_FINISHED.labels(name, str(entry.state)).inc()
        seconds = (entry.at - saga.created_at).total_seconds()
        metrics.SAGA_DURATION.labels(name, str(entry.state)).observe(max(seconds, 0.0))
