"""The run: two processes, a load, and SIGTERM again and again."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from saga_orchestrator import Manager
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.ports.store import SagaFilter
from tests.drains.child import DRAIN_SECONDS, Life, trip
from tests.drains.ledger import Ledger
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

CLOSE_SECONDS = 5.0
"""What a process may take to close its connections after its drain."""
IN_FLIGHT = 200
TOGETHER = 25
"""Sagas are started so many at once: their commands share frames."""
SLOW_EVERY = 10
OPENING_SHARE = 0.2
_UNTIL_READY = 60.0
_UNTIL_DONE = 120.0

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tests.drains.child", "aio_pika", "asyncpg", "saga_stores.postgres"]
)


@dataclass
class Report:
    """What was done, and what must be nought.

    Attributes:
        signals: how many SIGTERMs were sent.
        at_work: of these, how many met a process with a run in hand.
        while_opening: of these, how many came before the process worked.
        interrupted: runs that the end of a drain broke off; they run again.
        repeated: runs of what had come to its end before.
        attempts_used: retries, failures and pauses in the histories.
        bad_exits: processes that ended otherwise than they should.
        late_exits: processes that took longer than their drain limit allows.
        wrong: sagas that did not end as they had to.
    """

    seed: int
    signals: int = 0
    at_work: int = 0
    while_opening: int = 0
    sagas: int = 0
    completed: int = 0
    compensated: int = 0
    interrupted: int = 0
    slowest_exit: float = 0.0
    seconds: float = 0.0
    repeated: int = 0
    attempts_used: int = 0
    bad_exits: list[str] = field(default_factory=list)
    late_exits: int = 0
    wrong: int = 0

    @property
    def is_good(self) -> bool:
        """Tell whether every promise held."""
        problems = (self.repeated, self.attempts_used, self.late_exits, self.wrong)
        return not any(problems) and not self.bad_exits

    def document(self) -> dict[str, object]:
        """Return the report as JSON data."""
        return asdict(self)


class Slot:
    """A place in which one process of a kind lives after the other."""

    def __init__(
        self, service: str, urls: dict[str, str], folder: Path, report: Report
    ) -> None:
        self._service = service
        self._urls = urls
        self._folder = folder
        self._report = report
        self._ledger = Ledger(folder / "ledger.db")
        self._rng = random.Random(f"{report.seed} {service}")
        self._lives = 0
        self._opening_took = 0.3
        self.process: ForkServerProcess | None = None

    async def live(self, signals: int) -> None:
        """Start a process, let it be stopped, so many times; leave one at work."""
        for number in range(signals):
            life = self._start(hangs=number % SLOW_EVERY == SLOW_EVERY - 1)
            if life.hangs or self._rng.random() >= OPENING_SHARE:
                await self._ready(life)
                await asyncio.sleep(self._rng.random() * 0.6)
            else:
                await asyncio.sleep(self._rng.random() * self._opening_took)
            await self._stop(life)
        await self._ready(self._start(hangs=False))

    def _start(self, *, hangs: bool) -> Life:
        self._lives += 1
        name = f"{self._service}-{self._lives}"
        life = Life(name, self._service, **self._urls, folder=self._folder, hangs=hangs)
        self.process = _FORKS.Process(target=life.main, daemon=True)
        self.process.start()
        return life

    async def _ready(self, life: Life) -> None:
        start = time.monotonic()
        await eventually((self._folder / life.name).exists, seconds=_UNTIL_READY)
        self._opening_took = time.monotonic() - start

    async def _stop(self, life: Life) -> None:
        process = self.process
        assert process is not None
        assert process.pid is not None
        was_ready = (self._folder / life.name).exists()
        self._report.at_work += bool(self._ledger.in_hand(life.name))
        start = time.monotonic()
        process.terminate()
        await asyncio.to_thread(process.join, 4 * (DRAIN_SECONDS + CLOSE_SECONDS))
        seconds = time.monotonic() - start
        # What was not open yet may say so; before Python listens, the signal kills.
        good = {0} if was_ready else {0, 128 + signal.SIGTERM, -signal.SIGTERM}
        if process.exitcode not in good:
            self._report.bad_exits.append(f"{life.name}: {process.exitcode}")
        self._report.signals += 1
        self._report.while_opening += not was_ready
        self._report.late_exits += seconds > DRAIN_SECONDS + CLOSE_SECONDS
        self._report.slowest_exit = round(max(seconds, self._report.slowest_exit), 2)

    def end(self) -> None:
        """Kill what is left."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self._ledger.close()


async def run_drains(
    count: int, seed: int, folder: Path, *, store: str, broker: str
) -> Report:
    """Send ``count`` SIGTERMs under a load; return what became of it."""
    start = time.monotonic()
    report = Report(seed)
    urls = {"store": store, "broker": broker}
    slots = [Slot(service, urls, folder, report) for service in ("near", "far")]
    async with Manager.open(store=store, migrate=True) as client:
        load = asyncio.ensure_future(_load(client, random.Random(seed)))
        try:
            shares = (count - count // 2, count // 2)
            lives = [slot.live(n) for slot, n in zip(slots, shares, strict=True)]
            await asyncio.gather(*lives)
            load.cancel()
            await eventually(lambda: _is_over(client), seconds=_UNTIL_DONE)
        finally:
            load.cancel()
            for slot in slots:
                slot.end()
        await _judge(client, report)
    _count(Ledger(folder / "ledger.db"), report)
    report.seconds = round(time.monotonic() - start, 1)
    return report


async def _load(client: Manager, rng: random.Random) -> None:
    """Keep some sagas in flight, for ever."""
    while True:
        if len(await client.list_active()) < IN_FLIGHT:
            contexts = [
                {"refuse": "c"} if rng.random() < 0.25 else {} for _ in range(TOGETHER)
            ]
            starts = [client.start(trip(), context=each) for each in contexts]
            await asyncio.gather(*starts)
        await asyncio.sleep(0.02)


async def _is_over(client: Manager) -> bool:
    return not await client.list_active()


_USED = {
    HistoryKind.STEP_RETRIED,
    HistoryKind.STEP_POSTPONED,
    HistoryKind.STEP_EXPIRED,
    HistoryKind.STEP_RESENT,
}


async def _judge(client: Manager, report: Report) -> None:
    """Hold every saga to the way that it had to take."""
    before = None
    while page := await client.store.find(SagaFilter(before=before, limit=256)):
        for saga in page:
            record = await client.record(saga.id)
            kinds = Counter(entry.kind for entry in record.history)
            refused = record.saga.context.get("refuse") == "c"
            report.sagas += 1
            report.completed += saga.is_completed
            report.compensated += saga.is_compensated
            report.wrong += not (saga.is_compensated if refused else saga.is_completed)
            used = sum(kinds[kind] for kind in _USED)
            report.attempts_used += used + kinds[HistoryKind.STEP_FAILED] - refused
        before = page[-1].id


def _count(ledger: Ledger, report: Report) -> None:
    report.repeated = sum(ends - 1 for ends in ledger.ends().values())
    report.interrupted = ledger.interrupted()
    ledger.close()
