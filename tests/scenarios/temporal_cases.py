"""Temporal: the original error, a handler that is told twice, a worker that stops."""

from __future__ import annotations

import asyncio

from saga_orchestrator import Handlers, Manager, SqliteBarrier, Step, StepContext
from saga_orchestrator.testing import action, undo
from tests.scenarios.cases import careful, own_url, played
from tests.scenarios.engines import SECONDS, manager_on
from tests.scenarios.sagas import UNDO_ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage


async def the_original_error_is_kept(stage: Stage) -> None:
    """An undo that gives up does not keep the others from being undone."""
    cereal = step("cereal", compensation_retry=UNDO_ONCE)
    breakfast = saga(
        *("bowl", cereal, step("milk", compensation="")),
        on_compensation_failure="continue",
    ).when(action("milk").refuses("sour"), undo("cereal").errs("eaten"))
    (await played(stage, breakfast, "TMP-08")).expect(
        "failed",
        calls=[
            *("bowl", "cereal", "milk: refused"),
            *("undo cereal: error", "undo bowl"),
        ],
        reason="step milk: StepFailed: sour; undo of step cereal: RuntimeError: eaten",
    )


async def told_again_and_again(stage: Stage) -> None:
    """However often a command comes, and under whichever dispatch, it counts once."""
    effects: list[str] = []
    async with SqliteBarrier(stage.folder / "counter.db") as barrier:
        counter = careful("counter", barrier, effects)
        count = Step("count", action="counter.act", compensation="counter.undo")
        told = saga(count, handlers=[counter]).when(
            action("count").errs_after_effect(times=2).runs_twice()
        )
        (await played(stage, told, "TMP-17")).expect(
            "completed",
            calls=["count: error", "count: error", "count", "count"],
            outputs={"count": 1},
        )
    assert effects == ["count"]


def updates(*, hangs: bool = False) -> tuple[Handlers, asyncio.Event]:
    """A worker, and what is set once it has begun; it may never end."""
    worker, begun = Handlers("tmp-18"), asyncio.Event()

    @worker.step("tmp-18.update")
    async def update(ctx: StepContext) -> str:
        begun.set()
        if hangs:
            await asyncio.Event().wait()
        return "updated"

    return worker, begun


async def a_worker_stops_in_the_middle(stage: Stage) -> None:
    """What it was at, the next worker does; the saga completes."""
    url = await own_url(stage)
    worker, begun = updates(hangs=True)
    manager = await Manager.open(store=url, handlers=[worker], migrate=True)
    saga = await manager.start("tmp-18", [Step("update", "tmp-18.update")])
    await begun.wait()
    await manager.stop(timeout=0)
    await manager.close()
    worker, _ = updates()
    async with manager_on(url, worker) as manager:
        ended = await manager.wait(saga.id, SECONDS)
    assert ended.is_completed
    assert ended.outputs == {"update": "updated"}


SCENARIOS: list[Scenario] = [
    Case(
        "TMP-08",
        the_original_error_is_kept,
        deviation="the peer swallows the undo's failure; here both errors are told, "
        "and the saga waits for a person",
    ),
    Case("TMP-17", told_again_and_again),
    Case("TMP-18", a_worker_stops_in_the_middle),
]

LATER: list[Later] = []
