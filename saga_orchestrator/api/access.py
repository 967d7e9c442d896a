"""Who calls, and whether they may.

A caller shows an API key as ``Authorization: Bearer``. On a loopback address, and as
long as no key was ever made, whoever is on the machine may do everything.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import Request

from saga_orchestrator.api.address import is_loopback
from saga_orchestrator.api.problems import Problem
from saga_orchestrator.api.rates import RateLimit
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.keys import ApiKeys, Role
from saga_orchestrator.runtime.api_keys import digest_of, recognise

KEY_CHARS_MAX = 200
REMEMBERED_MAX = 10_000
"""Keys that are known to be good; the one unseen for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: the key's; histories name it as the principal.
        role: what the key is good for.
    """

    name: str
    role: Role


LOCAL = Caller("local", Role.ADMIN)
"""Whoever is on the machine, where there are no keys."""


class Access:
    """Admits callers, or says why not."""

    def __init__(self, keys: ApiKeys, limit: RateLimit, *, is_loopback: bool) -> None:
        self._keys = keys
        self._limit = limit
        self._is_loopback = is_loopback
        self._admitted: OrderedDict[str, Caller] = OrderedDict()

    async def admit(self, request: Request, role: Role) -> Caller:
        """Return the caller of a request that needs the role.

        Raises:
            Problem: no key, a wrong or revoked one, too low a role, too often.
            StoreError: the keys cannot be read; nobody is admitted.
        """
        return await self._admit(request, role, also_without_store=False)

    async def still_admits(self, request: Request, role: Role) -> bool:
        """Return whether the caller of an admitted request would be let in again.

        It is not counted as a request.

        Raises:
            StoreError: the keys cannot be read.
        """
        caller = await self._caller(request)
        return caller is not None and caller.role.rank >= role.rank

    async def admit_to_reasons(self, request: Request) -> Caller:
        """Return the caller who wants to know why a part is down.

        While the keys cannot be read, whom they admitted before is admitted: for
        telling that, and nothing else.

        Raises:
            Problem: as ``admit`` for reading.
            StoreError: the keys cannot be read, and the caller is new.
        """
        return await self._admit(request, Role.READ, also_without_store=True)

    async def _admit(
        self, request: Request, role: Role, *, also_without_store: bool
    ) -> Caller:
        shown = digest_of(request.headers.get("authorization", ""))
        is_known = shown in self._admitted
        if not is_known:
            # Guessing is slowed down by address, before the store is asked: else it
            # would take the engine's connections. A key that was good is never held
            # up by what others do from the same address.
            _count(self._limit, _address(request))
        try:
            caller = await self._caller(request)
        except StoreError:
            if not also_without_store or shown not in self._admitted:
                raise
            caller = self._admitted[shown]
        self._remember(shown, caller)
        if caller is None:
            if is_known:  # it was revoked meanwhile
                _count(self._limit, _address(request))
            raise _unauthorized(request)
        if not is_known:
            self._limit.give_back(_address(request))
        _count(self._limit, f"key {caller.name}")
        if caller.role.rank < role.rank:
            raise Problem(
                "forbidden",
                f"key {caller.name} is good for {caller.role}, this needs {role}",
                headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
            )
        return caller

    async def _caller(self, request: Request) -> Caller | None:
        shown = request.headers.get("authorization")
        if shown is None:
            return await self._local(request)
        scheme, _, text = shown.partition(" ")
        if scheme.lower() != "bearer" or len(text) > KEY_CHARS_MAX:
            return None
        key = await recognise(self._keys, text.strip())
        return None if key is None else Caller(key.name, key.role)

    async def _local(self, request: Request) -> Caller | None:
        """Return the machine's own user, where nobody else can be meant."""
        if not self._is_loopback or await self._keys.all():
            return None
        _require_loopback_host(request, "make a key: saga keys new")
        return LOCAL

    def _remember(self, shown: str, caller: Caller | None) -> None:
        self._admitted.pop(shown, None)
        if caller is not None:
            self._admitted[shown] = caller
        if len(self._admitted) > REMEMBERED_MAX:
            self._admitted.popitem(last=False)


class OpenAccess:
    """Admits whoever reaches the address: of a process that has no keys.

    What it serves must be fit for that. The reasons why a part is down name servers;
    they are for this machine.
    """

    def __init__(self, limit: RateLimit, *, is_loopback: bool) -> None:
        self._limit = limit
        self._is_loopback = is_loopback

    async def admit(self, request: Request, role: Role) -> Caller:
        """Return the caller, who may read and nothing else.

        Raises:
            Problem: the route is not for everybody, or they ask too often, or a
                browser was led here.
        """
        _count(self._limit, _address(request))
        if role is not Role.READ:
            raise Problem("forbidden", "this process has no API keys")
        if self._is_loopback:
            _require_loopback_host(request, "or listen on another address")
        return Caller("anybody", Role.READ)

    async def still_admits(self, request: Request, role: Role) -> bool:
        """Return whether the route is for everybody."""
        return role is Role.READ

    async def admit_to_reasons(self, request: Request) -> Caller:
        """Return the caller, where only this machine can call.

        Raises:
            Problem: others can reach the address.
        """
        if not self._is_loopback:
            raise Problem(
                "forbidden",
                "the reasons are told on a loopback address only; the log has them",
            )
        return await self.admit(request, Role.READ)


def _host(header: str) -> str:
    """Return the host of a Host header, which may be any text."""
    if header.startswith("["):
        host, bracket, _ = header[1:].partition("]")
        return host if bracket else ""
    return header.partition(":")[0]


def _address(request: Request) -> str:
    return f"address {request.client.host if request.client else 'nowhere'}"


def _count(limit: RateLimit, caller: str) -> None:
    seconds = limit.take(caller)
    if seconds:
        raise Problem(
            "too-many-requests",
            f"ask again in {seconds:.2f} s",
            headers={"Retry-After": str(math.ceil(seconds))},
        )


def _require_loopback_host(request: Request, fix: str) -> None:
    # A page in this machine's browser could call us under a name of its own that
    # resolves to a loopback address.
    if not is_loopback(_host(request.headers.get("host", ""))):
        raise Problem(
            "misdirected",
            f"without API keys only a loopback host is answered, as 127.0.0.1; {fix}",
        )


def _unauthorized(request: Request) -> Problem:
    if "authorization" in request.headers:
        return Problem(
            "unauthorized",
            "the API key is unknown, or was revoked; `saga keys new` makes one",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return Problem(
        "unauthorized",
        "show an API key: Authorization: Bearer KEY; `saga keys new` makes one",
        headers={"WWW-Authenticate": "Bearer"},
    )
