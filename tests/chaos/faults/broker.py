"""The broker: restarted, without its leader, stopped, in alarm, without a queue."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.chaos.faults.fault import NotProvenError, sprung, trapped
from tests.chaos.stage import Stage
from tests.support.rabbitmq import RabbitServer
from tests.support.waiting import eventually

QUEUES = ("saga.steps", "saga.compensate", "saga.replies")
"""Those that the work goes through."""

_ELECTED_SECONDS = 30.0
_BACK_SECONDS = 30.0
_BLOCKED_SECONDS = 20.0
_LOOKS = 12  # half a second each


async def restarted(stage: Stage, rng: random.Random) -> str:
    """End all nodes, by SIGKILL or in order, and start them again."""
    by_kill = rng.random() < 0.5
    before = [node.pid for node in stage.cluster.nodes]
    await asyncio.to_thread(stage.cluster.restart, by_kill=by_kill)
    after = [node.pid for node in stage.cluster.nodes]
    if set(before) & set(after):
        raise NotProvenError(f"some nodes are the old ones: {before}, {after}")
    await eventually(lambda: _all_led(stage), seconds=_BACK_SECONDS)
    return f"nodes {before} {'killed' if by_kill else 'stopped'}, {after} work"


async def leader_killed(stage: Stage, rng: random.Random) -> str:
    """SIGKILL the node that leads a queue, until another one does."""
    queue = rng.choice(QUEUES)
    leader = await asyncio.to_thread(stage.cluster.leader_of, queue)
    if leader is None:
        raise NotProvenError(f"nobody leads {queue}")
    await asyncio.to_thread(leader.kill)

    async def another_leads() -> bool:
        found = await asyncio.to_thread(stage.cluster.leader_of, queue)
        return found is not None and found is not leader

    try:
        await eventually(another_leads, seconds=_ELECTED_SECONDS)
        successor = await asyncio.to_thread(stage.cluster.leader_of, queue)
    finally:
        await asyncio.to_thread(leader.start)
    if successor is None:
        raise NotProvenError(f"nobody leads {queue} any more")
    return f"{queue}: {leader.name} killed, {successor.name} leads"


async def node_stopped(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP a node: its connections stay open, and nothing answers."""
    node: RabbitServer = rng.choice(stage.cluster.nodes)
    seconds = rng.uniform(5, 11)
    node.pause()
    try:
        await asyncio.sleep(seconds)
        was_paused = await asyncio.to_thread(lambda: node.is_paused)
    finally:
        node.resume()
    if not was_paused:
        raise NotProvenError(f"{node.name} went on")
    await eventually(lambda: _all_led(stage), seconds=_BACK_SECONDS)
    return f"{node.name} stood still for {seconds:.1f} s"


async def memory_alarm(stage: Stage, rng: random.Random) -> str:
    """Raise the alarm until somebody who publishes was blocked, and longer."""
    node = stage.cluster.any_node(rng)
    seconds = rng.uniform(2, 6)
    with (
        trapped(stage.amqp, "connection.blocked", from_server=True) as blocked,
        trapped(stage.amqp, "connection.unblocked", from_server=True) as unblocked,
    ):
        await asyncio.to_thread(node.set_memory_alarm, on=True)
        try:
            await sprung(blocked, _BLOCKED_SECONDS)
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(node.set_memory_alarm, on=False)
        await sprung(unblocked, _BLOCKED_SECONDS)
        count = sum(trap.sprung.is_set() for trap in blocked)
    return f"{node.name}: publishers of {count} processes blocked, and let go again"


async def queue_deleted(stage: Stage, rng: random.Random) -> str:
    """Delete a queue with what is in it; then again, while it is consumed.

    At first its consumers are kept away, so that what is in it is lost for good.
    The second time those whose connections work are told by the broker.
    """
    queue = rng.choice(QUEUES)
    fleet = stage.fleet
    consumers = fleet.orchestrators if queue == "saga.replies" else fleet.workers
    proxies = [child.amqp for child in consumers]
    try:
        for proxy in proxies:
            proxy.refuse(on=True)
            proxy.cut()
        lost = await _waiting(stage, queue)
        await asyncio.to_thread(stage.cluster.delete_queue, queue)
    finally:
        for proxy in proxies:
            proxy.refuse(on=False)
    await _consumed_again(stage, queue)
    with trapped(stage.amqp, "basic.cancel", from_server=True) as cancels:
        await asyncio.to_thread(stage.cluster.delete_queue, queue)
        await _consumed_again(stage, queue)
        told = sum(trap.sprung.is_set() for trap in cancels)
    return f"{queue} deleted with {lost} messages, and again, with {told} told of it"


async def _waiting(stage: Stage, queue: str) -> int:
    """Return how many messages wait in a queue that nobody consumes."""
    for _ in range(_LOOKS):
        found = (await asyncio.to_thread(stage.cluster.queues)).get(queue, {})
        if found.get("messages") and not found.get("consumers"):
            return int(found["messages"])
    raise NotProvenError(f"nothing waits in {queue}")


async def _consumed_again(stage: Stage, queue: str) -> None:
    await eventually(lambda: _is_consumed(stage, queue), seconds=_BACK_SECONDS)
    await asyncio.to_thread(stage.cluster.flush_new_queues)


async def _is_consumed(stage: Stage, queue: str) -> bool:
    queues = await asyncio.to_thread(stage.cluster.queues)
    found: dict[str, Any] = queues.get(queue, {})
    return bool(found.get("leader") and found.get("consumers"))


async def _all_led(stage: Stage) -> bool:
    queues = await asyncio.to_thread(stage.cluster.queues)
    return all(queues.get(name, {}).get("leader") for name in QUEUES)
