"""Our own processes: SIGKILL, SIGSTOP and SIGCONT, SIGTERM."""

from __future__ import annotations

import asyncio
import random
import signal

from tests.chaos.faults.fault import NotProvenError
from tests.chaos.fleet import Child
from tests.chaos.stage import Stage
from tests.support.waiting import eventually


async def orchestrator_killed(stage: Stage, rng: random.Random) -> str:
    """SIGKILL an orchestrator; another process takes its place."""
    return await _kill(rng.choice(stage.fleet.orchestrators))


async def worker_killed(stage: Stage, rng: random.Random) -> str:
    """SIGKILL a worker, most likely in the middle of some handlers."""
    return await _kill(rng.choice(stage.fleet.workers))


async def orchestrator_stopped(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP an orchestrator for longer than its claims are valid."""
    return await _stop(rng.choice(stage.fleet.orchestrators), rng.uniform(5, 9))


async def worker_stopped(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP a worker for longer than its handlers may take."""
    return await _stop(rng.choice(stage.fleet.workers), rng.uniform(3, 7))


async def drained(stage: Stage, rng: random.Random) -> str:
    """SIGTERM a process, as a deployment does."""
    child = rng.choice(stage.fleet.children)
    await child.ready(1)
    pid, life = child.pid, child.lives
    returncode = await child.terminate()
    await child.ready(life + 1)
    if returncode != 0:
        raise NotProvenError(f"{child.name} {pid} ended with {returncode}")
    return f"{child.name}: {pid} drained and ended, {child.pid} works"


async def _kill(child: Child) -> str:
    await child.ready(1)
    pid, life = child.pid, child.lives
    returncode = await child.kill()
    await child.ready(life + 1)
    if returncode != -signal.SIGKILL:
        raise NotProvenError(f"{child.name} {pid} ended with {returncode}")
    return f"{child.name}: {pid} killed, {child.pid} works"


async def _stop(child: Child, seconds: float) -> str:
    await child.ready(1)
    child.freeze()
    try:
        await asyncio.sleep(seconds)
        was_frozen = await asyncio.to_thread(lambda: child.is_frozen)
    finally:
        child.thaw()
    await eventually(lambda: not child.is_frozen)
    if not was_frozen:
        raise NotProvenError(f"{child.name} {child.pid} went on")
    return f"{child.name}: {child.pid} stood still for {seconds:.1f} s"
