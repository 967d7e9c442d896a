"""`saga serve --processes` on real servers: one port, several engines, one life."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.families import is_alive
from tests.support.processes import wait_until
from tests.support.promtool import promtool
from tests.support.saga_command import saga
from tests.support.served_processes import COUNT, Processes
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def servers(postgres_url: str, rabbit_url: str, tmp_path: Path) -> dict[str, str]:
    """Where a fresh store and a fresh broker are, as settings."""
    assert saga("migrate", folder=tmp_path, SAGA_STORE=postgres_url).returncode == 0
    return {"SAGA_STORE": postgres_url, "SAGA_BROKER": rabbit_url}


@pytest.fixture
def serving(tmp_path: Path, servers: dict[str, str]) -> Iterator[Processes]:
    """Two processes that work."""
    server = Processes(tmp_path, servers)
    try:
        server.wait_for("ready", COUNT)
        yield server
    finally:
        server.close()


def by_process(exposition: str) -> dict[str, Counter[str]]:
    """Return the sum of each metric by process."""
    found: dict[str, Counter[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            values = found.setdefault(sample.name, Counter())
            values[sample.labels["saga_process"]] += sample.value
    return found


def test_both_work_and_one_port_tells_of_both(serving):
    """Whichever process answers: readiness and metrics are those of all."""
    assert serving.outcomes(serving.start("quick", 40)) == {"completed": 40}
    ready = {serving.get("/readyz").text for _ in range(8)}
    assert all("[+]process " in text and "\nready\n" in text for text in ready)
    exposition = serving.get("/metrics").text
    assert promtool("check", "metrics", given=exposition.encode()) == (0, "")
    found = by_process(exposition)
    assert found["saga_process_up"] == {"1": 1, "2": 1}
    assert found["saga_sagas_started_total"].total() == 40
    assert found["saga_sagas_finished_total"].total() == 40
    assert found["saga_handler_duration_seconds_count"].keys() == {"1", "2"}


def test_sigterm_drains_all_and_ends_with_0(serving, tmp_path):
    """What either has begun is finished; nothing is left, and the port is free.

    Also where all get the signal, as from systemd.
    """
    serving.start("slow", 10)
    assert wait_until(serving.is_at_work_everywhere, serving)
    pids = serving.pids()
    for pid in (serving.pid, *pids):
        os.kill(pid, signal.SIGTERM)
    serving.wait_for("stopping", COUNT)
    assert serving.get("/readyz").status_code == 503
    (tmp_path / "go").touch()
    assert serving.end() == 0
    assert len(serving.lines("stopped")) == COUNT
    assert not any(map(is_alive, pids))
    assert not list((tmp_path / "own").iterdir())
    with pytest.raises(httpx.ConnectError):
        serving.get("/livez")
    assert serving.states() == {"completed": 10}


def test_one_that_is_killed_is_started_again(serving):
    """The log says so, the others go on, and the port refuses nobody meanwhile."""
    _, victim = serving.pids()
    ids = serving.start("quick", 10)
    os.kill(victim, signal.SIGKILL)
    ids += serving.start("quick", 10)
    serving.wait_for("process ended")
    (told,) = serving.lines("process ended")
    assert (told["process"], told["code"]) == (2, 137)
    serving.wait_for("ready", COUNT + 1)
    assert serving.lines("ready")[-1]["process"] == 2
    assert serving.outcomes(ids) == {"completed": 20}
    assert len(serving.pids()) == COUNT


async def test_the_processes_end_with_their_parent(serving, tmp_path):
    """However it ends: orphans drain as at SIGTERM, and leave nothing behind."""
    serving.start("slow", 10)
    assert wait_until(serving.is_at_work_everywhere, serving)
    pids = serving.pids()
    os.kill(serving.pid, signal.SIGKILL)
    assert serving.end() == -signal.SIGKILL
    await eventually(lambda: len(serving.lines("stopping")) == COUNT)
    (tmp_path / "go").touch()
    await eventually(lambda: not any(map(is_alive, pids)))
    assert len(serving.lines("stopped")) == COUNT
    assert not list((tmp_path / "own").iterdir())
    assert serving.states() == {"completed": 10}


async def test_a_second_signal_ends_all_at_once(serving, tmp_path):
    """Nothing is waited for: what was begun is taken up by who comes next."""
    serving.start("slow", 10)
    assert wait_until(serving.is_at_work_everywhere, serving)
    pids = serving.pids()
    os.kill(serving.pid, signal.SIGINT)
    serving.wait_for("stopping", COUNT)
    os.kill(serving.pid, signal.SIGINT)
    assert serving.end() == 128 + signal.SIGINT
    await eventually(lambda: not any(map(is_alive, pids)))
    assert not list((tmp_path / "own").iterdir())


def test_what_ends_one_process_at_its_start_ends_all(tmp_path, servers):
    """The first is started alone: its error is told once, with its exit code."""
    (tmp_path / "bad.py").write_text("1 / 0")
    for arguments, code, words in (
        (("bad",), 2, "error: bad: importing it failed"),
        (("--http", "0.0.0.0:0"), 2, "error: http: others can reach 0.0.0.0"),
        (("--store", "postgresql://127.0.0.1:1/x"), 6, "error: "),
    ):
        serve = ("serve", *arguments, "--processes", "2")
        done = saga(*serve, folder=tmp_path, **servers)
        assert done.returncode == code, done.stderr
        assert done.stderr.count(words) == 1, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--store", "sqlite:///saga.db"), "store: one engine runs on a SQLite file"),
        (("--store", "memory://"), "store: memory:// lives in one process"),
        (("--broker", "memory://"), "broker: memory:// lives in one process"),
        (("--processes", "0"), "processes: Input should be greater than"),
        (("--processes", "65"), "processes: Input should be less than"),
        (("--http", "here"), "http: 'here' is no address"),
    ],
)
def test_what_several_processes_cannot_share_is_refused(tmp_path, arguments, words):
    """Before anything is started, in one line that names the setting."""
    given = {"--store": "postgresql://db/saga", "--broker": "amqp://mq/"}
    given |= {"--processes": "2"} | dict([arguments])
    flags = [word for pair in given.items() for word in pair]
    done = saga("serve", *flags, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"error: {words}" in done.stderr
