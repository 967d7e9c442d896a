"""A private RabbitMQ node: own name, ports, folders, cookie and epmd."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.processes import (
    ServerProcess,
    missing_server,
    server_folder,
    wait_until,
)

# Debian's wrapper in PATH refuses other users and has a cookie of its own.
_DEBIAN = Path("/usr/lib/rabbitmq/bin")
_VHOSTS_AT_ONCE = 10  # one rabbitmqctl call costs as much as ten vhosts

_CREATE_VHOSTS = """
lists:foreach(fun(V) ->
    rabbit_vhost:add(V, <<"test">>),
    rabbit_auth_backend_internal:set_permissions(
        <<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"test">>)
end, [{names}]).
"""


# Only the seed is named: it forms a cluster of one, and the others find it there.
_JOIN = """cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {seed}
"""


def _program(name: str) -> str:
    debian = _DEBIAN / name
    found = str(debian) if debian.exists() else shutil.which(name)
    if found is None or shutil.which("epmd") is None:
        missing_server(f"rabbitmq ({name})")
    return str(found)


class RabbitServer:
    """One broker node with its data; methods block, call them off the loop.

    Attributes:
        port: the AMQP port on 127.0.0.1; the same after a restart.
        name: the node's.
        log: what the node writes, over all its restarts.
    """

    def __init__(self, seed: RabbitServer | None = None, *, config: str = "") -> None:
        """Make its configuration.

        Args:
            seed: a running node, whose cluster this one joins at its first start;
                it must be closed last.
            config: lines for rabbitmq.conf; the test's own win.
        """
        self._server = _program("rabbitmq-server")
        self._ctl = _program("rabbitmqctl")
        self._cleanup = contextlib.ExitStack()
        self._folder = self._cleanup.enter_context(server_folder("saga-mq-"))
        self._names = itertools.count(1)
        self._vhosts: list[str] = []
        self._epmd: ServerProcess | None = None
        self._process: ServerProcess | None = None
        self._seed = seed
        self._config = config
        self.port = free_port()
        self.name = f"test{self.port}@localhost"
        self.log = self._folder / "server.log"
        self._environment: dict[str, str] = self._configure(
            int(seed._environment["ERL_EPMD_PORT"]) if seed else free_port()
        )

    def _configure(self, epmd_port: int) -> dict[str, str]:
        folder = self._folder
        joins = ""
        if self._seed:
            shutil.copy(self._seed._folder / ".erlang.cookie", folder)
            joins = _JOIN.format(seed=self._seed.name)
        (folder / "rabbitmq.conf").write_text(
            f"{self._config}\n"
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"{joins}"
            "disk_free_limit.absolute = 10MB\n"
            "log.console.level = warning\n"
            "log.file = false\n"
            "log.console = true\n"
        )
        (folder / "plugins").write_text("[].\n")
        (folder / "env.conf").touch()
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(epmd_port),
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the node itself
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # One whose folder is gone would dump into the folder of the tests.
            "ERL_CRASH_DUMP_SECONDS": "0",
            # Two cores are shared by everything: no busy waiting schedulers.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 2:2",
        }

    def start(self) -> None:
        """Start the node and wait until it speaks AMQP."""
        if self._epmd is None and self._seed is None:
            self._epmd = ServerProcess(
                [
                    *("epmd", "-address", "127.0.0.1"),
                    *("-port", self._environment["ERL_EPMD_PORT"]),
                ],
                self._folder / "epmd.log",
            )
        self._process = ServerProcess([self._server], self.log, env=self._environment)
        if not wait_until(self._is_ready, self._process):
            msg = f"rabbitmq did not start:\n{self._process.output()}"
            raise RuntimeError(msg)

    def stop(self) -> None:
        """Shut down in order."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM)
            self._process = None

    def kill(self) -> None:
        """SIGKILL the node, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process = None

    def restart(self) -> None:
        """Stop, when it still runs, and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP the node: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The node's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether the node was started, and has not ended."""
        return self._process is not None and self._process.is_running

    @property
    def is_paused(self) -> bool:
        """Tell whether ``pause`` worked."""
        return self._process is not None and self._process.is_stopped

    def close(self) -> None:
        """Stop the node and its epmd; remove its data."""
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd = None
        self._cleanup.close()

    def url(self, vhost: str = "%2F", login: str = "guest:guest") -> str:
        """Return the AMQP address of a vhost of this node."""
        return f"amqp://{login}@127.0.0.1:{self.port}/{vhost}"

    def create_vhost(self) -> str:
        """Return the AMQP address of a fresh vhost."""
        if not self._vhosts:
            self._vhosts = [f"test{next(self._names)}" for _ in range(_VHOSTS_AT_ONCE)]
            names = ", ".join(f'<<"{name}">>' for name in self._vhosts)
            self.rabbitmqctl("eval", _CREATE_VHOSTS.format(names=names))
        return self.url(self._vhosts.pop(0))

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this node; return what it printed."""
        done = subprocess.run(
            [self._ctl, "--quiet", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"rabbitmqctl {arguments} failed: {done.stdout}{done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def queues(self, url: str, *columns: str) -> list[dict[str, Any]]:
        """List the queues of the vhost of ``url``: name, messages and ``columns``."""
        return self._list("queues", "-p", vhost_of(url), "name", "messages", *columns)

    def ghosts(self, url: str) -> set[str]:
        """Name the consumers in the vhost of ``url`` whose channels are gone."""
        consumers = self._list("consumers", "-p", vhost_of(url))
        channels = {channel["pid"] for channel in self._list("channels", "pid")}
        return {
            f"{one['queue_name']}: {one['consumer_tag']}"
            for one in consumers
            if one["channel_pid"] not in channels
        }

    def _list(self, things: str, *arguments: str) -> list[dict[str, Any]]:
        listed = self.rabbitmqctl(f"list_{things}", "--formatter", "json", *arguments)
        rows: list[dict[str, Any]] = json.loads(listed)
        return rows

    def delete_queue(self, url: str, queue: str) -> None:
        """Delete a queue behind the back of its consumers."""
        self.rabbitmqctl("delete_queue", "-p", vhost_of(url), queue)

    def flush_new_queues(self) -> None:
        """Make new quorum queues survive a kill from now on.

        RabbitMQ 3.10 writes the name of a new quorum queue to disk up to some
        seconds late (Ra's dets directory); killed before that, it has the queue
        and cannot start it. Confirmed messages in older queues are not at risk.
        """
        self.rabbitmqctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()].")

    def close_connections(self, reason: str = "closed by the test") -> None:
        """Close every client connection, as an administrator would.

        Without ``--global`` it would be those to the vhost ``/``.
        """
        self.rabbitmqctl("close_all_connections", "--global", reason)

    def set_memory_alarm(self, *, on: bool) -> None:
        """Raise or clear the memory alarm, which blocks publishing connections."""
        self.rabbitmqctl("set_vm_memory_high_watermark", "0" if on else "0.4")

    def _is_ready(self) -> bool:
        """Tell whether the node answers the AMQP handshake."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as connection,
        ):
            connection.settimeout(5)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
        return False


def vhost_of(url: str) -> str:
    """Return the vhost in an AMQP address."""
    return url.rpartition("/")[2].replace("%2F", "/")
