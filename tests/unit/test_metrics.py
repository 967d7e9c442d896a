"""What a process counts: once a transition, under names that stay few."""

from __future__ import annotations

import random

import pytest

from saga_orchestrator import StepFailed, Store
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import OTHER, BoundedNames
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.support.exposition import forget_names, total
from tests.support.promtool import promtool
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    until,
    virtual,
)

ENDS = (SagaState.COMPLETED, SagaState.COMPENSATED)


@pytest.fixture(autouse=True)
def _new_names() -> None:
    """Count under the names that a test gives."""
    forget_names()


class Faulty:
    """A broker that repeats, delays, and loses confirms and acknowledgements."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def copies(self, message) -> int:
        """Deliver one message in four twice."""
        del message
        return self._rng.choice((1, 1, 1, 2))

    def loses_confirm(self, message) -> bool:
        """Lose one confirm in ten."""
        del message
        return self._rng.random() < 0.1

    def delivery_delay(self, queue: str) -> float:
        """Let messages overtake one another."""
        del queue
        return self._rng.random() / 10

    def loses_ack(self, queue: str) -> bool:
        """Lose one acknowledgement in ten."""
        del queue
        return self._rng.random() < 0.1


def shaky(rng: random.Random, name: str):
    """Return a handler that errs, refuses and succeeds."""

    async def run(ctx):
        draw = rng.random()
        if draw < 0.15:
            raise OSError("the network")
        if draw < 0.2 and not name.startswith("undo"):
            raise StepFailed("no")
        return {"by": ctx.step}

    return run


@virtual
async def test_started_is_finished_and_active():
    """Whatever fails, repeats or restarts: no saga is counted twice, or not at all."""
    rng, name = random.Random(5), fresh_name()
    service = Service("counted")
    for action in ("a", "b", "c", "undo_a", "undo_b", "undo_c"):
        service.does[action] = shaky(rng, action)
    steps, saga_name = service.chain(), f"counted-{name}"

    async def life(count: int) -> None:
        """Run an engine that is cut off in the middle of its work."""
        manager = await open_manager(
            service.handlers,
            store=f"memory://{name}",
            broker=await open_broker(name, Faulty(3)),
        )
        for _ in range(count):
            await manager.start(saga_name, steps)
        done = total("saga_sagas_finished_total", saga=saga_name)
        await until(
            lambda: total("saga_sagas_finished_total", saga=saga_name) >= done + 10
        )
        await manager.close()

    for _ in range(3):
        await life(30)
    assert total("saga_sagas_started_total", saga=saga_name) == 90
    store = await open_store(name)
    counts = await store.counts()
    finished = {
        state: total("saga_sagas_finished_total", saga=saga_name, outcome=state)
        for state in ENDS
    }
    assert finished == {state: counts.get(state, 0) for state in ENDS}
    active = sum(count for state, count in counts.items() if state not in ENDS)
    assert sum(finished.values()) + active == 90
    assert active > 0
    turned = total("saga_compensations_started_total", saga=saga_name)
    assert turned >= finished[SagaState.COMPENSATED] > 0


class Unheard(WatchedStore):
    """A store whose commits go through, and whose answers are lost now and then."""

    def __init__(self, inner: Store, seed: int) -> None:
        super().__init__(inner)
        self._rng = random.Random(seed)

    async def transact(self, *args, **kwargs):
        """Commit, and lose the answer of one commit in four."""
        decisions = await self.inner.transact(*args, **kwargs)
        if self._rng.random() < 0.25:
            raise StoreUnavailableError("the answer was lost")
        return decisions


@virtual
async def test_a_commit_that_lost_its_answer_is_counted():
    """What was committed unheard is read from the history, and counted once."""
    store, rng = Unheard(await open_store(), 11), random.Random(4)
    service = Service("unheard")
    for action in ("a", "b", "c", "undo_a", "undo_b", "undo_c"):
        service.does[action] = shaky(rng, action)
    async with open_manager(service.handlers, store=store, watch=StaleAfter()) as m:
        ids = [(await m.start("unheard", service.chain())).id for _ in range(60)]
        for saga_id in ids:
            await m.wait(saga_id)
        await LoopClock().sleep(20)
        records = [await m.record(saga_id) for saga_id in ids]
    assert total("saga_sagas_started_total", saga="unheard") == 60
    for state in ENDS:
        ended = sum(record.saga.state is state for record in records)
        name = "saga_sagas_finished_total"
        assert total(name, saga="unheard", outcome=state) == ended > 0
    entries = [entry for record in records for entry in record.history]
    done = sum(e.kind is HistoryKind.STEP_SUCCEEDED for e in entries)
    attempts = "saga_step_attempts_total"
    assert total(attempts, saga="unheard", outcome="succeeded") == done


@virtual
async def test_each_fault_shows_in_a_metric():
    """A retry, a refusal, an undo, a duplicate: each has its number."""
    service = Service("shown", "ab")
    rng = iter([OSError("x"), None])

    async def once(ctx):
        if error := next(rng, None):
            raise error
        return {"by": ctx.step}

    async def refuse(ctx):
        raise StepFailed("no")

    service.does |= {"a": once, "b": refuse}
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("shown", service.chain("ab"))
        assert (await manager.wait(saga.id)).is_compensated
    of_a = {"saga": "shown", "step": "a"}
    attempts = "saga_step_attempts_total"
    assert total(attempts, **of_a, kind="action", outcome="unknown") == 1
    assert total(attempts, **of_a, kind="action", outcome="succeeded") == 1
    assert total(attempts, saga="shown", step="b", outcome="refused") == 1
    assert total(attempts, **of_a, kind="compensation", outcome="succeeded") == 1
    assert total("saga_step_retries_total", **of_a) == 1
    assert total("saga_step_duration_seconds_count", **of_a, kind="action") == 2
    assert total("saga_saga_duration_seconds_count", saga="shown") == 1
    assert total("saga_handler_duration_seconds_count", action="shown.b") == 1


@virtual
async def test_a_saga_that_is_undone_by_force_is_reopened():
    """Started plus reopened is finished plus active, also after a forced undo."""
    service = Service("forced", "a")
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("forced", service.chain("a"))
        await manager.wait(saga.id)
        await manager.compensate(saga.id, reason="recalled", force=True)
        await until(lambda: total("saga_sagas_finished_total", saga="forced") == 2)
    assert total("saga_sagas_started_total", saga="forced") == 1
    assert total("saga_sagas_reopened_total", saga="forced") == 1


def test_a_hundred_thousand_names_make_few_series():
    """Who makes up a name for each saga does not grow the exposition."""
    names = BoundedNames(100)
    labels = {names.label(f"order-{n}", "charge") for n in range(100_000)}
    assert len(labels) == 101
    assert (OTHER, OTHER) in labels
    assert names.label("order-7", "charge") == ("order-7", "charge")


def test_the_exposition_follows_the_naming_rules():
    """``promtool check metrics`` finds nothing to say about our metrics."""
    assert promtool("check", "metrics", given=metrics.exposition()) == (0, "")
