"""Opening something that must be stopped and closed: by ``with`` or ``await``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, NoReturn, Protocol, TypeVar


class Stoppable(Protocol):
    """Something that drains with ``stop`` and lets go with ``close``."""

    async def stop(self) -> None:
        """Finish what has begun."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


T = TypeVar("T", bound=Stoppable)


class Opening(Generic[T]):
    """What ``open`` returns: await it, or enter it and have it closed."""

    def __init__(self, opener: Callable[[], Awaitable[T]]) -> None:
        self._opener = opener
        self._opened: T | None = None

    def __getattr__(self, name: str) -> NoReturn:
        """Tell who forgot to open what ``open`` returned."""
        raise AttributeError(
            f"{name!r}: this is not open yet; write `async with ….open(…) as it:` or "
            "`await ….open(…)`"
        )

    def __await__(self) -> Generator[Any, None, T]:
        return self._opener().__await__()

    async def __aenter__(self) -> T:
        self._opened = await self._opener()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._opened is not None, "entered before it is left"
        try:
            if error is None:
                await self._opened.stop()
        finally:
            await self._opened.close()
