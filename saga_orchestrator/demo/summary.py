"""From the evidence to the numbers that a person reads."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import ENDED, SagaState
from saga_orchestrator.demo.judge import Evidence, judge
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.demo.report import Report
from saga_orchestrator.ports.records import SagaRecord


@dataclass(frozen=True, slots=True)
class Kill:
    """What the kill did.

    Attributes:
        names: the children that got SIGKILL.
        restart_seconds: from then until they were ready again.
    """

    names: tuple[str, ...] = ()
    restart_seconds: float = 0.0


def summarise(
    plan: Plan,
    run: str,
    evidence: Evidence,
    started_at: Mapping[SagaId, dt.datetime],
    kill: Kill,
) -> Report:
    """Judge the evidence and return the report.

    Args:
        plan: what was run.
        run: its name.
        evidence: what happened.
        started_at: when each saga's start was called, by the store's clock.
        kill: who was killed.
    """
    verdict = judge(plan.scenario, evidence)
    records = evidence.records
    states = Counter(record.saga.state for record in records.values())
    seconds, latencies = _times(records, started_at)
    return Report(
        scenario=plan.scenario.name,
        run=run,
        seed=plan.seed,
        store=without_login(plan.store),
        broker=without_login(plan.broker),
        orchestrators=plan.orchestrators,
        workers=plan.workers,
        sagas=len(evidence.started),
        completed=states[SagaState.COMPLETED],
        compensated=states[SagaState.COMPENSATED],
        failed=states[SagaState.FAILED],
        killed=kill.names,
        restart_seconds=round(kill.restart_seconds, 3),
        resumed=sum(
            saga_id in records and records[saga_id].saga.state in ENDED
            for saga_id in evidence.live_at_kill
        ),
        lost=verdict.lost,
        duplicate_effects=verdict.duplicate_effects,
        violations=verdict.violations,
        failed_attempts=sum(
            entry.kind is HistoryKind.STEP_FAILED
            for record in records.values()
            for entry in record.history
        ),
        ignored_answers=sum(record.saga.ignored for record in records.values()),
        seconds=round(seconds, 3),
        sagas_per_second=round(len(latencies) / seconds, 1) if seconds else 0.0,
        p50_ms=round(percentile(latencies, 0.50) * 1000, 1),
        p99_ms=round(percentile(latencies, 0.99) * 1000, 1),
        checks=verdict.checks,
    )


def example_of(evidence: Evidence) -> SagaRecord | None:
    """Return the compensated saga that went through most; None: there is none."""
    compensated = [
        record for record in evidence.records.values() if record.saga.is_compensated
    ]
    return max(
        compensated,
        key=lambda record: (
            record.saga.id in evidence.live_at_kill,
            len(record.history),
        ),
        default=None,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed."""
    if not values:
        return 0.0
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def without_login(url: str) -> str:
    """Return a URL that is fit to be shown: no user, no password, no options."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _times(
    records: Mapping[str, SagaRecord], started_at: Mapping[SagaId, dt.datetime]
) -> tuple[float, list[float]]:
    """Return the seconds from first start to last end, and of each saga."""
    ended_at = {
        saga_id: record.saga.ended_at
        for saga_id, record in records.items()
        if record.saga.ended_at is not None
    }
    if not ended_at:
        return 0.0, []
    latencies = [
        (ended - started_at[SagaId(saga_id)]).total_seconds()
        for saga_id, ended in ended_at.items()
    ]
    whole = max(ended_at.values()) - min(started_at.values())
    return whole.total_seconds(), latencies
