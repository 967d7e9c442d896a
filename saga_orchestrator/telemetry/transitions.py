"""Counts what committed decisions did: a listener of the commit pipeline.

The one place where sagas and steps are counted. A decision is announced once,
by the process that committed it, so a transition is counted once however many
replicas, duplicates and retries it took. Where a commit's answer was lost, the
decision that is announced is the second one, which changed nothing: what lies
between is then ``missed``, to be read from the history and counted by itself.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import lru_cache

import structlog
from prometheus_client import Counter, Histogram

from saga_orchestrator.core.answers import CONTRADICTS, NOT_AWAITED
from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind, Ignored
from saga_orchestrator.core.events import Event, SagaStarted
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, Direction, SagaState
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import saga_label, step_labels

SENT_MAX = 50_000
"""Dispatches whose instant is kept until they are answered; 10 MiB."""
VERSIONS_MAX = 50_000
"""Sagas of which it is kept up to which entry they were counted."""

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
    NOT_AWAITED: "outdated",
    CONTRADICTS: "contradiction",
    "the step is not being undone": "outdated",
}


_log = structlog.get_logger("saga.answers")


class Transitions:
    """Counts the decisions of one pipeline.

    Attributes:
        missed: history entries that were committed unheard: the saga, the last
            entry before them, and the last of them.
    """

    def __init__(self) -> None:
        self.missed: deque[tuple[SagaId, int, int]] = deque(maxlen=VERSIONS_MAX)
        self._sent: OrderedDict[Fence, dt.datetime] = OrderedDict()
        self._counted: OrderedDict[SagaId, int] = OrderedDict()
        self._doubts: OrderedDict[SagaId, int] = OrderedDict()

    def doubt(self, events: Sequence[Event]) -> None:
        """Note that a commit failed, and may have gone through all the same."""
        for event in events:
            saga_id = event.saga_id
            new = isinstance(event, SagaStarted)
            counted = 0 if new else self._counted.get(saga_id)
            if counted is not None:
                _keep(self._doubts, saga_id, self._doubts.get(saga_id, counted))

    def count(self, decisions: Sequence[Decision]) -> None:
        """Count what a commit changed."""
        for decision in decisions:
            if decision.ignored is not None:
                _count_ignored(decision.ignored)
            saga = decision.saga
            if saga is None:
                continue
            known = self._doubts.pop(saga.id, None)
            before = saga.version - len(decision.history)
            if known is not None and known < before:
                self.missed.append((saga.id, known, before))
            if known is not None or decision.history:
                _keep(self._counted, saga.id, saga.version)
            if decision.history:
                self.count_entries(saga, decision.history, decision.was)

    def count_entries(
        self, saga: Saga, history: Sequence[HistoryEntry], before: SagaState | None
    ) -> None:
        """Count what a saga's entries tell.

        Args:
            saga: whose they are.
            history: consecutive entries.
            before: its state before the first of them; None: it was new.
        """
        for entry in history:
            if entry.kind is HistoryKind.SAGA_STARTED:
                _started(saga.name).inc()
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
def _started(name: str) -> Counter:
    return metrics.SAGAS_STARTED.labels(saga_label(name))


@lru_cache(maxsize=4096)
def _finished(name: str, state: SagaState) -> Counter:
    return metrics.SAGAS_FINISHED.labels(saga_label(name), str(state))


@lru_cache(maxsize=4096)
def _lifetime(name: str, state: SagaState) -> Histogram:
    return metrics.SAGA_DURATION.labels(saga_label(name), str(state))


@lru_cache(maxsize=4096)
def _attempts(name: str, step: str, direction: Direction, outcome: str) -> Counter:
    return metrics.STEP_ATTEMPTS.labels(*_labels(name, step, direction), outcome)


@lru_cache(maxsize=4096)
def _duration(name: str, step: str, direction: Direction) -> Histogram:
    return metrics.STEP_DURATION.labels(*_labels(name, step, direction))


def _count_ignored(ignored: Ignored) -> None:
    why = _WHY_IGNORED.get(ignored.reason, "unasked")
    metrics.ANSWERS_IGNORED.labels(why).inc()
    if ignored.reason == CONTRADICTS:
        # A person looks into it, and the counter names no saga.
        _log.warning(
            "answer contradicts", saga_id=ignored.fence.saga_id, step=ignored.fence.step
        )


def _keep(latest: OrderedDict[SagaId, int], saga_id: SagaId, number: int) -> None:
    latest[saga_id] = number
    if len(latest) > VERSIONS_MAX:
        latest.popitem(last=False)


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
        _finished(saga.name, entry.state).inc()
        seconds = (entry.at - saga.created_at).total_seconds()
        _lifetime(saga.name, entry.state).observe(max(seconds, 0.0))
