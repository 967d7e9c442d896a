"""Counts what committed decisions did: a listener of the commit pipeline.

The one place where sagas and steps are counted. A decision is announced once,
by the process that committed it, so a transition is counted once however many
replicas, duplicates and retries it took. The exception: where a commit's answer
was lost, the decision that is announced is the second one, which changed nothing
(``saga_commits_failed_total``).
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

from prometheus_client import Counter, Histogram

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, Direction, SagaState
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
        self._sent: OrderedDict[Fence, dt.datetime] = OrderedDict()

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
                    self._note(sent.fence, entry.at)

    def _count_step(self, name: str, saga_id: SagaId, entry: HistoryEntry) -> None:
        assert entry.step is not None, entry
        assert entry.direction is not None, entry
        about = name, entry.step, entry.direction
        outcome = _OUTCOMES.get(entry.kind)
        if entry.kind is HistoryKind.STEP_FAILED:
            outcome = "refused" if entry.data.get("refused") else "unknown"
        if outcome is not None:
            _attempts(*about, outcome).inc()
        if entry.kind is HistoryKind.STEP_RETRIED:
            metrics.STEP_RETRIES.labels(*_labels(*about)).inc()
        elif entry.kind in _RESENT:
            metrics.STEP_RESENDS.labels(*_labels(*about)).inc()
        if entry.kind in _ANSWERED:
            fence = Fence(saga_id, entry.step, entry.direction, entry.generation)
            sent_at = self._sent.pop(fence, None)
            if sent_at is not None:
                seconds = (entry.at - sent_at).total_seconds()
                _duration(*about).observe(max(seconds, 0.0))

    def _note(self, fence: Fence, at: dt.datetime) -> None:
        self._sent[fence] = at
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)


# Looked up at each transition, so the latest are remembered.


def _labels(name: str, step: str, direction: Direction) -> tuple[str, ...]:
    return (*step_labels(name, step), str(direction))


@lru_cache(maxsize=4096)
def _attempts(name: str, step: str, direction: Direction, outcome: str) -> Counter:
    return metrics.STEP_ATTEMPTS.labels(*_labels(name, step, direction), outcome)


@lru_cache(maxsize=4096)
def _duration(name: str, step: str, direction: Direction) -> Histogram:
    return metrics.STEP_DURATION.labels(*_labels(name, step, direction))


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
