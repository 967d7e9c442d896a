"""A TCP proxy that breaks connections: cut, refuse, pause, cut at a message."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.support.wire import Message, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Trap:
    """Waits for a message by its name; the first one springs it.

    Attributes:
        sprung: set then.
    """

    def __init__(
        self,
        name: str,
        *,
        from_server: bool,
        cuts: bool = False,
        before: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Describe the trap; ``TcpProxy.set_trap`` sets it.

        Args:
            name: of the message, as a ``Wire`` tells it.
            from_server: which way the message goes.
            cuts: the message is kept, and its connection reset.
            before: makes of the message what is slipped in before it.
        """
        self.name = name
        self.from_server = from_server
        self.cuts = cuts
        self.before = before
        self.sprung = asyncio.Event()

    def is_for(self, message: Message, *, from_server: bool) -> bool:
        """Tell whether a message springs it."""
        asked = (self.name, self.from_server)
        return not self.sprung.is_set() and asked == (message.name, from_server)


class TcpProxy:
    """Forwards to a port on 127.0.0.1, in the event loop of the test.

    Attributes:
        port: where the proxy listens.
        held_bytes: what came in while it was paused.
        turned_away: connections that were reset at once, as nobody was to get through.
    """

    def __init__(
        self,
        target_port: int,
        *other_ports: int,
        wire: Callable[[], Wire] | None = None,
    ) -> None:
        """Prepare the proxy.

        Args:
            target_port: where to.
            other_ports: where to when nobody listens there.
            wire: how to read messages; needed for traps.
        """
        self._target_port = target_port
        self._targets = (target_port, *other_ports)
        self._wire = wire
        self._traps: list[Trap] = []
        self._server: asyncio.Server | None = None
        self._cuts: set[asyncio.Event] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.port = 0
        self.held_bytes = 0
        self.turned_away = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def through(self, url: str) -> str:
        """Return the URL with the proxy's port in place of the server's."""
        return url.replace(f":{self._target_port}", f":{self.port}")

    def cut(self) -> int:
        """Reset every connection; tell how many there were."""
        for cut in self._cuts:
            cut.set()
        return len(self._cuts)

    def refuse(self, *, on: bool) -> None:
        """Reset new connections at once, or stop doing so."""
        self._refusing = on

    def pause(self) -> None:
        """Pass nothing on; connections stay open, as if the network was gone."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on what was held, and what comes."""
        self._flowing.set()

    def set_trap(self, trap: Trap) -> None:
        """Wait for a message, on connections old and new."""
        assert self._wire is not None, "it cannot tell messages apart"
        self._traps.append(trap)

    def take_trap(self, trap: Trap) -> None:
        """Take a trap away, sprung or not."""
        self._traps.remove(trap)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        target = None if self._refusing else await self._connect()
        if target is None:
            self.turned_away += 1
            writer.transport.abort()
            return
        cut = asyncio.Event()
        self._cuts.add(cut)
        wire = self._wire() if self._wire else None
        ends = [
            asyncio.create_task(self._pump(reader, target[1], wire, from_server=False)),
            asyncio.create_task(self._pump(target[0], writer, wire, from_server=True)),
            asyncio.create_task(_as_none(cut)),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self._cuts.discard(cut)
        for end in ends:
            end.cancel()
        writer.transport.abort()
        target[1].transport.abort()

    async def _connect(
        self,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in self._targets:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: Wire | None,
        *,
        from_server: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self._flowing.is_set():
                    self.held_bytes += len(data)
                    await self._flowing.wait()
                if wire is None:
                    writer.write(data)
                else:
                    for message in wire.split(data, from_server=from_server):
                        if not self._pass(message, writer, from_server=from_server):
                            return  # which ends the connection
                await writer.drain()

    def _pass(
        self, message: Message, writer: asyncio.StreamWriter, *, from_server: bool
    ) -> bool:
        """Write a message, unless a trap cuts there; tell whether it was written."""
        for trap in self._traps:
            if not trap.is_for(message, from_server=from_server):
                continue
            trap.sprung.set()
            if trap.cuts:
                return False
            if trap.before is not None:
                writer.write(trap.before(message.data))
        writer.write(message.data)
        return True


async def _as_none(event: asyncio.Event) -> None:
    await event.wait()
