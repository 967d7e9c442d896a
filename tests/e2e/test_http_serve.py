"""`saga serve --http` as a process: what it refuses, how it stops, what it logs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SAGA = [sys.executable, "-m", "saga_orchestrator"]
SECONDS = 60

SHOP = '''
"""A step that lasts until a file appears."""
import asyncio
from pathlib import Path
from saga_orchestrator import Handlers, SagaDefinition, Step

slow = SagaDefinition("slow", steps=[Step("wait", action="slow.wait")])
service = Handlers("slow")


@service.step("slow.wait")
async def wait(ctx):
    Path("begun").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return "waited"
'''

pytestmark = pytest.mark.slow


class Serve(ServerProcess):
    """A `saga serve` in a folder of its own, and a client of it."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        (folder / "shop.py").write_text(SHOP)
        self.log = folder / "serve.log"
        command = [*SAGA, "serve", "shop", "--store", "sqlite:///saga.db", *arguments]
        super().__init__(command, self.log, cwd=folder, env=os.environ | environment)

    def url(self) -> str:
        """Wait until it serves; return where."""
        assert wait_until(lambda: '"ready"' in self.log.read_text(), self), (
            self.output()
        )
        found = re.search(r'"url": "(\S+)"', self.log.read_text())
        assert found, self.output()
        return found[1]

    def ended(self) -> int:
        """Wait for its end; return its exit code."""
        code: int = self._process.wait(SECONDS)
        return code


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serve]:
    """One that serves on a free port."""
    server = Serve(tmp_path, "--http", "127.0.0.1:0")
    yield server
    server.kill()


def test_it_is_not_ready_while_it_drains_and_then_ends_with_0(serving, tmp_path):
    """From SIGTERM on /readyz is 503; who waits is let go; what runs is finished."""
    url = serving.url()
    with httpx.Client(base_url=url, timeout=SECONDS) as client:
        saga = client.post("/v1/sagas", json={"name": "slow"}).json()
        assert wait_until((tmp_path / "begun").exists, serving)
        with client.stream("GET", f"/v1/sagas/{saga['id']}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1"
            serving.signal(signal.SIGTERM)
            rest = list(lines)  # it ends, though the saga does not
        assert "event: end" not in rest
        assert rest[-1] == ""
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "[-]process stopping" in ready.text
        assert client.get("/livez").status_code == 200
        started = client.get(f"/v1/sagas/{saga['id']}/wait")
        assert (started.status_code, started.json()["state"]) == (202, "started")
        (tmp_path / "go").touch()
    assert serving.ended() == 0
    shown = subprocess.run(
        [*SAGA, "get", saga["id"], "--store", "sqlite:///saga.db", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(shown.stdout)["state"] == "completed"
    assert "Traceback" not in serving.log.read_text()


def test_a_second_signal_ends_it_at_once(serving, tmp_path):
    """The server does not keep the signals to itself."""
    with httpx.Client(base_url=serving.url(), timeout=SECONDS) as client:
        client.post("/v1/sagas", json={"name": "slow"})
        assert wait_until((tmp_path / "begun").exists, serving)
        serving.signal(signal.SIGINT)
        assert wait_until(lambda: '"stopping"' in serving.log.read_text(), serving)
        serving.signal(signal.SIGINT)
    assert serving.ended() == 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--http", "0.0.0.0:0"),
            "others can reach 0.0.0.0, and there are no API keys",
        ),
        (("--http", "here"), "http: 'here' is no address; use HOST:PORT"),
    ],
)
def test_what_it_refuses(tmp_path, arguments, words):
    """An address that others can reach without keys, or none: code 2, in a line."""
    server = Serve(tmp_path, *arguments)
    try:
        assert server.ended() == 2
    finally:
        server.kill()
    assert f"error: http: {words.removeprefix('http: ')}" in server.output()
    assert "Traceback" not in server.output()


def test_keys_that_are_made_and_revoked_while_it_runs(serving, tmp_path):
    """The command works on the store; the server knows at once."""
    with httpx.Client(base_url=serving.url(), timeout=SECONDS) as client:
        assert client.get("/v1/sagas").status_code == 200

        def keys(*arguments: str) -> str:
            done = subprocess.run(
                [*SAGA, "keys", *arguments, "--store", "sqlite:///saga.db"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            return done.stdout.strip()

        key = keys("new", "shop", "--role", "start")
        shown = {"Authorization": f"Bearer {key}"}
        assert client.get("/v1/sagas").status_code == 401
        assert client.get("/v1/sagas", headers=shown).status_code == 200
        keys("revoke", "shop")
        assert client.get("/v1/sagas", headers=shown).status_code == 401
        assert key not in serving.log.read_text()


def test_a_broker_from_a_file_and_no_password_anywhere(tmp_path):
    """Away from the start it is named as the part that is down, without its secret."""
    (tmp_path / "secret").write_text("amqp://saga:hunter2@127.0.0.1:1/")
    secret = str(tmp_path / "secret")
    server = Serve(tmp_path, "--http", "127.0.0.1:0", SAGA_BROKER_FILE=secret)
    try:
        ready = httpx.get(f"{server.url()}/readyz?verbose=1", timeout=SECONDS)
        assert ready.status_code == 503
        assert "[-]broker " in ready.text
        assert "127.0.0.1:1" in ready.text
        assert "hunter2" not in ready.text
        assert "hunter2" not in server.log.read_text()
    finally:
        server.kill()
