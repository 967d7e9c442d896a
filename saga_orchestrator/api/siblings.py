"""The processes of one `saga serve`, as one of them sees the others.

They share the port, so a request comes to any of them. Most can be answered by that
one, for all truth is in the store. How the others are, and what they count, it asks
them: each answers on a socket in a folder that is theirs alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from saga_orchestrator.api.readiness import Part, Readiness
from saga_orchestrator.telemetry.families import exposition_of, families

ANSWER_SECONDS = 3.0
"""A store that does not answer takes the other two seconds to find out."""

Question = Literal["parts", "metrics"]


class Family(Protocol):
    """All processes that are behind one address."""

    async def exposition(self) -> bytes:
        """Return the metrics of all, in Prometheus' text format."""
        ...

    async def others(self) -> list[Part]:
        """Return the other processes as parts, and what is wrong with each."""
        ...


class Alone:
    """A process that has its address for itself.

    Args:
        exposition: its metrics.
    """

    def __init__(self, exposition: Callable[[], bytes]) -> None:
        self._exposition = exposition

    async def exposition(self) -> bytes:
        """Return this process's metrics."""
        return self._exposition()

    async def others(self) -> list[Part]:
        """Return nothing."""
        return []


class Siblings:
    """One of several processes with one address.

    Args:
        folder: with a socket for each; nobody else may enter it.
        number: of this process.
        count: of all; their numbers begin with 1.
    """

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self._folder = folder
        self._number = number
        self._numbers = range(1, count + 1)

    @contextlib.asynccontextmanager
    async def answering(self, readiness: Readiness) -> AsyncIterator[None]:
        """Answer the others while inside.

        Args:
            readiness: of this process.
        """

        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with contextlib.closing(writer), contextlib.suppress(ConnectionError):
                asked = await reader.read()
                said = families() if asked == b"metrics" else await _state(readiness)
                writer.write(json.dumps(said).encode())
                await writer.drain()

        async with await asyncio.start_unix_server(answer, self._place(self._number)):
            yield

    async def exposition(self) -> bytes:
        """Return the metrics of all that answer."""
        found = {self._number: families(), **await self._ask_others("metrics")}
        return exposition_of(dict(sorted(found.items())))

    async def others(self) -> list[Part]:
        """Return the other processes as parts.

        One that does not answer takes no requests either, and is being started
        again: that is a remark. One that is not ready may get the next request.
        """
        found = await self._ask_others("parts")
        return [_part(number, state) for number, state in sorted(found.items())]

    async def _ask_others(self, question: Question) -> dict[int, Any]:
        numbers = [number for number in self._numbers if number != self._number]
        said = await asyncio.gather(*(self._ask(one, question) for one in numbers))
        return dict(zip(numbers, said, strict=True))

    async def _ask(self, number: int, question: Question) -> Any:  # noqa: ANN401 - JSON
        """Return what a process says; None: it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                place = self._place(number)
                reader, writer = await asyncio.open_unix_connection(place)
                with contextlib.closing(writer):
                    writer.write(question.encode())
                    writer.write_eof()
                    return json.loads(await reader.read())
        except (OSError, ValueError):  # ValueError: it died while it spoke
            return None

    def _place(self, number: int) -> Path:
        return self._folder / str(number)


async def _state(readiness: Readiness) -> list[str]:
    """Return why a process is not ready, as the others are told."""
    parts = await readiness.parts()
    why = [problem for part in parts if part.is_down for problem in part.problems]
    return [*why, "it stops"] if readiness.is_draining else why


def _part(number: int, problems: list[str] | None) -> Part:
    name = f"process {number}"
    if problems is None:
        return Part(name, ("no answer",), is_remark=True, short="no answer")
    return Part(name, tuple(problems))
