"""A private pgbouncer before a private PostgreSQL server."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Self

from tests.support.ports import free_port
from tests.support.postgres import SERVER_USER
from tests.support.processes import (
    ServerProcess,
    missing_server,
    server_folder,
    wait_until,
)

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.postgres import PostgresServer


class PgBouncer:
    """One pgbouncer process; methods block, call them off the loop.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, server: PostgresServer, mode: str, ignored: str = "") -> None:
        """Prepare it.

        Args:
            server: what it stands before.
            mode: ``session`` or ``transaction``.
            ignored: startup parameters that it drops, separated by commas.
        """
        program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
        if program is None:
            missing_server("pgbouncer")
        self._program = str(program)
        self._server = server
        self._cleanup = contextlib.ExitStack()
        self._folder = self._cleanup.enter_context(server_folder("saga-bouncer-"))
        if SERVER_USER:
            shutil.chown(self._folder, SERVER_USER)
        self.port = free_port()
        (self._folder / "pgbouncer.ini").write_text(
            f"""
[databases]
* = host=127.0.0.1 port={server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""
        )

    def __enter__(self) -> Self:
        self._process = ServerProcess(
            [self._program, str(self._folder / "pgbouncer.ini")],
            self._folder / "log",
            cwd=self._folder,
            user=SERVER_USER,
        )
        assert wait_until(self._is_ready, self._process), self._process.output()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stop(signal.SIGTERM)
        self._cleanup.close()

    def through(self, url: str) -> str:
        """Return the URL with its port in place of the server's."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def _is_ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1),
        ):
            return True
        return False
