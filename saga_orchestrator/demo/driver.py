"""The driver: starts the children, kills some at half, and gathers the evidence."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from saga_orchestrator.brokers.rabbitmq.removal import delete_queues
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.demo.effects import create_effects, read_effects
from saga_orchestrator.demo.judge import Evidence
from saga_orchestrator.demo.load import Load, Watcher
from saga_orchestrator.demo.names import topology_of
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.demo.processes import Fleet, fleet_of
from saga_orchestrator.demo.report import Report
from saga_orchestrator.demo.summary import Kill, example_of, summarise
from saga_orchestrator.errors import SagaNotFoundError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.wire.topology import Topology

POLL_SECONDS = 0.02
"""How often the store is asked which sagas have ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A report, and one saga to show.

    Attributes:
        report: the run in numbers.
        example: the compensated saga that went through most; None: there is none.
    """

    report: Report
    example: SagaRecord | None


async def run_demo(
    plan: Plan, folder: Path, *, clock: Clock, watcher: Watcher
) -> Outcome:
    """Run a demo and judge it.

    However it ends, no child is left, and no queue of the run where the broker
    answers.

    Args:
        plan: what to run.
        folder: for the effects and the children's logs.
        clock: where the time comes from.
        watcher: who is told meanwhile.

    Raises:
        ConfigurationError: the plan cannot work.
        ChildFailedError: a child ended and was not meant to.
        StoreError, BrokerError: store or broker cannot be opened.
    """
    plan.check()
    run = f"{plan.seed}-{int(clock.now().timestamp() * 1000):x}"
    effects = folder / "effects.db"
    await create_effects(effects)
    if plan.has_server_broker:
        await _find(plan.broker, topology_of(run), clock)
    async with Manager.open(store=plan.store, engine=False, migrate=True) as manager:
        load = Load(manager, plan, run, clock=clock, watcher=watcher)
        fleet = fleet_of(plan, run, folder, effects)
        demo = _Demo(manager, load, fleet, clock, watcher)
        try:
            await demo.go(half=math.ceil(plan.sagas / 2))
        finally:
            await fleet.kill(fleet.children)
            if plan.has_server_broker and not await delete_queues(
                plan.broker, topology_of(run)
            ):
                watcher.event(f"the queues saga-demo.{run}.* are left on the broker")
        records = await demo.records(load.started.values())
    evidence = Evidence(load.started, records, read_effects(effects), demo.live_at_kill)
    report = summarise(plan, run, evidence, load.started_at, demo.kill)
    return Outcome(report, example_of(evidence))


async def _find(url: str, topology: Topology, clock: Clock) -> None:
    """Say what is wrong with a broker here: better than in a child's log."""
    rng = random.SystemRandom()
    broker = await open_broker(url, topology=topology, clock=clock, rng=rng)
    await broker.close()


class _Demo:
    """One run: its sagas, its children, and the kill."""

    def __init__(
        self,
        manager: Manager,
        load: Load,
        fleet: Fleet,
        clock: Clock,
        watcher: Watcher,
    ) -> None:
        self.live_at_kill: dict[str, SagaRecord] = {}
        self.kill = Kill()
        self._manager = manager
        self._load = load
        self._fleet = fleet
        self._clock = clock
        self._watcher = watcher

    async def go(self, half: int) -> None:
        """Run all sagas; kill when ``half`` of them have ended."""
        await self._fleet.start(self._fleet.children)
        await self._load.open()
        while not self._load.is_over:
            await self._load.advance()
            self._fleet.check()
            if self._load.rested >= half and not self.kill.names:
                await self._strike()
            await self._clock.sleep(POLL_SECONDS)
        # What is still on its way may have an effect: that counts too.
        await self._fleet.stop()

    async def records(self, saga_ids: Iterable[str]) -> dict[str, SagaRecord]:
        """Return what the store says of sagas; without those it does not have."""
        records = {}
        for saga_id in saga_ids:
            with contextlib.suppress(SagaNotFoundError):
                records[saga_id] = await self._manager.record(saga_id)
        return records

    async def _strike(self) -> None:
        """Kill, look what is live while nobody acts for it, and start again."""
        since = self._clock.monotonic()
        victims = self._fleet.victims
        await self._fleet.kill(victims)
        records = await self.records(saga.id for saga in await self._load.live())
        self.live_at_kill = {
            saga_id: record
            for saga_id, record in records.items()
            if record.saga.state in (SagaState.STARTED, SagaState.COMPENSATING)
        }
        await self._fleet.start(victims)
        seconds = self._clock.monotonic() - since
        self.kill = Kill(tuple(child.name for child in victims), seconds)
        self._watcher.event(
            f"{' and '.join(self.kill.names)} got SIGKILL with "
            f"{len(self.live_at_kill)} sagas live; back after {seconds:.1f} s"
        )
