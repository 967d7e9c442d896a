"""One connection to RabbitMQ that mends itself.

aio-pika's own robust connection is not used: it restores channels on its own
terms, hangs publishes while it is away, and says nothing of a consumer that it
cannot restore. Here each user of a link watches its own channel instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import aio_pika
from yarl import URL

from saga_orchestrator.brokers.rabbitmq.failures import (
    is_refusal,
    translated,
    unavailable,
)
from saga_orchestrator.brokers.rabbitmq.transport import GuardedTransport
from saga_orchestrator.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
)
from saga_orchestrator.telemetry.metrics import RECONNECTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from aiormq import Channel
    from aiormq.abc import AbstractChannel, AbstractConnection

    from saga_orchestrator.ports.clock import Clock


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds.

    Attributes:
        publish: one publish, the wait for the connection included.
        call: any other exchange with the broker, likewise.
        check: the pause between two looks at connection and queues.
        reconnect: the pause before a lost connection or consumer is restored.
        heartbeat: the AMQP heartbeat; a silent peer is given up after three.
    """

    publish: float
    call: float
    check: float
    reconnect: float
    heartbeat: int


class Link:
    """A named connection; ``keep_open`` must run beside it."""

    def __init__(self, url: str, name: str, timing: Timing, clock: Clock) -> None:
        self._url = url
        self._name = name
        self._timing = timing
        self._clock = clock
        self._connection: aio_pika.Connection | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._problem: str | None = "not opened"
        self._is_blocked = False
        self._is_closed = False

    @property
    def problem(self) -> str | None:
        """Say what is wrong with the connection now; None when it is well."""
        if self._is_blocked:
            return (
                f"{self._name} connection: blocked by the broker "
                "(its memory or disk alarm is on)"
            )
        return self._problem and f"{self._name} connection: {self._problem}"

    @property
    def is_up(self) -> bool:
        """Tell whether there is a connection, as far as is known."""
        return self._ready.is_set() and not self._is_closed

    async def open(self, patience: float) -> None:
        """Connect for the first time; try again while nobody answers.

        Args:
            patience: seconds to go on trying.

        Raises:
            BrokerUnavailableError: nobody answered in that time, or the broker
                refused the login or the virtual host.
        """
        deadline = self._clock.monotonic() + patience
        while True:
            try:
                await self._connect()
            except BrokerUnavailableError as error:
                left = deadline - self._clock.monotonic()
                if left <= 0 or is_refusal(error.__cause__):
                    raise
                await self._clock.sleep(min(left, self._timing.reconnect))
            else:
                return

    async def keep_open(self) -> None:
        """Connect again whenever the connection is lost; never returns."""
        while True:
            if self._lost.is_set():
                await self._clock.sleep(self._timing.reconnect)
                try:
                    await self._connect()
                except BrokerUnavailableError:
                    continue
                except Exception:  # noqa: BLE001 - the library raises what it likes
                    # Whoever answers there may send anything, and the client library
                    # fails on it in ways of its own. Without this loop it would be
                    # the last connection of the process.
                    _log.exception("the %s connection cannot be made", self._name)
                    continue
                RECONNECTS.labels(self._name).inc()
            else:
                await self._look()
                await in_time(self._lost.wait(), self._timing.check)

    async def channel(self) -> Channel:
        """Wait for the connection and open a channel on it.

        Channels confirm publishes and raise what is returned as unroutable.
        The caller bounds the time and closes the channel.

        Raises:
            BrokerUnavailableError: the link was closed.
        """
        while True:
            await self._ready.wait()
            if self._is_closed:
                raise BrokerUnavailableError("the broker handle is closed")
            wire = self._wire()
            if wire is not None:
                # Annotated as AbstractChannel, which hides basic_publish(wait=).
                return cast("Channel", await wire.channel(on_return_raises=True))
            self._mark_lost()

    @contextlib.asynccontextmanager
    async def scratch_channel(self, doing: str) -> AsyncIterator[AbstractChannel]:
        """Lend a channel for a few calls: an error closes it and nothing else.

        Args:
            doing: what is under way, for the error.

        Raises:
            TopologyError: the broker has the thing with other arguments.
            BrokerUnavailableError: no connection, or no answer in time.
        """
        with translated(doing):
            async with asyncio.timeout(self._timing.call):
                channel = await self.channel()
                try:
                    yield channel
                finally:
                    with contextlib.suppress(BrokerError), translated("closing"):
                        await channel.close()

    async def close(self) -> None:
        """Close the connection; a blocked or a dead one is let go of."""
        self._problem = "closed"
        self._is_closed = True
        self._ready.set()  # who waits for a connection learns that none comes
        await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(BrokerError), translated("closing"):
                async with asyncio.timeout(self._timing.call):
                    await connection.close()

    async def _connect(self) -> None:
        self._mark_lost()
        await self._let_go()
        try:
            with translated("connecting"):
                connection = await self._new_connection()
        except BrokerError as error:
            cause = error.__cause__ or error
            refused = unavailable(self._url, cause)
            self._problem = str(refused)
            raise refused from cause
        self._connection = connection
        self._problem = None
        self._lost.clear()
        self._ready.set()
        connection.close_callbacks.add(self._on_close)

    async def _new_connection(self) -> aio_pika.Connection:
        url = URL(self._url)
        if "heartbeat" not in url.query:  # the user's own wins
            url = url.update_query(heartbeat=self._timing.heartbeat)
        connection = aio_pika.Connection(
            url, client_properties={"connection_name": f"saga {self._name}"}
        )
        connection.kwargs["transport_factory"] = GuardedTransport(url)
        try:
            await connection.connect(timeout=self._timing.call)
        except BaseException:
            # Left open, its destructor would close it, in whatever loop runs then.
            await connection.close()
            raise
        return connection

    def _on_close(
        self, connection: object, _error: BaseException | None = None
    ) -> None:
        if connection is self._connection:
            self._mark_lost()

    def _mark_lost(self) -> None:
        if self._problem is None:
            self._problem = "lost, connecting again"
        self._is_blocked = False
        self._ready.clear()
        self._lost.set()

    async def _look(self) -> None:
        """Note whether the broker has blocked the connection."""
        wire = self._wire()
        if wire is None:
            self._mark_lost()
        else:
            # ready() waits while the connection is blocked; zero seconds
            # make a question of it
            self._is_blocked = not await in_time(wire.ready(), 0)

    def _wire(self) -> AbstractConnection | None:
        """Return the connection below aio-pika's, unless it is closed."""
        if self._connection is None or self._connection.transport is None:
            return None
        wire = self._connection.transport.connection
        return None if wire.is_closed else wire


async def in_time(work: Awaitable[object], seconds: float) -> bool:
    """Await the work, or cancel it after so many seconds; tell which."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


def check_url(url: str) -> None:
    """Refuse a URL that names no broker, before anything is connected.

    Raises:
        ConfigurationError: says what is wrong with it, and what one looks like.
    """
    example = "write amqp://user:password@host:5672/vhost"
    try:
        parsed = URL(url)
        host, _ = parsed.host, parsed.port  # both are parsed when asked for
    except ValueError as error:
        raise ConfigurationError(f"broker: {error}; {example}") from error
    if not host:
        raise ConfigurationError(f"broker: the URL names no host; {example}")
