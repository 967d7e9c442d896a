"""What every served process shows: whether it works, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import Request

from saga_orchestrator.api.access import Caller
from saga_orchestrator.api.readiness import Readiness
from saga_orchestrator.api.siblings import Family
from saga_orchestrator.ports.keys import Role


class Admission(Protocol):
    """Decides who may call."""

    async def admit(self, request: Request, role: Role) -> Caller:
        """Return the caller of a request that needs the role.

        Raises:
            Problem: they may not.
        """
        ...

    async def still_admits(self, request: Request, role: Role) -> bool:
        """Return whether the caller of an admitted request would be let in again.

        It is not counted as a request.
        """
        ...

    async def admit_to_reasons(self, request: Request) -> Caller:
        """Return the caller who wants to know why a part is down.

        Raises:
            Problem: they may not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Door:
    """What can be asked of a process, whatever it does.

    Attributes:
        access: who may call.
        readiness: whether the parts work.
        family: all processes with this address, and their metrics.
    """

    access: Admission
    readiness: Readiness
    family: Family

    def drain(self) -> None:
        """Be not ready any more."""
        self.readiness.is_draining = True


def door_of(request: Request) -> Door:
    """Return the door that a request came to."""
    door: Door = request.app.state.face
    return door


async def _door(request: Request) -> Door:
    return door_of(request)


TheDoor = Annotated[Door, Depends(_door)]
