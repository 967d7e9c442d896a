"""Who calls, and whether they may.

A caller shows an API key as ``Authorization: Bearer``. On a loopback address, and as
long as no key was ever made, whoever is on the machine may do everything.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import Request

from saga_orchestrator.api.problems import Problem
from saga_orchestrator.api.rates import RateLimit
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.keys import ApiKeys, Role
from saga_orchestrator.runtime.api_keys import digest_of, recognise

KEY_CHARS_MAX = 200
REMEMBERED_MAX = 100


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

    async def admit(
        self, request: Request, role: Role, *, also_without_store: bool = False
    ) -> Caller:
        """Return the caller of a request that needs the role.

        Args:
            request: what came.
            role: what the key must be good for.
            also_without_store: while the keys cannot be read, take whom they
                admitted before: for telling that, and nothing else.

        Raises:
            Problem: no key, a wrong or revoked one, too low a role, too often.
            StoreError: the keys cannot be read; nobody is admitted.
        """
        shown = digest_of(request.headers.get("authorization", ""))
        try:
            caller = await self._caller(request)
        except StoreError:
            if not also_without_store or shown not in self._admitted:
                raise
            caller = self._admitted[shown]
        self._remember(shown, caller)
        if caller is None:
            # Guessing is slowed down by address; a good key is never held up by
            # what others do from the same one.
            address = request.client.host if request.client else "nowhere"
            self._count(f"address {address}")
            raise _unauthorized(request)
        self._count(f"key {caller.name}")
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
        # A page in this machine's browser could call us under a name of its own
        # that resolves to a loopback address.
        if not is_loopback(_host(request.headers.get("host", ""))):
            raise Problem(
                "misdirected",
                "without API keys only a loopback host is answered, as 127.0.0.1; "
                "make a key: saga keys new",
            )
        return LOCAL

    def _remember(self, shown: str, caller: Caller | None) -> None:
        self._admitted.pop(shown, None)
        if caller is not None:
            self._admitted[shown] = caller
        if len(self._admitted) > REMEMBERED_MAX:
            self._admitted.popitem(last=False)

    def _count(self, caller: str) -> None:
        seconds = self._limit.take(caller)
        if seconds:
            raise Problem(
                "too-many-requests",
                f"ask again in {seconds:.2f} s",
                headers={"Retry-After": str(math.ceil(seconds))},
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address, or is meant by a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """Return the host of a Host header, which may be any text."""
    if header.startswith("["):
        host, bracket, _ = header[1:].partition("]")
        return host if bracket else ""
    return header.partition(":")[0]


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
