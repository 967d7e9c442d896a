"""The driver: starts the children, orders the loads, counts in the store."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from saga_orchestrator.bench.account import Account
from saga_orchestrator.bench.database import PostgresMeter
from saga_orchestrator.bench.figures import Figures, ServerUse, figures_of
from saga_orchestrator.bench.fleet import Fleet
from saga_orchestrator.bench.machine import ProcessTree
from saga_orchestrator.bench.plan import Plan
from saga_orchestrator.bench.report import Report
from saga_orchestrator.bench.subject import Subject, topology_of
from saga_orchestrator.brokers.rabbitmq.removal import delete_queues
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.runtime.waiters import RESTING
from saga_orchestrator.wire.topology import Topology

WARM_UP_SAGAS = 100
WARM_UP_WINDOW = 20
PAGE = 1000

Watcher = Callable[[str], None]
"""Told of a bench, in words, while it goes on."""


async def run_bench(
    plan: Plan, folder: Path, *, clock: Clock, watcher: Watcher
) -> Report:
    """Run a bench.

    However it ends, no child is left, and no queue of its runs where the broker
    answers. The sagas stay in the store.

    Args:
        plan: what to measure.
        folder: for the children's logs and accounts.
        clock: where the time comes from.
        watcher: who is told meanwhile.

    Raises:
        ConfigurationError: the plan cannot work.
        ChildFailedError: a child ended and was not meant to.
        StoreError, BrokerError: store or broker cannot be opened.
    """
    plan.check()
    for name, pid in plan.watched:
        if not ProcessTree(pid).exists:
            raise ConfigurationError(
                f"--watch-process: {name}={pid}: no such process to be seen here; "
                "give the number of one that runs on this machine, or leave it out"
            )
    runs = []
    for number in range(1, plan.repeat + 1):
        name = secrets.token_hex(4)
        runs.append(await _Run(plan, name, folder, clock, watcher).go())
        watcher(
            f"run {number} of {plan.repeat}: {runs[-1].sagas_per_second:.0f} sagas/s"
        )
    return Report(plan, tuple(runs))


class _Run:
    """One run, with processes and queues of its own."""

    def __init__(
        self, plan: Plan, name: str, folder: Path, clock: Clock, watcher: Watcher
    ) -> None:
        self._plan = plan
        self._name = name
        self._subject = Subject(plan.shape, name)
        self._topology = topology_of(name)
        self._clock = clock
        self._watcher = watcher
        self._fleet = Fleet(plan, name, folder, clock)
        self._watched = {name: ProcessTree(pid) for name, pid in plan.watched}

    async def go(self) -> Figures:
        """Measure once."""
        plan = self._plan
        if plan.has_server_broker:
            await _find(plan.broker, self._topology, self._clock)
        await (await Store.open(plan.store, migrate=True)).close()
        async with PostgresMeter.open(plan.store) as meter:
            before = await meter.totals() if meter else None
            try:
                accounts, servers = await self._measure(meter)
            finally:
                await self._clear_up()
            lost, unexpected = await self._count(
                saga_id for account in accounts.values() for saga_id in account.started
            )
            if meter and before:
                # The sessions have ended since, and told all that they did.
                servers = servers.with_totals(
                    await meter.totals() - before, plan.sagas + self._warm_up_sagas
                )
        return figures_of(accounts, servers, lost=lost, unexpected=unexpected)

    @property
    def _warm_up_sagas(self) -> int:
        return min(WARM_UP_SAGAS, self._plan.sagas)

    async def _measure(
        self, meter: PostgresMeter | None
    ) -> tuple[dict[str, Account], ServerUse]:
        """Start the processes, warm them up, and measure the load."""
        plan = self._plan
        await self._fleet.start()
        # Connections are made and statements planned before anything counts.
        window = min(WARM_UP_WINDOW, plan.in_flight)
        await self._fleet.perform(self._warm_up_sagas, window, None)
        wal = await meter.wal_position() if meter else 0
        cpu = {name: tree.cpu_seconds() for name, tree in self._watched.items()}
        accounts = await self._fleet.perform(plan.sagas, plan.in_flight, plan.rate)
        use = ServerUse(
            wal_bytes=await meter.wal_position() - wal if meter else None,
            cpu_seconds={
                name: tree.cpu_seconds() - cpu[name]
                for name, tree in self._watched.items()
            },
            memory={name: tree.memory() for name, tree in self._watched.items()},
        )
        if sum(len(account.ended) for account in accounts.values()) >= plan.sagas:
            await self._fleet.stop()  # else there is something that does not end
        return accounts, use

    async def _clear_up(self) -> None:
        await self._fleet.kill()
        if self._plan.has_server_broker and not await delete_queues(
            self._plan.broker, self._topology
        ):
            self._watcher(f"queues saga-bench.{self._name}.* are left on the broker")

    async def _count(self, started: Iterable[str]) -> tuple[int, int]:
        """Return how many sagas did not end, and how many ended as they should not.

        The store is asked, whatever the processes heard.
        """
        ids = set(started)
        states: list[SagaState] = []
        store = await Store.open(self._plan.store, migrate=False)
        try:
            which = SagaFilter(limit=PAGE)
            while ids and (page := await store.find(which)):
                states += [saga.state for saga in page if saga.id in ids]
                if page[-1].id <= min(ids):
                    break
                which = replace(which, before=page[-1].id)
        finally:
            await store.close()
        ended = [state for state in states if state in RESTING]
        expected = ended.count(self._subject.expected)
        return self._plan.sagas - len(ended), len(ended) - expected


async def _find(url: str, topology: Topology, clock: Clock) -> None:
    """Say what is wrong with a broker here: better than in a child's log."""
    rng = random.SystemRandom()
    broker = await open_broker(url, topology=topology, clock=clock, rng=rng)
    await broker.close()
