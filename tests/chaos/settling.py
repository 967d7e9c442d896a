"""After the faults: everything ends, and the queues are as they should be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.chaos.stage import ORCHESTRATORS, WORKERS, Stage

SETTLE_SECONDS = 180.0
"""A command that was lost twice is sent again after one minute, then after two."""

_CONSUMERS = {
    "saga.steps": WORKERS,
    "saga.compensate": WORKERS,
    "saga.replies": ORCHESTRATORS,
    "saga.undelivered": ORCHESTRATORS,
    "saga.dead": 0,
}


async def settled(
    stage: Stage, load_over: asyncio.Task[None], tell: Callable[[str], None]
) -> list[str]:
    """Wait until everything has ended; return what has not, in the time it has."""
    deadline = time.monotonic() + SETTLE_SECONDS
    ghosts: set[str] = set()
    while True:
        rest = [] if load_over.done() else ["starts are not answered"]
        if stage.watch.live:
            rest.append(f"{stage.watch.live} sagas go on")
        if stage.watch.outbox:
            rest.append(f"{stage.watch.outbox} commands are in the outbox")
        if not rest:  # only now, for it costs a process
            rest = await _queue_problems(stage)
            if rest:
                ghosts = await _lay(stage, ghosts, tell)
        if not rest or time.monotonic() > deadline:
            return rest
        await asyncio.sleep(1)


async def _queue_problems(stage: Stage) -> list[str]:
    """Return which queues are not empty, or not consumed by all who should."""
    queues = await asyncio.to_thread(stage.cluster.queues)
    problems = []
    for name, queue in sorted(queues.items()):
        if queue["messages"]:
            problems.append(f"{name} has {queue['messages']} messages")
        if queue["consumers"] != _CONSUMERS[name]:
            problems.append(
                f"{name} has {queue['consumers']} consumers of {_CONSUMERS[name]}"
            )
    return problems


async def _lay(stage: Stage, before: set[str], tell: Callable[[str], None]) -> set[str]:
    """Do what an operator does about consumers whose channels are no more.

    RabbitMQ 3.10 may keep one when a node is killed, and what it was given with it,
    until its queue gets another leader. A channel of ours that was left open is no
    ghost: it stays, and fails the run.

    Returns:
        The ghosts; those of two looks are real, and the nodes are started again.
    """
    ghosts = await asyncio.to_thread(stage.cluster.ghosts)
    if ghosts & before:
        tell(f"the broker kept consumers without channels: {sorted(ghosts)}")
        await asyncio.to_thread(stage.cluster.restart, by_kill=False)
    return ghosts
