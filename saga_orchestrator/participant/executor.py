"""Runs one handler for one command. Knows neither broker nor store.

Whatever the handler does, there is one answer, and the worker lives on. Only a
cancellation from outside, the drain, passes through: the command was then not
answered, and the broker delivers it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.contextvars import bind_contextvars

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX
from saga_orchestrator.participant.answers import reply_to_error, reply_to_value
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handler
from saga_orchestrator.participant.run import Interrupted, Run
from saga_orchestrator.participant.threads import HandlerThreads
from saga_orchestrator.ports.clock import Clock

HEARTBEAT_SECONDS = 20.0
"""A third of the silence after which the orchestrator gives a run up."""


async def execute(
    command: Command,
    handler: Handler,
    *,
    clock: Clock,
    threads: HandlerThreads,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    run: Run | None = None,
) -> Reply:
    """Run the handler and return the answer.

    The run is cancelled after the command's timeout. A handler that swallows
    the cancellation keeps its caller waiting; the step's limit, in the store,
    then settles the step.

    Args:
        command: what to do.
        handler: what does it.
        clock: tells the handler until when its answer is waited for.
        threads: where sync handlers run.
        bytes_max: the limit of the output's JSON, and of the update's.
        run: to be interrupted with.

    Raises:
        Interrupted: by ``run``; there is no answer.
        asyncio.CancelledError: the caller was cancelled; there is no answer.
    """
    ctx = StepContext(command, now=clock.now(), bytes_max=bytes_max)
    run = Run() if run is None else run
    seconds = command.timeout.total_seconds() if handler.is_async else None
    try:
        return await run.drive(
            _answer(ctx, command, handler, threads=threads, bytes_max=bytes_max),
            seconds,
        )
    except Interrupted:
        raise
    except BaseException as error:
        # SystemExit too: user code raised it. And so it did with a cancellation
        # that nobody asked for.
        if run.is_cancelled:
            raise
        return reply_to_error(ctx, error)


async def execute_long(
    command: Command,
    handler: Handler,
    answer: Callable[[Reply], Awaitable[None]],
    *,
    clock: Clock,
    threads: HandlerThreads,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    run: Run | None = None,
) -> Reply:
    """Run a long handler: say *accepted*, then beat until it ends.

    Args:
        command: what to do.
        handler: what does it.
        answer: sends *accepted* and the heartbeats; the caller acknowledges the
            delivery once *accepted* is confirmed. It must not raise: that
            would cancel the handler.
        clock: waits between heartbeats.
        threads: where sync handlers run.
        bytes_max: as for ``execute``.
        run: likewise.

    Returns:
        The final answer, which the caller sends. No heartbeat follows it.

    Raises:
        Interrupted: by ``run``; there is no final answer.
        asyncio.CancelledError: the caller was cancelled; there is no final
            answer, and the orchestrator will miss the heartbeats.
    """
    await answer(Reply(command.fence, command.token, Answer.ACCEPTED, heartbeat=True))
    ended: Reply | Interrupted
    async with asyncio.TaskGroup() as group:
        beats = group.create_task(_beat(command, answer, clock))
        try:
            ended = await execute(
                command,
                handler,
                clock=clock,
                threads=threads,
                bytes_max=bytes_max,
                run=run,
            )
        except Interrupted as interrupted:  # no failure of the group
            ended = interrupted
        beats.cancel()
    if isinstance(ended, Interrupted):
        raise ended
    return ended


async def _beat(
    command: Command, answer: Callable[[Reply], Awaitable[None]], clock: Clock
) -> None:
    while True:
        await clock.sleep(HEARTBEAT_SECONDS)
        await answer(Reply(command.fence, command.token, Answer.HEARTBEAT))


async def _answer(
    ctx: StepContext,
    command: Command,
    handler: Handler,
    *,
    threads: HandlerThreads,
    bytes_max: int,
) -> Reply:
    # For all that is logged in the run; its variables end with it.
    bind_contextvars(
        saga_id=ctx.saga_id,
        step=ctx.step,
        direction=str(ctx.direction),
        attempt=ctx.attempt,
    )
    arguments = handler.arguments(ctx, command)
    value: object
    if handler.is_async:
        value = await handler.function(*arguments)
    else:
        seconds = command.timeout.total_seconds()
        value = await threads.run(handler.function, arguments, seconds)
    return reply_to_value(ctx, handler, value, bytes_max=bytes_max)
