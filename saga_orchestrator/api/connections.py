"""Connections of clients: who keeps one and does nothing with it is hung up on.

The number of connections is bounded, so those would keep out everybody else, probes
too, and whoever restarts what does not answer its probes would restart us.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For a request's line and headers, from the connection, or from their first byte.

As long has the rest of a body that nobody waits for, from the answer.
"""
READ_SECONDS = 30.0
"""So long may a client read less than ``READ_BYTES`` of what it is sent."""
READ_BYTES = 64 * 1024


class Connection(H11Protocol):
    """A connection on which a request must come, and its answer be read, within a time.

    The server bounds the silence between two requests itself, and routes the body.
    """

    _hang_up: asyncio.TimerHandle | None = None
    _awaited: object = None
    """What the client is to send: the state of its side, ``None`` if nothing."""
    _abort: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override]  # as the class does that it extends
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # Writing is paused as soon as anything is left: all that a client does not read
        # counts, also what would fit below a mark, or is left when we close.
        transport.set_write_buffer_limits(high=0)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; if its head is not whole, wait for the rest."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the rest of the body, if any."""
        super().on_response_complete()
        # The silence until the next request has a limit already, but a rest that
        # trickles in is no silence. It is not cut off at once: a client that is still
        # sending would find the connection broken, and not read its answer.
        if self.conn.their_state is h11.SEND_BODY:
            self._watch()

    def pause_writing(self) -> None:
        """Wait until the client has read."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Go on: all was read."""
        super().resume_writing()
        self._unwatch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._unwatch()
        self._unwatch_reader()

    def _watch(self) -> None:
        awaited = self._find_awaited()
        if awaited is not self._awaited:
            self._unwatch()
        if awaited is not None and self._hang_up is None:
            self._awaited = awaited
            self._hang_up = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _find_awaited(self) -> object:
        state = self.conn.their_state
        is_late = state is h11.SEND_BODY and self.cycle.response_complete
        return state if state is h11.IDLE or is_late else None

    def _unwatch(self) -> None:
        self._awaited = None
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None

    def _watch_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._abort = self.loop.call_later(READ_SECONDS, self._check_reader, unread)

    def _check_reader(self, before: int) -> None:
        # Whoever reads a large answer over a slow line is not cut off. To close would
        # be to wait for the same client until all is sent, for ever.
        if self.transport.get_write_buffer_size() > before - READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()

    def _unwatch_reader(self) -> None:
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
