"""The database: lost commits and answers, locks, deadlocks, restarts, silence."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from tests.chaos.faults.fault import NotProvenError, sprung, trapped
from tests.chaos.stage import Stage
from tests.chaos.watch import LOST
from tests.support.waiting import eventually

PATIENCE_SECONDS = 15.0

# How the server's log tells of errors in the engine's sessions.
_DEADLOCK = "saga-orchestrator ERROR:  deadlock detected"
_LOCK_TIMEOUT = "saga-orchestrator ERROR:  canceling statement due to lock timeout"

_NEWEST = """
SELECT id FROM sagas WHERE state IN ('started', 'compensating')
ORDER BY id DESC LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_OLDER = """
SELECT id FROM sagas WHERE state IN ('started', 'compensating') AND id < $1
ORDER BY id DESC FOR UPDATE
"""
# Who waits longest looks for a deadlock first, and becomes its victim: so the
# engine has to have waited already, and not yet to have looked.
_BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'saga-orchestrator' AND $1 = ANY (pg_blocking_pids(pid))
    AND clock_timestamp() - query_start < '200ms'
"""
_TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'saga-orchestrator'
"""


async def commit_answer_lost(stage: Stage, _rng: random.Random) -> str:
    """Cut a connection where the server says that it committed."""
    with trapped(stage.sql, "committed", from_server=True, cuts=True) as traps:
        trap = await sprung(traps, PATIENCE_SECONDS)
    return f"{_owner(stage, traps.index(trap))}: committed, and not told"


async def commit_lost(stage: Stage, _rng: random.Random) -> str:
    """Cut a connection where the client asks for the commit."""
    with trapped(stage.sql, "commit", from_server=False, cuts=True) as traps:
        trap = await sprung(traps, PATIENCE_SECONDS)
    return f"{_owner(stage, traps.index(trap))}: a commit never arrived"


async def lock_timeout(stage: Stage, _rng: random.Random) -> str:
    """Hold the rows of sagas that go on until somebody gave up waiting for them."""
    before = _count(stage, _LOCK_TIMEOUT)
    async with _intruder(stage) as psql, psql.transaction():
        rows = await psql.fetch(_NEWEST, 20)
        await eventually(
            lambda: _count(stage, _LOCK_TIMEOUT) > before, seconds=PATIENCE_SECONDS
        )
    return f"{len(rows)} rows held; {_count(stage, _LOCK_TIMEOUT) - before} timed out"


async def deadlock(stage: Stage, rng: random.Random) -> str:
    """Lock sagas against the engine's order until it is a deadlock's victim."""
    before = _count(stage, _DEADLOCK)
    deadline = asyncio.get_running_loop().time() + 2 * PATIENCE_SECONDS
    tries = 0
    async with _intruder(stage) as psql, _intruder(stage) as looker:
        await psql.execute("SET deadlock_timeout = '30s'; SET lock_timeout = '2s'")
        while asyncio.get_running_loop().time() < deadline:
            tries += 1
            with contextlib.suppress(asyncpg.PostgresError):
                async with psql.transaction():
                    await _cross(psql, looker, rng)
            found = _count(stage, _DEADLOCK) - before
            if found:
                return f"{found} transactions of the engine were a deadlock's victims"
    raise NotProvenError(f"no deadlock in {tries} tries")


async def restarted(stage: Stage, rng: random.Random) -> str:
    """End the server, by SIGKILL or in order, and start it again."""
    by_kill = rng.random() < 0.5
    before = stage.postgres.pid
    stop = stage.postgres.kill if by_kill else stage.postgres.stop
    await asyncio.to_thread(stop)
    await asyncio.sleep(rng.uniform(0, 2))
    await asyncio.to_thread(stage.postgres.start)
    after = stage.postgres.pid
    if after == before:
        raise NotProvenError(f"it is still {before}")
    return f"{before} {'killed' if by_kill else 'stopped'}, {after} works"


async def stopped(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP the server and its backends: connections stay, nothing answers."""
    seconds = rng.uniform(2, 6)
    await asyncio.to_thread(stage.postgres.freeze)
    try:
        with contextlib.suppress(*LOST):
            await asyncpg.connect(stage.store, timeout=seconds)
            raise NotProvenError("it answered")
    finally:
        await asyncio.to_thread(stage.postgres.thaw)
    return f"nothing answered for {seconds:.1f} s"


async def backends_terminated(stage: Stage, _rng: random.Random) -> str:
    """Terminate the engines' sessions, as an administrator may."""
    async with _intruder(stage) as psql:
        count = await psql.fetchval(_TERMINATE)
    if not count:
        raise NotProvenError("nobody was connected")
    return f"{count} sessions terminated"


async def _cross(
    psql: asyncpg.Connection, looker: asyncpg.Connection, rng: random.Random
) -> None:
    """Hold sagas' rows, wait for who waits for them, want what that one holds.

    That is something only where it commits several events at once: they gather
    while it waits for the rows in vain.
    """
    held = await psql.fetch(_NEWEST, rng.randint(2, 8))
    await asyncio.sleep(rng.uniform(0.3, 1.5))
    pid = psql.get_server_pid()

    async def is_waited_for() -> bool:
        return bool(await looker.fetchval(_BLOCKED, pid))

    with contextlib.suppress(AssertionError):
        await eventually(is_waited_for, seconds=2)
        await psql.fetch(_OLDER, min((row["id"] for row in held), default=""))


@contextlib.asynccontextmanager
async def _intruder(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    """Connect past the proxies; a server that is away is no evidence."""
    try:
        psql = await asyncpg.connect(stage.store, timeout=5, command_timeout=20)
        try:
            yield psql
        finally:
            psql.terminate()
    except LOST as error:
        raise NotProvenError(f"the database was away: {error}") from error


def _count(stage: Stage, line: str) -> int:
    return stage.postgres.log.read_text(errors="replace").count(line)


def _owner(stage: Stage, number: int) -> str:
    return ["client", *(c.name for c in stage.fleet.orchestrators)][number]
