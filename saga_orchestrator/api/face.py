"""What all routes share: the manager, who may call, what is going on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from saga_orchestrator.api.access import Caller
from saga_orchestrator.api.door import Door
from saga_orchestrator.api.problems import RETRY_SECONDS, Problem
from saga_orchestrator.api.searches import Searches
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.manager import Manager

SEATS_MAX = 200
"""Clients that may wait, or follow a saga, at the same time."""


class Seats:
    """A bounded number of places for those who wait, or follow a saga.

    Attributes:
        is_closing: the process stops; nobody is to wait any longer.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._waiting: set[asyncio.Timeout] = set()
        self.is_closing = False

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken

    def take(self) -> None:
        """Take a seat; ``leave`` gives it back.

        Raises:
            Problem: every seat is taken.
        """
        if self._taken >= self._most:
            raise Problem(
                "busy",
                f"{self._most} clients wait already; ask again later",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self._taken += 1

    def leave(self) -> None:
        """Give a seat back."""
        self._taken -= 1

    @asynccontextmanager
    async def waiting(self, seconds: float) -> AsyncIterator[None]:
        """Take a seat for so many seconds at most, and no longer than ``close``.

        Raises:
            Problem: every seat is taken.
            TimeoutError: the time is over, or the process stops.
        """
        self.take()
        try:
            async with asyncio.timeout(0 if self.is_closing else seconds) as until:
                self._waiting.add(until)
                try:
                    yield
                finally:
                    self._waiting.discard(until)
        finally:
            self.leave()

    def close(self) -> None:
        """End the waiting of all, now and from now on."""
        self.is_closing = True
        for until in self._waiting:
            if not until.expired():  # else its time is over, and it is on its way out
                until.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class Face(Door):
    """What the API is a face of.

    Attributes:
        manager: what does everything that is asked for.
        seats: of those who wait for a saga.
        streams: of those who follow one.
        searches: turns of those for whom many sagas are looked at.
        stale_after: after how long sagas that wait are stale.
        clock: what pauses are waited on.
    """

    manager: Manager
    seats: Seats
    streams: Seats
    searches: Searches
    stale_after: StaleAfter
    clock: Clock

    def drain(self) -> None:
        """Be not ready any more, and let nobody wait any longer."""
        Door.drain(self)  # super() is not the new class's, with slots
        self.seats.close()
        self.streams.close()


def face_of(request: Request) -> Face:
    """Return the face that a request came to."""
    face: Face = request.app.state.face
    return face


def caller_of(request: Request) -> Caller:
    """Return who calls; ``SecuredRoute`` has put it there."""
    caller: Caller = request.state.caller
    return caller


async def _manager(request: Request) -> Manager:
    return face_of(request).manager


async def _face(request: Request) -> Face:
    return face_of(request)


async def _principal(request: Request) -> str:
    return caller_of(request).name


TheManager = Annotated[Manager, Depends(_manager)]
TheFace = Annotated[Face, Depends(_face)]
Principal = Annotated[str, Depends(_principal)]
