"""Connections: reset, silent, cut where it hurts; consumers cancelled."""

from __future__ import annotations

import asyncio
import random

from tests.chaos.faults.fault import NotProvenError, sprung, trapped
from tests.chaos.stage import Stage
from tests.support.proxy import Trap
from tests.support.wire import cancel_of

PATIENCE_SECONDS = 15.0
COMES_BACK_SECONDS = 30.0


async def confirm_lost(stage: Stage, _rng: random.Random) -> str:
    """Cut a connection where the broker confirms what was published on it."""
    with trapped(stage.amqp, "basic.ack", from_server=True, cuts=True) as traps:
        trap = await sprung(traps, PATIENCE_SECONDS)
    name = stage.fleet.children[traps.index(trap)].name
    return f"{name}: a confirm was kept and its connection cut"


async def ack_lost(stage: Stage, _rng: random.Random) -> str:
    """Cut a connection where it acknowledges what was delivered on it."""
    with trapped(stage.amqp, "basic.ack", from_server=False, cuts=True) as traps:
        trap = await sprung(traps, PATIENCE_SECONDS)
    name = stage.fleet.children[traps.index(trap)].name
    return f"{name}: an acknowledgement was kept and its connection cut"


async def consumer_cancelled(stage: Stage, rng: random.Random) -> str:
    """Slip in the broker's word that a consumer is no more; it subscribes again."""
    child = rng.choice(stage.fleet.children)
    cancel = Trap("basic.deliver", from_server=True, before=cancel_of)
    child.amqp.set_trap(cancel)
    try:
        await sprung([cancel], PATIENCE_SECONDS)
    finally:
        child.amqp.take_trap(cancel)
    with trapped([child.amqp], "basic.consume", from_server=False) as traps:
        await sprung(traps, COMES_BACK_SECONDS)
    return f"{child.name}: a consumer was cancelled and subscribed again"


async def connections_reset(stage: Stage, rng: random.Random) -> str:
    """Reset all connections of a process, to one server."""
    child = rng.choice(stage.fleet.children)
    count = rng.choice(child.proxies).cut()
    if not count:
        raise NotProvenError(f"{child.name} had no connection")
    return f"{child.name}: {count} connections reset"


async def connections_silent(stage: Stage, rng: random.Random) -> str:
    """Let a process's connections say nothing for a while; some break then."""
    child = rng.choice(stage.fleet.children)
    proxy = rng.choice(child.proxies)
    seconds = rng.uniform(4, 12)
    before = proxy.held_bytes
    proxy.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        held = proxy.held_bytes - before
        cut = proxy.cut() if rng.random() < 0.5 else 0
        proxy.resume()
    if not held:
        raise NotProvenError(f"{child.name} had nothing to say")
    return f"{child.name}: {held} bytes held for {seconds:.1f} s, {cut} cut then"
