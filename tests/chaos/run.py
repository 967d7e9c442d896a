"""A run: everything is started, the storm rages, the rest is waited for and judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.states import SagaState
from saga_orchestrator.demo.effects import read_effects
from saga_orchestrator.errors import SagaNotFoundError
from tests.chaos.judge import Evidence, Verdict, judge
from tests.chaos.load import Load
from tests.chaos.plan import Storm
from tests.chaos.settling import settled
from tests.chaos.stage import Stage, opened_stage
from tests.chaos.watch import LOST
from tests.support.waiting import eventually

WARM_UP_SAGAS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        report: the JSON.
        problems: why it did not pass; empty: it did.
    """

    report: dict[str, Any]
    problems: list[str]


async def run_chaos(
    minutes: float, seed: int, folder: Path, say: Callable[[str], None]
) -> Outcome:
    """Run chaos and judge it; nothing is left running.

    Args:
        minutes: how long things are broken.
        seed: decides the faults and the load.
        folder: for logs and the ledger.
        say: is told what happens, for people.
    """
    began = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - began:6.1f} s  {text}")

    async with opened_stage(folder, seed) as stage:
        load = Load(stage.manager, seed, lambda: stage.watch.live)
        storm = Storm(stage, minutes, random.Random(f"{seed}/storm"), tell)
        tell(f"everything is up; seed {seed}")
        async with _running(stage, load) as load_over:
            await eventually(lambda: len(load.started) >= WARM_UP_SAGAS)
            await storm.rage()
            in_flight = await _in_flight(stage)
            tell(f"faults stop; {in_flight} sagas go on, {load.count} were started")
            load.stop()
            rest = await settled(stage, load_over, tell)
            tell(f"settled; {len(rest)} things left")
        evidence = await _evidence(stage, load, seed)
        tell("judging")
        verdict = judge(evidence)
        verdict.violations += [*rest, *load.problems, *stage.fleet.surprises]
        verdict.violations += [
            f"{i}: had no reason to wake" for i in stage.watch.asleep
        ]
        verdict.violations += await _starts(stage, load)
    problems = [*verdict.problems, *_does_not_count(storm, in_flight)]
    report = _report(evidence, verdict, in_flight)
    return Outcome({**report, "faults": storm.counts}, problems)


@contextlib.asynccontextmanager
async def _running(stage: Stage, load: Load) -> AsyncIterator[asyncio.Task[None]]:
    """Run load, operator and watch; the load's task is given."""
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(load.run())
        group.create_task(load.operate())
        watching = group.create_task(stage.watch.run())
        yield starting
        watching.cancel()
        starting.cancel()


async def _in_flight(stage: Stage) -> int:
    """Count the sagas that go on, now: not at the last look."""
    for _ in range(50):
        with contextlib.suppress(*LOST):
            await stage.watch.look()
            return stage.watch.live
        await asyncio.sleep(0.1)
    raise TimeoutError("the database does not answer")


async def _evidence(stage: Stage, load: Load, seed: int) -> Evidence:
    records = {}
    for saga_id in load.started.values():
        with contextlib.suppress(SagaNotFoundError):
            records[saga_id] = await stage.manager.record(saga_id)
    return Evidence(seed, dict(load.started), records, read_effects(stage.ledger))


async def _starts(stage: Stage, load: Load) -> list[str]:
    """S13: there are as many sagas as keys."""
    psql = await asyncpg.connect(stage.store)
    try:
        count = await psql.fetchval("SELECT count(*) FROM sagas")
    finally:
        await psql.close()
    return [f"S13: {load.count} keys, {count} sagas"] if count != load.count else []


def _does_not_count(storm: Storm, in_flight: int) -> list[str]:
    """Return why the run proves nothing."""
    reasons = [
        f"{name}: fired {storm.proven[name]} times, {storm.required} are needed"
        for name in storm.missing
    ]
    if not in_flight:
        reasons.append("nothing was in flight when the faults stopped")
    return reasons


def _report(evidence: Evidence, verdict: Verdict, in_flight: int) -> dict[str, Any]:
    sagas = [record.saga for record in evidence.records.values()]
    states = Counter(saga.state for saga in sagas)
    return {
        "seed": evidence.seed,
        "sagas": len(evidence.started),
        "completed": states[SagaState.COMPLETED],
        "compensated": states[SagaState.COMPENSATED],
        "failed": states[SagaState.FAILED],
        "lost": len(verdict.lost),
        "stuck": len(verdict.stuck),
        "duplicate_effects": len(verdict.duplicate_effects),
        "violations": len(verdict.violations),
        "in_flight_when_faults_stopped": in_flight,
        "ignored_answers": sum(saga.ignored for saga in sagas),
    }
