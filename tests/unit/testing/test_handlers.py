"""Handlers in a play: run as a worker would run them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from saga_orchestrator import (
    Deferred,
    Handlers,
    RetryPolicy,
    SagaDefinition,
    Skip,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.testing import (
    Given,
    action,
    given,
    operator,
)
from tests.unit.testing.plays import saga, seconds, step


class Request(BaseModel):
    """What the shop is asked for."""

    sku: str
    count: int = 1


class Done(BaseModel):
    """What the shop did."""

    number: int


class Shop:
    """A service of two steps, with typed handlers."""

    def __init__(self) -> None:
        self.handlers = Handlers("shop")
        self.contexts: list[StepContext] = []
        self.undone: list[Done | None] = []
        self.handlers.step("shop.pick")(self.pick)
        self.handlers.compensation("shop.put_back")(self.put_back)
        self.handlers.step("shop.pack")(self.pack)

    async def pick(self, ctx: StepContext, request: Request) -> Done:
        """Take it from the shelf."""
        self.contexts.append(ctx)
        ctx.update({"picked": request.sku})
        return Done(number=request.count)

    async def put_back(self, ctx: StepContext, done: Done | None) -> None:
        """Put it back."""
        self.contexts.append(ctx)
        self.undone.append(done)

    def pack(self, ctx: StepContext, done: Done) -> str:
        """Pack it; a sync handler."""
        if done.number > 2:
            raise StepFailed("too many")
        return f"{done.number} in {threading.current_thread().name}"


def order(shop: Shop, **context: Any) -> Given:
    """Return a play of the shop's saga."""
    steps = [
        Step("pick", action="shop.pick", compensation="shop.put_back"),
        Step(
            "pack",
            action="shop.pack",
            input={"number": {"$ref": "outputs.pick.number"}},
        ),
    ]
    definition = SagaDefinition("order", steps=steps)
    return given(definition, {"sku": "book", **context}, handlers=[shop.handlers])


def test_handlers_are_run() -> None:
    """Typed, with inputs from outputs; a sync one where the test runs."""
    order(Shop()).expect(
        "completed",
        executed=["pick", "pack"],
        outputs={"pick": {"number": 1}, "pack": "1 in MainThread"},
        context={"sku": "book", "picked": "book"},
    )


def test_handlers_decide() -> None:
    """What they refuse is undone, with what they had returned."""
    shop = Shop()
    order(shop, count=3).expect(
        "compensated",
        calls=["pick", "pack: refused", "undo pick"],
        reason="step pack: StepFailed: too many",
    )
    assert shop.undone == [Done(number=3)]


def test_an_undo_without_an_output() -> None:
    """Where nobody knows the outcome the undo is given None, as the engine does."""
    shop = Shop()
    lost = action("pick").errs_after_effect()
    order(shop).when(lost).expect("compensated", undone=["pick"])
    assert shop.undone == [None]


def test_an_input_that_does_not_fit() -> None:
    """The handler is not begun, and the reason names the field."""
    order(Shop(), count="many").expect(
        "compensated", executed=[], reason="step pick: InvalidInput: count:"
    )


def test_what_handlers_see_is_always_the_same() -> None:
    """Ids, keys, attempts and times are those of the play."""
    seen = []
    for _ in range(2):
        shop = Shop()
        order(shop, count=3).when(action("pick").errs_after_effect(times=1)).expect(
            "compensated"
        )
        first, second, last = shop.contexts
        assert (first.attempt, second.attempt, last.attempt) == (1, 2, 1)
        assert first.idempotency_key == second.idempotency_key == last.action_key
        assert first.deadline == dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)
        seen.append([(ctx.idempotency_key, ctx.deadline) for ctx in shop.contexts])
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("signal", "calls"),
    [
        (StepFailed("no"), ["b: refused"]),
        (Skip("nothing to do"), ["b: skipped"]),
        (ValueError("oh"), ["b: error", "b: error", "b: error", "undo b"]),
        (SystemExit(1), ["b: error", "b: error", "b: error", "undo b"]),
        (Deferred(), ["b: deferred", "undo b"]),
        (StopIteration(), ["b: error", "b: error", "b: error", "undo b"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_a_handler_raises_is_an_answer(
    signal: BaseException, calls: list[str], is_async: bool
) -> None:
    """A play goes on as the engine would, whatever user code does."""
    service = Handlers("b")

    def run(ctx: StepContext) -> None:
        raise signal

    async def run_async(ctx: StepContext) -> None:
        raise signal

    service.step("b.do")(run_async if is_async else run)
    outcome = asyncio.run(saga("b", handlers=service).play())
    assert [call.text for call in outcome.calls] == calls


def blocking(ctx: StepContext) -> str:
    """Run an event loop, as one may in a thread."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()

    async def work() -> str:
        return ctx.step

    return asyncio.run(work())


async def test_a_sync_handler_sees_no_loop() -> None:
    """As in the threads that it runs in elsewhere."""
    service = Handlers("b")
    service.step("b.do")(blocking)
    loop = asyncio.get_running_loop()
    play = saga("b", "c", handlers=service)
    (await play.play()).expect("completed", outputs={"b": "b"})
    assert asyncio.get_running_loop() is loop


def test_a_handler_that_overruns_its_timeout() -> None:
    """Handlers run in real time, and are cut off in real time."""
    service = Handlers("b")

    @service.step("b.do")
    async def never(ctx: StepContext) -> None:
        await asyncio.Event().wait()

    once = step("b", timeout=seconds(0.01), retry=RetryPolicy(max_attempts=1))
    saga(once, handlers=service).expect(
        "compensated", calls=["b: timeout", "undo b"], reason="no answer within 0.01 s"
    )


def test_the_barrier_is_real(tmp_path: Path) -> None:
    """An action that comes after its undo is superseded: no effect, no residual."""
    service = Handlers("b")
    effects: list[str] = []

    def effect(db: sqlite3.Connection) -> None:
        effects.append("done")

    with contextlib.closing(SqliteBarrier(tmp_path / "b.db")) as barrier:

        @service.step("b.do")
        async def do(ctx: StepContext) -> None:
            await barrier.run(ctx, effect)

        @service.compensation("b.undo")
        def undo_it(ctx: StepContext) -> None:
            barrier.run_sync(ctx, effect)

        play = saga(step("b", compensation="b.undo"), handlers=service)
        play.when(
            action("b").arrives_after(seconds(60), times=1).refuses(),
            operator.gives_up("b", at=seconds(30)),
        ).expect(
            "compensated", calls=["b: refused", "undo b", "b: superseded"], residuals=0
        )
    assert effects == []
