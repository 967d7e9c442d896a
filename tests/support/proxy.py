"""A TCP proxy that breaks connections: cut, refuse, pause."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class TcpProxy:
    """Forwards to a port on 127.0.0.1, in the event loop of the test.

    Attributes:
        port: where the proxy listens.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._cuts: set[asyncio.Event] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.port = 0

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

    def cut(self) -> None:
        """Reset every connection."""
        for cut in self._cuts:
            cut.set()

    def refuse(self, *, on: bool) -> None:
        """Reset new connections at once, or stop doing so."""
        self._refusing = on

    def pause(self) -> None:
        """Pass nothing on; connections stay open, as if the network was gone."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on what was held, and what comes."""
        self._flowing.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            target = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        cut = asyncio.Event()
        self._cuts.add(cut)
        ends = [
            asyncio.create_task(self._pump(reader, target[1])),
            asyncio.create_task(self._pump(target[0], writer)),
            asyncio.create_task(_as_none(cut)),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self._cuts.discard(cut)
        for end in ends:
            end.cancel()
        writer.transport.abort()
        target[1].transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


async def _as_none(event: asyncio.Event) -> None:
    await event.wait()
