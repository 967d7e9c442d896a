"""A run shares its task with other runs, and none of them notices."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest

from saga_orchestrator.participant.run import Interrupted, Run
from saga_orchestrator.participant.threads import Overrun

_NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _cancelled_with(error: BaseException | None) -> str:
    """Wait, and answer a cancellation with that error, or in spite of it."""
    try:
        await _for_ever()
    except asyncio.CancelledError:
        if error is not None:
            raise error from None
    return "done"


def _cancels() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_what_does_not_wait_ends_in_the_step_in_which_it_begins() -> None:
    """No timer is set, nobody is told, and other tasks get no turn."""
    waiting: dict[Run, None] = {}
    told: list[str] = []
    asyncio.get_running_loop().call_soon(told.append, "turn")

    async def work() -> int:
        assert not waiting
        return 5

    run = Run(waiting, lambda: told.append("waits"))
    assert await run.drive(work(), 0) == 5
    assert told == []


async def test_variables_are_the_run_s_own() -> None:
    """One sees what its caller has set, keeps its own over a wait, and leaves none."""
    seen: list[str] = []

    async def work(name: str) -> None:
        seen.append(_NAME.get())
        _NAME.set(name)
        await asyncio.sleep(0)
        seen.append(_NAME.get())
        await asyncio.create_task(note())

    async def note() -> None:
        seen.append(_NAME.get())

    _NAME.set("caller")
    for name in ("a", "b"):
        await Run().drive(work(name), 5)
    assert _NAME.get() == "caller"
    assert seen == ["caller", "a", "a", "caller", "b", "b"]


async def test_who_waits_is_found_and_its_task_is_taken() -> None:
    """It is told once, and in the list from its first wait to its end."""
    waiting: dict[Run, None] = {}
    told: list[bool] = []
    run = Run(waiting, lambda: told.append(run in waiting))

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            assert run in waiting

    await run.drive(work(), None)
    assert told == [True]
    assert waiting == {}


@pytest.mark.parametrize("how", ["overrun", "interrupt", "both"])
async def test_a_run_that_is_cut_off_says_by_what(how: str) -> None:
    """And its task is not cancelled any more: the next run there is its own."""
    waiting: dict[Run, None] = {}
    loop = asyncio.get_running_loop()
    if how != "overrun":
        loop.call_later(0.01, lambda: [run.interrupt() for run in list(waiting)])
    seconds = 60 if how == "interrupt" else 0.01
    with pytest.raises(Overrun if how == "overrun" else Interrupted):
        await Run(waiting).drive(
            _both_times() if how == "both" else _for_ever(), seconds
        )
    assert _cancels() == 0
    assert waiting == {}
    await asyncio.sleep(0)


async def _both_times() -> None:
    """Need to be told twice."""
    try:
        await _for_ever()
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
        raise


@pytest.mark.parametrize("error", [None, ValueError("own"), TimeoutError()])
async def test_what_a_cut_off_run_says_itself_counts(
    error: Exception | None,
) -> None:
    """A result, or an error of its own."""
    run = Run()
    work = run.drive(_cancelled_with(error), 0.01)
    if error is None:
        assert await work == "done"
    else:
        with pytest.raises(type(error)):
            await work
    assert _cancels() == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_cancellation_of_its_own_is_an_error_like_others(waits: bool) -> None:
    """Nobody cancelled its task, whatever it raises."""

    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    run = Run()
    with pytest.raises(asyncio.CancelledError):
        await run.drive(work(), 5)
    assert not run.is_cancelled


@pytest.mark.parametrize("also_interrupted", [True, False])
async def test_a_cancelled_task_stays_cancelled(also_interrupted: bool) -> None:
    """Whatever else ended the run: who cancelled the task is heard."""
    run = Run()

    async def task() -> Any:
        await run.drive(_for_ever(), 60)

    running = asyncio.create_task(task())
    await asyncio.sleep(0)
    if also_interrupted:
        run.interrupt()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelled()
    assert run.is_cancelled


async def test_a_time_limit_of_the_handler_s_own_is_its_own() -> None:
    """It ends what it was set around, in the run that set it."""

    async def work() -> str:
        try:
            async with asyncio.timeout(0.01):
                await _for_ever()
        except TimeoutError:
            return "in time"
        return "never"

    assert await Run().drive(work(), 5) == "in time"
    assert _cancels() == 0


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("swallows", [False, True])
async def test_a_cancellation_of_the_handler_s_own_ends_nothing_else(
    swallows: bool, at_once: bool
) -> None:
    """It may cancel the task that it is in: whoever goes on there is not cancelled."""

    async def work() -> None:
        if at_once:
            _this_task().cancel()
        else:
            asyncio.get_running_loop().call_soon(_this_task().cancel)
        with contextlib.suppress(asyncio.CancelledError if swallows else KeyError):
            await _for_ever()

    run = Run(is_closing=lambda: False)
    with contextlib.suppress(asyncio.CancelledError):
        await run.drive(work(), 5)
    assert not run.is_cancelled
    assert _cancels() == 0


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
