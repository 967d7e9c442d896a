"""A `saga serve --processes` in a folder of its own, and what can be asked of it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.families import children_of
from tests.support.ports import free_port
from tests.support.processes import ServerProcess, wait_until
from tests.support.saga_command import SAGA, environment, saga

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 2
SECONDS = 60

SHOP = '''
"""A step that is done at once, and one that lasts until a file appears."""
import asyncio
import os
from pathlib import Path
from saga_orchestrator import Handlers, SagaDefinition, Step

quick = SagaDefinition("quick", steps=[Step("do", action="shop.do")])
slow = SagaDefinition("slow", steps=[Step("wait", action="shop.wait")])
service = Handlers("shop")


@service.step("shop.do")
async def do(ctx):
    """Be done."""


@service.step("shop.wait")
async def wait(ctx):
    Path(f"begun-{os.getpid()}").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.02)
'''


class Processes(ServerProcess):
    """The parent; its temporary files are in ``own``.

    Args:
        folder: to run in.
        servers: the settings that name store and broker.
        arguments: more options.

    Attributes:
        url: where it answers.
    """

    def __init__(self, folder: Path, servers: dict[str, str], *arguments: str) -> None:
        (folder / "shop.py").write_text(SHOP)
        (folder / "own").mkdir()
        self._folder, self._servers = folder, servers
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        address = ("--http", f"127.0.0.1:{port}", "--processes", str(COUNT))
        super().__init__(
            [*SAGA, "serve", "shop", *address, *arguments],
            folder / "serve.log",
            cwd=folder,
            env=environment(
                TMPDIR=str(folder / "own"), SAGA_LOG_FORMAT="json", **servers
            ),
        )

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = self._log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def wait_for(self, event: str, times: int = 1) -> None:
        """Return when the log has an event so often."""
        assert wait_until(lambda: len(self.lines(event)) >= times, self), self.output()

    def pids(self) -> list[int]:
        """Return the processes that work for it."""
        return children_of(self.pid, "saga_orchestrator.cli.replica")

    def get(self, path: str) -> httpx.Response:
        """Ask over a connection of its own: any process may answer."""
        return httpx.get(f"{self.url}{path}", timeout=SECONDS, verify=False)

    def start(self, name: str, count: int) -> list[str]:
        """Start sagas, each asked for over a connection of its own."""
        ids = []
        for _ in range(count):
            answer = httpx.post(
                f"{self.url}/v1/sagas",
                json={"name": name},
                timeout=SECONDS,
                verify=False,  # it would load certificates each time
            )
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["id"])
        return ids

    def outcomes(self, ids: list[str]) -> Counter[str]:
        """Wait until sagas are at rest; return how many are in each state."""
        ends = [self.get(f"/v1/sagas/{one}/wait?timeout=50") for one in ids]
        return Counter(end.json()["state"] for end in ends)

    def states(self) -> Counter[str]:
        """Return how many sagas of the store are in each state, without a server."""
        listed = saga("list", "--json", folder=self._folder, **self._servers)
        lines = map(json.loads, listed.stdout.splitlines())
        return Counter(line["state"] for line in lines)

    def is_at_work_everywhere(self) -> bool:
        """Tell whether a slow step runs in each process."""
        return len(list(self._folder.glob("begun-*"))) == COUNT

    def end(self) -> int:
        """Wait for the end of the parent; return its exit code."""
        code: int = self._process.wait(SECONDS)
        return code

    def close(self) -> None:
        """Kill what is left."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.kill()
