"""A service that is down for ten minutes, with three hundred sagas that want it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from itertools import pairwise

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.events import SagaStarted, StepFailed, TimeCame
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.core.retry import RetryPolicy
from tests.support.sagas import NOW, definition, step

SAGAS = 300
DOWN = dt.timedelta(minutes=10)
_FOR_EVER = RetryPolicy(max_attempts=None)
"""1 s, 2, 4 … 32, then a minute each; a fifth of it is jitter, both ways."""
_MOST = 7 + int((DOWN.total_seconds() - 63 * 0.8) / (60 * 0.8)) + 1


def _attempts(saga_id: SagaId) -> list[float]:
    """Let each attempt of a saga fail at once; return when they were sent."""
    plan = compile_plan(definition(step("a", retry=_FOR_EVER)))
    saga = decide(None, SagaStarted(saga_id, plan, {}), NOW).saga
    now, sent = NOW, []
    while now < NOW + DOWN:
        assert saga is not None
        sent.append((now - NOW).total_seconds())
        failed = decide(saga, StepFailed(saga.fence_of(0), refused=False), now).saga
        assert failed is not None
        due_at = failed.status("a").due_at
        assert due_at is not None
        now = due_at
        saga = decide(failed, TimeCame(saga_id), now).saga
    return sent


def test_attempts_are_the_policys_and_spread_out() -> None:
    """Each saga tries a dozen times; though they began as one, they make no wave."""
    runs = [_attempts(SagaId(f"{number:026}")) for number in range(SAGAS)]
    for sent in runs:
        gaps = [after - before for before, after in pairwise(sent)]
        for number, gap in enumerate(gaps):
            assert gap >= min(2**number, 60) * 0.8
        assert len(sent) <= _MOST
    late = [t for sent in runs for t in sent if t > DOWN.total_seconds() / 2]
    per_second = Counter(int(instant) for instant in late)
    assert max(per_second.values()) < SAGAS / 10
