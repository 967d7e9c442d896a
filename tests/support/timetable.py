"""What is due when, by DESIGN section 3: the judge's own clock work."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction

if TYPE_CHECKING:
    from saga_orchestrator.core.decision import HistoryEntry
    from saga_orchestrator.core.definition import SagaDefinition
    from tests.support.fold import Fold

_SECOND = dt.timedelta(seconds=1)
_ATTEMPT_ENDED = {
    HistoryKind.STEP_FAILED,
    HistoryKind.HEARTBEAT_LOST,
    HistoryKind.WAIT_GIVEN_UP,
}


class Timetable:
    """Knows the instants at which something of a saga falls due."""

    def __init__(self, definition: SagaDefinition, fold: Fold) -> None:
        self._definition = definition
        self._fold = fold
        self._steps = {step.name: step for step in definition.steps}
        self._deadline: dt.datetime | None = None
        self._opened: dict[tuple[str, Direction], dt.datetime] = {}
        self._phase_due: dict[str, dt.datetime | None] = {}
        self._resends: dict[str, int] = {}
        self._failures: dict[tuple[str, Direction], int] = {}
        self._by_time = False

    def beat(self, step: str, at: dt.datetime | None) -> None:
        """Note a heartbeat, or that none is promised."""
        self._phase_due[step] = None if at is None else at + 60 * _SECOND

    def earliest(self) -> dt.datetime | None:
        """Return the next instant at which something is due; None: nothing is."""
        instants = [self._deadline] if self._deadline_runs() else []
        for name, step in self._fold.steps.items():
            if step.phase in ("sent", "waiting", "accepted"):
                instants += [self._phase_due[name], self._limit(name)]
        return min((i for i in instants if i is not None), default=None)

    def check(self, entry: HistoryEntry) -> None:
        """Hold an entry to its instant and to the retry policy."""
        if entry.kind is HistoryKind.DEADLINE_PASSED:
            assert self._deadline_runs(), "S14: no deadline runs"
            assert self._deadline is not None
            assert self._deadline <= entry.at, "S14: early deadline"
        if entry.step is None:
            return
        due = self._phase_due.get(entry.step)
        if entry.kind in (HistoryKind.STEP_RETRIED, HistoryKind.HEARTBEAT_LOST):
            assert due is not None, "S14: nothing armed"
            assert due <= entry.at, "S14: early"
        if entry.kind is HistoryKind.STEP_EXPIRED:
            assert self._limit(entry.step) <= entry.at, "S14: early limit"
        if entry.kind in _ATTEMPT_ENDED:
            self._check_attempt(entry)

    def note(self, entry: HistoryEntry) -> None:
        """Take in what an entry armed."""
        if entry.kind is HistoryKind.SAGA_STARTED and self._definition.deadline:
            self._deadline = entry.at + self._definition.deadline
        if entry.kind in (HistoryKind.RETRY_REQUESTED, HistoryKind.STEP_RESOLVED):
            self._deadline = None
        if entry.kind in (
            HistoryKind.RETRY_REQUESTED,
            HistoryKind.COMPENSATE_REQUESTED,
        ):
            self._failures.clear()
        if entry.step is not None and "delay_s" in entry.data:
            delay = max(entry.data["delay_s"], 0) * _SECOND
            self._phase_due[entry.step] = entry.at + delay
        if entry.step is not None and "retry_at" in entry.data:
            retry_at = dt.datetime.fromisoformat(entry.data["retry_at"])
            self._phase_due[entry.step] = retry_at
        for sent in entry.sent:
            self._sent(sent.fence.step, sent.fence.direction, entry, resend=sent.resend)

    def _sent(
        self, name: str, direction: Direction, entry: HistoryEntry, *, resend: bool
    ) -> None:
        self._resends[name] = self._resends[name] + 1 if resend else 0
        first = self._steps[name].timeout + 60 * _SECOND
        delay = min(
            first * 2 ** min(self._resends[name], 12), max(first, 900 * _SECOND)
        )
        self._phase_due[name] = entry.at + delay
        fresh = entry.kind is not HistoryKind.STEP_RETRIED and not resend
        if fresh:
            self._opened[name, direction] = entry.at

    def _limit(self, name: str) -> dt.datetime:
        going_back = self._fold.steps[name].state == "compensating"
        direction = Direction.COMPENSATION if going_back else Direction.ACTION
        limit = 86_400 * _SECOND
        if not going_back:  # a step's own limit bounds its action only
            limit = self._steps[name].limit or limit
        return self._opened[name, direction] + limit

    def _deadline_runs(self) -> bool:
        forward = self._fold.saga == "started" and not self._fold.halting
        return forward and self._deadline is not None

    def _check_attempt(self, entry: HistoryEntry) -> None:
        assert entry.step is not None
        assert entry.direction is not None
        step = self._steps[entry.step]
        forward = entry.direction is Direction.ACTION
        policy = step.retry if forward else step.compensation_retry
        key = (entry.step, entry.direction)
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if policy.max_attempts is not None:
            assert count <= policy.max_attempts, "S17: attempts"
        if "retry_at" not in entry.data:
            return
        assert count != policy.max_attempts, "S17: one attempt too many"
        assert entry.data.get("error_type") not in policy.non_retryable, "S17"
        retry_at = dt.datetime.fromisoformat(entry.data["retry_at"])
        backoff = policy.initial_delay * policy.multiplier ** (count - 1)
        shortest = min(backoff, policy.max_delay) * (1 - policy.jitter)
        microsecond = dt.timedelta(microseconds=1)
        assert retry_at - entry.at >= shortest - microsecond, "S17: backoff"
