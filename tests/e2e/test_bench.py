"""`saga bench` as a user runs it: figures of every mode, and no saga lost unnoticed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.families import children_of, is_alive
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer

CHILD = "saga_orchestrator.bench.child"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FEW = ("--sagas", "40", "--repeat", "1")
FIELDS = {
    *("ok", "mode", "load", "sagas", "steps", "fan_out", "payload", "compensate"),
    *("in_flight", "rate", "orchestrators", "workers", "repeat", "seed"),
    *("store", "broker", "machine", "runs", "lost", "unexpected"),
    *("sagas_per_second", "seconds", "p50_ms", "p99_ms", "max_ms"),
    *("messages_per_saga", "commands_per_message"),
    *("commits_per_saga", "events_per_commit"),
    *("wal_bytes_per_saga", "transactions_per_saga", "statements_per_saga"),
    *("cpu_seconds_per_saga", "peak_memory_mib"),
}


class Servers(NamedTuple):
    """A fresh database and a fresh vhost, and who has them."""

    store: str
    broker: str
    postgres: PostgresServer
    rabbit: RabbitServer

    @property
    def options(self) -> tuple[str, ...]:
        """How a bench is told of them."""
        return (
            *("--store", self.store, "--broker", self.broker),
            *("--watch-process", f"postgresql={self.postgres.pid}"),
            *("--watch-process", f"rabbitmq={self.rabbit.pid}"),
        )


@pytest.fixture
def servers(
    postgres_url: str,
    postgres_server: PostgresServer,
    rabbit_url: str,
    rabbit_server: RabbitServer,
) -> Servers:
    """Where a bench runs that is not embedded."""
    return Servers(postgres_url, rabbit_url, postgres_server, rabbit_server)


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "saga_orchestrator", "bench", *options]


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*options),
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def _measured(folder: Path, *options: str) -> dict[str, Any]:
    """Run a bench in which all is well; return its JSON, held against itself."""
    done = _run(folder, *options, "--json")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.keys() >= FIELDS
    assert found["ok"]
    assert found["lost"] == found["unexpected"] == 0
    assert len(found["runs"]) == found["repeat"]
    assert found["sagas_per_second"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    commands = found["messages_per_saga"] * found["commands_per_message"]
    events = found["commits_per_saga"] * found["events_per_commit"]
    assert commands >= found["steps"] * 0.95  # they are rounded
    assert events >= (found["steps"] + 1) * 0.95  # each answer, and the start
    assert found["cpu_seconds_per_saga"].keys() == found["peak_memory_mib"].keys()
    assert all(used > 0 for used in found["peak_memory_mib"].values())
    assert list(folder.iterdir()) == []
    return found


def test_embedded(tmp_path: Path) -> None:
    """Without any option it needs no server; repeated runs are told one by one."""
    found = _measured(tmp_path, "--sagas", "40", "--repeat", "2")
    assert (found["mode"], found["load"], found["steps"]) == ("embedded", "closed", 3)
    assert found["wal_bytes_per_saga"] is found["statements_per_saga"] is None
    assert list(found["cpu_seconds_per_saga"]) == ["orchestrator 1"]


@pytest.mark.parametrize(
    ("options", "mode", "processes"),
    [
        ((), "in-process", ["orchestrator 1"]),
        (("--workers", "1"), "remote", ["orchestrator 1", "worker 1"]),
        (("--orchestrators", "2"), "in-process", ["orchestrator 1", "orchestrator 2"]),
        (("--compensate", "--workers", "1"), "remote", ["orchestrator 1", "worker 1"]),
    ],
    ids=["in-process", "remote", "replicas", "compensate"],
)
def test_on_servers(
    tmp_path: Path,
    servers: Servers,
    options: tuple[str, ...],
    mode: str,
    processes: list[str],
) -> None:
    """Each mode works on PostgreSQL and RabbitMQ, and takes its queues along."""
    found = _measured(tmp_path, *FEW, *servers.options, *options)
    assert found["mode"] == mode
    assert list(found["cpu_seconds_per_saga"]) == [*processes, "postgresql", "rabbitmq"]
    assert found["wal_bytes_per_saga"] > 1000
    assert found["transactions_per_saga"] > 0
    assert servers.rabbit.queues(servers.broker) == []


def test_answers_from_elsewhere_are_messages(tmp_path: Path, servers: Servers) -> None:
    """One saga at a time has a command and an answer a step, each in its message."""
    options = (*servers.options, "--workers", "1", "--one-at-a-time")
    found = _measured(tmp_path, *FEW, *options)
    assert found["messages_per_saga"] >= 6
    assert found["commits_per_saga"] >= 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--one-at-a-time",), {"load": "one at a time", "in_flight": 1}),
        (("--rate", "100"), {"load": "open", "rate": 100, "in_flight": None}),
        (("--in-flight", "5"), {"load": "closed", "in_flight": 5}),
        (("--steps", "5"), {"steps": 5}),
        (("--fan-out", "6"), {"steps": 8, "fan_out": 6}),
        (("--payload", "2000", "--seed", "3"), {"payload": 2000, "seed": 3}),
        (("--compensate",), {"compensate": True}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_shapes_and_loads(
    tmp_path: Path, options: tuple[str, ...], expected: dict[str, Any]
) -> None:
    """What is asked for is what is measured."""
    found = _measured(tmp_path, *FEW, *options)
    assert found.items() >= expected.items()
    if "--one-at-a-time" in options:
        assert found["commands_per_message"] == 1
        assert found["messages_per_saga"] >= 3
    if "--rate" in options:
        assert found["seconds"] >= 39 / 100


def test_for_people(tmp_path: Path) -> None:
    """The text has the figures, whose CPU it was, and that no saga is missing."""
    done = _run(tmp_path, *FEW)
    assert done.returncode == 0, done.stderr
    for part in (
        "embedded: 40 sagas of 3 steps",
        "sagas a second",
        "latency, p99",
        "orchestrator 1",
        "every saga of the run ended as it should",
    ):
        assert part in done.stdout
    assert "run 1 of 1" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--workers", "2"), "--broker: memory:// is inside one process"),
        (("--store", "memory://"), "--store: memory:// is gone"),
        (("--rate", "0"), "--rate: 0 starts a second"),
        (("--rate", "5", "--one-at-a-time"), "--rate: --one-at-a-time says already"),
        (("--rate", "5", "--in-flight", "9"), "--in-flight: --rate says already"),
        (("--fan-out", "5", "--steps", "9"), "--fan-out: has a first and a last"),
        (("--watch-process", "7"), "--watch-process: '7' is not NAME=PID"),
        (("--watch-process", "x=999999999"), "no such process"),
        (("--sagas", "0"), "--sagas"),
        (("--broker", "kafka://x"), "broker: the scheme 'kafka' is not known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    """They are refused before anything runs: the option is named, and the fix."""
    done = _run(tmp_path, *FEW, *options, "--json")
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_lost_saga_is_told(tmp_path: Path, killable_rabbit: RabbitServer) -> None:
    """Sagas that do not end make a report that says how many, and exit code 1."""
    killable_rabbit.set_memory_alarm(on=True)  # now it takes no command
    broker = ("--broker", killable_rabbit.url())
    done = _run(tmp_path, *FEW, *broker, "--patience", "1", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert not found["ok"]
    assert found["lost"] == 40
    assert found["sagas_per_second"] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_orphans(tmp_path: Path, how: signal.Signals) -> None:
    """However it ends, its children end too."""
    parent = subprocess.Popen(
        _command("--sagas", "100000"),
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    asyncio.run(eventually(lambda: children_of(parent.pid, CHILD) != [], seconds=60))
    (child,) = children_of(parent.pid, CHILD)
    parent.send_signal(how)
    parent.wait(timeout=60)
    asyncio.run(eventually(lambda: not is_alive(child), seconds=60))
    if how is signal.SIGTERM:
        assert parent.returncode == 128 + how
        assert list(tmp_path.iterdir()) == []
