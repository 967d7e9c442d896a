"""The processes behind one address, as one of them sees the others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.api import siblings as module
from saga_orchestrator.api.readiness import Readiness
from saga_orchestrator.api.siblings import Siblings
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.telemetry.families import exposition_of, families
from tests.support.promtool import promtool
from tests.unit.api.stage import served

if TYPE_CHECKING:
    from pathlib import Path


class Process:
    """One of them, with a broker that may be down."""

    def __init__(self) -> None:
        self.problem = ""

    def parts(self) -> dict[str, list[str]]:
        """As a manager's."""
        down = [self.problem] if self.problem else []
        return {"store": [], "broker": down, "remarks": ["look"]}


@contextlib.asynccontextmanager
async def second(folder: Path):
    """The second of three answers while inside; the third is not there."""
    process = Process()
    readiness = Readiness(process, SystemClock(), None)
    async with Siblings(folder, 2, 3).answering(readiness):
        yield process, readiness


async def test_the_others_are_parts(tmp_path):
    """One that works, one that does not, one that stops, one that does not answer."""
    async with second(tmp_path) as (process, readiness):
        asks = Siblings(tmp_path, 1, 3)
        well, absent = await asks.others()
        assert (well.name, well.problems, well.is_down) == ("process 2", (), False)
        assert (absent.name, absent.short) == ("process 3", "no answer")
        assert not absent.is_down
        process.problem = "broker: nobody there"
        red, _ = await asks.others()
        assert (red.is_down, red.problems) == (True, ("broker: nobody there",))
        process.problem, readiness.is_draining = "", True
        stopping, _ = await asks.others()
        assert (stopping.is_down, stopping.problems) == (True, ("it stops",))


async def test_one_that_hangs_holds_up_nobody(tmp_path, monkeypatch):
    """It took the question and does not answer: it counts as not there."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    go, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader, writer):
        await reader.read()
        await go.wait()
        writer.close()
        gone.set()

    async with await asyncio.start_unix_server(hang, tmp_path / "2"):
        (part,) = await Siblings(tmp_path, 1, 2).others()
        go.set()
        await gone.wait()
    assert part.problems == ("no answer",)


async def test_one_that_dies_while_it_answers_is_not_there(tmp_path):
    """Half an answer is none."""

    async def break_off(reader, writer):
        await reader.read()
        writer.write(b"[[")
        writer.close()

    server = await asyncio.start_unix_server(break_off, tmp_path / "2")
    async with server:
        exposition = (await Siblings(tmp_path, 1, 2).exposition()).decode()
    assert 'saga_process_up{saga_process="1"} 1.0' in exposition
    assert 'saga_process_up{saga_process="2"} 0.0' in exposition
    assert 'saga_problems{saga_process="2"}' not in exposition


async def test_metrics_of_all_are_one_exposition(tmp_path):
    """Each sample says whose it is; Prometheus' own checker finds no fault."""
    async with second(tmp_path):
        exposition = await Siblings(tmp_path, 1, 3).exposition()
    assert promtool("check", "metrics", given=exposition) == (0, "")
    text = exposition.decode()
    assert text.count("# TYPE saga_commit_batch_events histogram") == 1
    for number in (1, 2):
        assert f'saga_commit_batch_events_sum{{saga_process="{number}"}}' in text
        assert f'process_cpu_seconds_total{{saga_process="{number}"}}' in text


def test_a_label_of_a_metric_stays():
    """Handlers' own metrics may have any label but ours."""
    found = [["mine_total", "Mine.", "counter", [["mine_total", {"process": "x"}, 3]]]]
    text = exposition_of({1: found, 2: None}).decode()
    assert 'mine_total{process="x",saga_process="1"} 3.0' in text
    assert 'saga_process_up{saga_process="2"} 0.0' in text


def test_every_metric_can_be_told():
    """JSON has all that the registry has, numbers without end included."""
    assert {name for name, *_ in families()} >= {"saga_sagas_started"}


@pytest.mark.parametrize("problem", ["", "broker: nobody there"])
async def test_readyz_is_the_worst_of_all(tmp_path, problem):
    """Red where another is red; its reasons only for those who may have them."""
    first = Siblings(tmp_path, 1, 2)
    async with second(tmp_path) as (process, _), served(siblings=first) as shop:
        process.problem = problem
        short = await shop.client.get("/readyz")
        long = await shop.client.get("/readyz?verbose=1")
    assert short.status_code == (503 if problem else 200)
    assert f"process 2 {'down' if problem else 'ok'}" in short.text
    assert problem in long.text
