"""What a handle remembers of plans and snapshots: bounded, and never stale."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.batch import Batch, decide_batch
from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.core.states import SagaState
from saga_stores import _plans, _snapshots
from saga_stores._caches import Caches
from saga_stores._plans import PlanCache
from saga_stores._rows import RowCodec
from saga_stores._snapshots import SnapshotCache
from saga_stores._writes import writes_of
from tests.conformance.builders import PLAN, bare, plan_of, start

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CODEC = RowCodec(lambda instant: instant, lambda column: column)


def _saga() -> Saga:
    return bare(decide(None, start(), NOW).saga)


def test_a_snapshot_is_decoded_once_per_row() -> None:
    """The same row gives the same object, another row another."""
    cache = SnapshotCache(CODEC)
    saga = _saga()
    row = CODEC.saga_row(saga)
    first = cache.saga(row, PLAN)
    assert first == saga
    assert cache.saga(list(row), PLAN) is first
    changed = list(row)
    changed[-1] = "changed by somebody else"
    assert cache.saga(changed, PLAN).reason == "changed by somebody else"
    assert first.data is NO_DATA


def test_snapshots_are_bounded_by_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones remembered first go first."""
    each = len(PLAN.definition.steps) + 4
    monkeypatch.setattr(_snapshots, "_STEPS_MAX", each * 2)
    cache = SnapshotCache(CODEC)
    sagas = [_saga() for _ in range(3)]
    cache.add((CODEC.saga_row(saga), saga) for saga in sagas)
    rows = [CODEC.saga_row(saga) for saga in sagas]
    assert cache.saga(rows[2], PLAN) is sagas[2]
    assert cache.saga(rows[0], PLAN) is not sagas[0]


def test_snapshots_without_steps_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A saga takes room, however little it has to do."""
    monkeypatch.setattr(_snapshots, "_STEPS_MAX", 100)
    cache = SnapshotCache(CODEC)
    sagas = [bare(decide(None, start(plan_of()), NOW).saga) for _ in range(1000)]
    cache.add(((CODEC.saga_row(saga), saga) for saga in sagas), stamp=1)
    assert sum(cache.stamped(saga.id) is not None for saga in sagas) <= 25


def test_a_snapshot_is_the_latest_while_nothing_else_is_heard() -> None:
    """Written here, and neither moved since, nor read otherwise, nor forgotten."""
    caches = Caches(CODEC)
    saga = _saga()
    moved = replace(saga, steps=(*saga.steps[:1], *saga.steps[1:]))
    given = {saga.id: saga}
    assert caches.still_known(given) == {}
    caches.snapshots.add([(CODEC.saga_row(saga), saga)], stamp=1)
    assert caches.still_known(given) == given
    caches.snapshots.saga(CODEC.saga_row(saga), PLAN)
    assert caches.still_known(given) == given
    caches.snapshots.add([(CODEC.saga_row(moved), moved)], stamp=2)
    assert caches.still_known(given) == {}
    assert caches.still_known({saga.id: moved}) == {saga.id: moved}
    caches.forget()
    assert caches.still_known({saga.id: moved}) == {}


def test_of_a_saga_that_has_ended_nothing_is_kept() -> None:
    """Its end is not either; a parked one goes on."""
    caches = Caches(CODEC)
    new = decide_batch([start()], [], NOW)
    (saga,) = map(bare, new.created.values())
    fence = new.dispatches[0].fence

    def add(batch: Batch, stamp: int) -> None:
        writes = writes_of(batch, NOW, dt.timedelta(), CODEC, stored=caches.plans)
        caches.add(writes, stamp)

    def is_kept(state: SagaState, stamp: int) -> tuple[bool, bool]:
        add(Batch(changed={saga.id: replace(saga, state=state)}), stamp)
        found = caches.texts.dispatches([fence], {saga.id: saga})
        return caches.snapshots.stamped(saga.id) is not None, fence in found

    add(new, stamp=1)
    assert is_kept(SagaState.FAILED, 2) == (True, True)
    assert is_kept(SagaState.COMPENSATED, 3) == (False, False)


def test_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones remembered first go first."""
    monkeypatch.setattr(_plans, "_PLANS_MAX", 2)
    plans = [plan_of(name) for name in "xyz"]
    cache = PlanCache()
    cache.add(plans)
    assert cache.known([plan.digest for plan in plans]) == {
        plan.digest: plan for plan in plans[1:]
    }
    assert plans[0].digest not in cache
