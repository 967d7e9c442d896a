"""Connections of clients: who connects and asks nothing is hung up on.

The number of connections is bounded, so those would keep out everybody else, probes
too, and whoever restarts what does not answer its probes would restart us.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For a request's line and headers, from the connection, or from their first byte."""


class Connection(H11Protocol):
    """A connection on which a request must come within a time.

    The server bounds the silence between two requests itself, and routes the body.
    """

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override]  # as the class does that it extends
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; if its head is not whole, wait for the rest."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._hang_up is None:
            self._hang_up = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
