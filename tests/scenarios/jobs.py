"""River, Oban, procrastinate: jobs whose worker is gone, or goes."""

from __future__ import annotations

import asyncio
import datetime as dt

from saga_orchestrator import (
    Handlers,
    Manager,
    RetryPolicy,
    Step,
    StepContext,
    Store,
)
from saga_orchestrator.core.events import SagaStarted, StepAccepted, StepHeartbeat
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.ports.store import LEASE
from saga_orchestrator.testing import action
from tests.scenarios.cases import begun, history, own_url
from tests.scenarios.engines import SECONDS, manager_on
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)
SILENCE = 60 * SECOND
"""How long a worker that promised heartbeats may send none."""


def rescued(last_beat: int, attempts: int) -> Case:
    """Return the case of a worker that took a job and was last heard so much later."""
    job = saga(step("job", retry=RetryPolicy(max_attempts=attempts, jitter=0)))
    job = job.when(action("job").never_arrives(times=1))  # the test takes it
    variant = f"beat-{last_beat}s-of-{attempts}"

    async def run(stage: Stage) -> None:
        async with begun(stage, job, f"JOB-02-{variant}") as play:
            fence = (await play.run(until=0 * SECOND)).saga.fence_of(0)
            await play.submit(StepAccepted(fence, heartbeat=True))
            if last_beat:
                await play.run(until=last_beat * SECOND)
                await play.submit(StepHeartbeat(fence))
            lost_at = last_beat * SECOND + SILENCE
            untouched = await play.run(until=lost_at - SECOND)
            untouched.expect("started", calls=[], steps={"job": "started"})
            lost = await play.run(until=lost_at)
            assert "heartbeat_lost job" in history(lost)
            again = attempts > 1
            (await play.run()).expect(
                "completed" if again else "compensated",
                calls=["job"] if again else ["undo job"],
            )

    return Case("JOB-02", run, variant=variant)


async def a_command_whose_process_is_gone(stage: Stage) -> None:
    """It is not forgotten with the process: soon any replica may take it up."""
    url = await own_url(stage)
    store = await Store.open(url, clock=stage.clock, migrate=True)
    started = SagaStarted(
        SagaId("01JGFJJZ00000000000000000J"), compile_plan(saga("job").definition), {}
    )
    (decision,) = await store.transact([started])  # and its process dies here
    (sent,) = decision.dispatches
    assert await store.claim(10, LEASE) == []
    stage.clock.advance(LEASE)
    assert [row.fence for row in await store.claim(10, LEASE)] == [sent.fence]
    await store.close()


def working(*, hangs: bool) -> tuple[Handlers, asyncio.Event, list[int]]:
    """A worker; what is set when it has begun; the attempts that it was told."""
    worker, begun, attempts = Handlers("job-04"), asyncio.Event(), list[int]()

    @worker.step("job-04.job")
    async def job(ctx: StepContext) -> None:
        attempts.append(ctx.attempt)
        begun.set()
        if hangs:
            await asyncio.Event().wait()

    return worker, begun, attempts


async def a_stop_uses_no_attempt(stage: Stage) -> None:
    """A job that was cut short is there again, though it had one attempt only."""
    url = await own_url(stage)
    worker, begun, _ = working(hangs=True)
    manager = await Manager.open(store=url, handlers=[worker], migrate=True)
    started = await manager.start("job-04", [Step("job", "job-04.job", retry=ONCE)])
    await begun.wait()
    await manager.stop(timeout=0)
    await manager.close()
    worker, _, attempts = working(hangs=False)
    async with manager_on(url, worker) as manager:
        assert (await manager.wait(started.id, SECONDS)).is_completed
        told = [entry.kind for entry in (await manager.record(started.id)).history]
    assert attempts == [1]
    assert "step_failed" not in told


SCENARIOS: list[Scenario] = [
    rescued(last_beat=0, attempts=3),
    rescued(last_beat=50, attempts=3),
    rescued(last_beat=0, attempts=1),
    row(
        "JOB-03",
        saga("job").when(action("job").never_arrives(times=1)),
        "completed",
        calls=["job"],
    ),
    Case("JOB-03", a_command_whose_process_is_gone, variant="outbox"),
    Case("JOB-04", a_stop_uses_no_attempt),
]

LATER: list[Later] = []
