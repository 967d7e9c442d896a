"""A private PostgreSQL server: own folder, own port, fsync on."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import (
    ServerProcess,
    missing_server,
    server_folder,
    wait_until,
)

# initdb and the server refuse root.
SERVER_USER = "postgres" if os.name == "posix" and os.geteuid() == 0 else None


def _binaries() -> Path:
    """Return the folder of initdb and postgres, the newest version first."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3].split(".")[0]),
    )
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    if found is None:
        missing_server("postgresql (initdb)")
    return Path(str(found)).parent


class PostgresServer:
    """One server process with its data; methods block, call them off the loop.

    Attributes:
        port: the TCP port on 127.0.0.1; the same after a restart.
        log: what the server writes, over all its restarts.
    """

    def __init__(
        self, *, standby_of: PostgresServer | None = None, **settings: str
    ) -> None:
        """Make its data.

        Args:
            standby_of: the running server that it copies now, and follows.
            settings: of the server, as ``deadlock_timeout="100ms"``.
        """
        self._settings = settings
        self._binaries = _binaries()
        self._cleanup = contextlib.ExitStack()
        self._folder = self._cleanup.enter_context(server_folder("saga-pg-"))
        self._process: ServerProcess | None = None
        self._names = itertools.count(1)
        self.port = free_port()
        self.log = self._folder / "server.log"
        if SERVER_USER:
            shutil.chown(self._folder, SERVER_USER)
        data = str(self._folder / "data")
        if standby_of is None:
            self._run(
                "initdb",
                *("-D", data, "-U", "postgres"),
                *("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            )
        else:
            self._run(
                "pg_basebackup",
                *("-D", data, "-R", "-c", "fast", "--no-sync"),
                *("-d", standby_of.url("")),
            )

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        while True:
            self._process = ServerProcess(
                [
                    *(str(self._binaries / "postgres"), "-D", f"{self._folder}/data"),
                    *("-p", str(self.port), "-k", str(self._folder)),
                    *("-c", "listen_addresses=127.0.0.1"),
                    *("-c", "max_connections=200"),
                    *("-c", "fsync=on"),
                    *(f"--{name}={value}" for name, value in self._settings.items()),
                ],
                self.log,
                cwd=self._folder,
                user=SERVER_USER,
            )
            if wait_until(self._is_ready, self._process):
                return
            output = self._process.output()
            self._process.kill()
            # After a SIGKILL the old shared memory lives a moment longer.
            if "still in use" not in output[-600:]:
                msg = f"postgres did not start:\n{output}"
                raise RuntimeError(msg)

    def stop(self) -> None:
        """Shut down fast: connections are closed, data is flushed."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)
            self._process = None

    def stop_immediately(self) -> None:
        """Stop as ``pg_ctl -m immediate`` does: the next start has to recover."""
        assert self._process is not None
        self._process.stop(signal.SIGQUIT)
        self._process = None

    def promote(self) -> None:
        """Make a standby take writes."""
        self.execute("SELECT pg_promote(true, 60)")

    def kill(self) -> None:
        """SIGKILL the server and its backends, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process = None

    def restart(self) -> None:
        """Stop, when it still runs, and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP the postmaster: new connections hang."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """SIGSTOP the server and its backends: nothing answers."""
        assert self._process is not None
        self._process.signal_family(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        assert self._process is not None
        self._process.signal_family(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its data."""
        self.stop()
        self._cleanup.close()

    def url(self, database: str) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str | None = None) -> str:
        """Create an empty database, or a copy of ``template``; return its URL.

        Args:
            template: a database's name, without connections to it.
        """
        name = f"test_{next(self._names)}"
        source = f' TEMPLATE "{template}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{source}')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database and cut what is still connected to it."""
        name = url.rpartition("/")[2]
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as superuser through psql; return the rows, unaligned."""
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql,
            self.url(database),
        )  # fmt: skip

    def _is_ready(self) -> bool:
        ready = subprocess.run(
            [
                *(self._binaries / "pg_isready", "-q", "-t", "1"),
                *("-h", "127.0.0.1", "-p", str(self.port)),
            ],
            check=False,
        )
        return ready.returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self._folder,
            user=SERVER_USER,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"{program} failed: {done.stderr}"
            raise RuntimeError(msg)
        return done.stdout.strip()
