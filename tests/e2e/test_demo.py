"""`saga demo` as a user runs it: it passes, it can fail, it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from saga_orchestrator import Manager
from saga_orchestrator.demo.effects import create_effects
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.demo.processes import fleet_of
from saga_orchestrator.demo.scenarios import SCENARIOS
from tests.e2e.demo_runs import command, environment, passed, run_demo
from tests.support.families import children_of, is_alive
from tests.support.ports import free_port
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from saga_orchestrator.demo.child import Role
    from tests.support.rabbitmq import RabbitServer

CHILD = "saga_orchestrator.demo.child"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Servers(NamedTuple):
    """A fresh database and a fresh vhost."""

    store: str
    broker: str
    rabbit: RabbitServer


@pytest.fixture
def servers(postgres_url: str, rabbit_url: str, rabbit_server: RabbitServer) -> Servers:
    """Where a demo runs that is not embedded."""
    return Servers(postgres_url, rabbit_url, rabbit_server)


def test_embedded(tmp_path: Path) -> None:
    """Without any server it passes, and removes its folder."""
    report = passed(run_demo(tmp_path, "--sagas", "100", "--json"), 100)
    assert report["sagas_per_second"] > 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]
    assert report["killed"] == ["orchestrator 1"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["orchestrator", "worker"])
async def test_a_child_waits_for_its_broker(tmp_path: Path, role: Role) -> None:
    """As `saga serve` and `saga worker` do; the parent has looked for it before."""
    store = f"sqlite:///{tmp_path / 'sagas.db'}"
    effects = tmp_path / "effects.db"
    await create_effects(effects)
    async with Manager.open(store=store, engine=False, migrate=True):
        pass
    plan = Plan(
        scenario=SCENARIOS["order"],
        sagas=1,
        seed=7,
        store=store,
        broker=f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        workers=1,
    )
    fleet = fleet_of(plan, "waiting", tmp_path, effects)
    (child,) = (child for child in fleet.victims if child.name == f"{role} 1")
    try:
        await child.start()
        child.check()
    finally:
        await child.kill()


def test_for_people(tmp_path: Path) -> None:
    """The text has a timeline, each check, and the next command; stderr the rest."""
    done = run_demo(tmp_path, "--sagas", "60", "--keep")
    assert done.returncode == 0, done.stderr
    for part in (
        "60 orders:",
        "undo create_order",
        "every charge is shipped or refunded",
        "no effect is applied twice",
        "every live saga has a reason to wake",
        "resumed, 0 lost",
        "next: ",
    ):
        assert part in done.stdout
    assert "60 of 60 have ended" in done.stderr
    assert "SIGKILL" in done.stderr


def test_on_a_terminal(tmp_path: Path) -> None:
    """A terminal gets bars, and stdout stays the result's."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command("--sagas", "40", "--json"),
        cwd=tmp_path,
        env={**environment(tmp_path), "TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as running:
        os.close(theirs)
        shown = _all_of(ours)
        result, _ = running.communicate(timeout=60)
    assert json.loads(result)["ok"]
    assert "━" in shown
    assert "SIGKILL" in shown


def test_the_next_command_works(tmp_path: Path) -> None:
    """What is proposed in the end can be typed as it stands."""
    done = run_demo(tmp_path, "--sagas", "20", "--keep")
    proposed = done.stdout.rpartition("next: ")[2].split()
    shown = subprocess.run(
        [sys.executable, "-m", "saga_orchestrator", *proposed[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "compensated" in shown.stdout


def test_the_check_can_fail(tmp_path: Path) -> None:
    """Without the barrier's claim effects happen twice, and the demo says so."""
    done = run_demo(tmp_path, "--sagas", "100", "--without-barrier", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["duplicate_effects"] > 0
    assert report["lost"] == 0


@pytest.mark.parametrize(
    "options",
    [("--workers", "2"), ("--orchestrators", "2"), ("--store", "memory://")],
    ids=" ".join,
)
def test_what_cannot_work_is_a_usage_error(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Parts that cannot share what they need are refused before anything runs."""
    done = run_demo(tmp_path, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphans(tmp_path: Path, how: signal.Signals) -> None:
    """However the parent ends, its children end too."""
    parent = subprocess.Popen(
        command("--sagas", "5000"),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Whatever started these tests may ignore it, as a shell does for "&".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    _until(lambda: children_of(parent.pid, CHILD) != [])
    (child,) = children_of(parent.pid, CHILD)
    parent.send_signal(how)
    parent.wait(timeout=60)
    _until(lambda: not is_alive(child))
    if how is not signal.SIGKILL:
        assert parent.returncode == 128 + how
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "killed"),
    [
        ((), ["orchestrator 1"]),
        (("--workers", "2"), ["orchestrator 1", "worker 1"]),
        (("--orchestrators", "2"), ["orchestrator 1"]),
        (
            ("--orchestrators", "2", "--workers", "2"),
            ["orchestrator 1", "worker 1"],
        ),
    ],
    ids=["one", "workers", "orchestrators", "both"],
)
def test_on_servers(
    tmp_path: Path,
    servers: Servers,
    options: tuple[str, ...],
    killed: list[str],
) -> None:
    """On PostgreSQL and RabbitMQ too, and it takes its queues along."""
    urls = ("--store", servers.store, "--broker", servers.broker)
    done = run_demo(tmp_path, "--sagas", "100", *urls, *options, "--json")
    assert passed(done, 100)["killed"] == killed
    assert servers.rabbit.queues(servers.broker) == []


def test_twice_on_one_store(tmp_path: Path, postgres_url: str) -> None:
    """Older sagas in the store do not count; the broker may be in the process."""
    options = ("--sagas", "30", "--store", postgres_url, "--json")
    for _ in "ab":
        passed(run_demo(tmp_path, *options), 30)


def _all_of(terminal: int) -> str:
    """Return what is written to a terminal until its last writer is gone."""
    shown = b""
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as file:
        while text := file.read(65536):
            shown += text
    return shown.decode(errors="replace")


def _until(condition: Callable[[], bool]) -> None:
    asyncio.run(eventually(condition, seconds=60))
