"""A `saga serve` of its own, as a user runs it: how much memory it takes, and when."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.servers import Servers

READY_SECONDS = 60.0
POLL_SECONDS = 0.2
LOOK_SECONDS = 2.0
FOLDER = Path(__file__).parent.parent


class Served:
    """One orchestrator with the handlers of ``shop``, on servers of its own.

    Args:
        servers: that have the database.
        database: its name.
        pid: of the orchestrator.
    """

    def __init__(self, servers: Servers, database: str, pid: int) -> None:
        self._servers = servers
        self._database = database
        self._pid = pid

    @classmethod
    @contextlib.contextmanager
    def open(cls, servers: Servers, *options: str) -> Iterator[Served]:
        """Start it with these options; drain it in the end.

        Raises:
            RuntimeError: it did not start, or did not end well.
        """
        store = servers.postgres.create_database()
        broker = servers.rabbit.create_vhost()
        saga = [sys.executable, "-m", "saga_orchestrator"]
        migrate = [*saga, "migrate", "--store", store]
        subprocess.run(migrate, check=True, cwd=FOLDER, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            where = ("--store", store, "--broker", broker)
            with log.open("wb") as stderr:
                process = subprocess.Popen(
                    [*saga, "serve", "benchmarks.shop", *where, *options],
                    cwd=FOLDER,
                    stderr=stderr,
                )
            try:
                _wait_until_ready(process, log)
                yield cls(servers, store.rpartition("/")[2], process.pid)
            finally:
                process.terminate()
                code = process.wait(READY_SECONDS)
            if code != 0:
                raise RuntimeError(f"exit code {code}: {log.read_text()[-2000:]}")

    def start(self, name: str, count: int) -> None:
        """Ask for sagas in SQL; it makes them within a second."""
        self.sql(f"SELECT saga_start('{name}') FROM generate_series(1, {count})")

    def wait_for(self, rows: str, count: int, seconds: float) -> None:
        """Return once there are so many rows, and no start waits.

        Args:
            rows: a table with a condition, in SQL.
            count: of them.
            seconds: patience.

        Raises:
            RuntimeError: not in time.
        """
        limit = time.monotonic() + seconds
        while (found := self._count(rows)) != count or self._count("saga_starts"):
            if time.monotonic() > limit:
                raise RuntimeError(f"{found} rows, not {count}: {rows}")
            time.sleep(LOOK_SECONDS)

    def memory_mib(self) -> float:
        """Return how much of it is in memory."""
        text = Path(f"/proc/{self._pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None, "Linux tells it of a process that runs"
        return int(found[1]) / 1024

    def store_mib(self) -> float:
        """Return the size of its database."""
        return int(self.sql("SELECT pg_database_size(current_database())")) / 1024**2

    def sql(self, statement: str) -> str:
        """Run a statement on its database."""
        return self._servers.postgres.execute(statement, self._database)

    def _count(self, rows: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM {rows}"))


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + READY_SECONDS
    while '"ready"' not in log.read_text():
        if process.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"not ready: {log.read_text()[-2000:]}")
        time.sleep(POLL_SECONDS)
