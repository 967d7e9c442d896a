"""The stage for tests of the HTTP API: a manager at work, served on loopback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from saga_orchestrator import (
    Handlers,
    Manager,
    RetryPolicy,
    SagaDefinition,
    Step,
    StepContext,
)
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.face import Face
from saga_orchestrator.api.server import open_http
from saga_orchestrator.api.siblings import Siblings
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.participant.signals import Deferred, StepFailed
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.runtime.api_keys import issue_key
from tests.support.waiting import eventually

WHY = {"reason": "the customer called"}
NOBODY = "01JGFJJZ00000000000000000A"
ONCE = RetryPolicy(max_attempts=1)


class Shop:
    """A service whose steps do what the saga's context asks for.

    ``{"pay": "defer"}`` leaves the answer of the step ``pay`` to somebody outside,
    ``"fail"`` refuses it, ``"break"`` breaks off; the undo is ``unpay``. What is not
    named succeeds.
    """

    def __init__(self) -> None:
        self.handlers = Handlers("shop")
        self.runs: list[str] = []
        self.tokens: dict[tuple[str, str], str] = {}
        for name in ("pay", "send"):
            self.handlers.step(f"shop.{name}")(self._handler(name))
            self.handlers.compensation(f"shop.un{name}")(self._handler(f"un{name}"))

    @property
    def definitions(self) -> list[SagaDefinition]:
        """``order`` undoes itself; ``parked`` waits for a person."""
        steps = [
            Step(
                name,
                action=f"shop.{name}",
                compensation=f"shop.un{name}",
                retry=ONCE,
                compensation_retry=ONCE,
                limit=timedelta(hours=1),
            )
            for name in ("pay", "send")
        ]
        return [
            SagaDefinition("order", steps=steps),
            SagaDefinition("parked", steps=steps, on_failure="park"),
        ]

    def _handler(self, name: str):
        async def run(ctx: StepContext, given):
            self.runs.append(name)
            self.tokens[ctx.fence.saga_id, name] = ctx.completion_token
            match ctx.context.get(name):
                case "defer":
                    return Deferred()
                case "fail":
                    raise StepFailed("no")
                case "break":
                    raise OSError("broken")
            return {"by": name}

        return run


@dataclass
class Served:
    """A manager that is served, and how to call it.

    Attributes:
        keys: a key of each role; without any the machine's user may do everything.
    """

    manager: Manager
    shop: Shop
    face: Face
    client: httpx.AsyncClient
    keys: dict[Role, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Make a request; ``If_Match='"1"'`` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        content = None if body is None else json.dumps(body)
        return await self.client.request(method, path, content=content, headers=named)

    async def start(self, name: str = "order", **context: Any) -> str:
        """Start a saga and return its id."""
        body = {"name": name, "context": context}
        answer = await self.call("POST", "/v1/sagas", body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def ended(self, saga_id: str) -> dict[str, Any]:
        """Wait until a saga rests; return it."""
        answer = await self.call("GET", f"/v1/sagas/{saga_id}/wait?timeout=30")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def deferred(self, name: str = "order", step: str = "pay", **context: Any):
        """Start a saga that waits for an answer from outside; return id and token."""
        saga_id = await self.start(name, **{step: "defer"}, **context)
        await eventually(lambda: (saga_id, step) in self.shop.tokens)
        return saga_id, self.shop.tokens[saga_id, step]

    async def residual(self) -> tuple[str, int]:
        """Make a residual: a step answers after it was given up and undone."""
        saga_id, token = await self.deferred()
        place = f"/v1/sagas/{saga_id}/steps/pay"
        assert (await self.call("POST", f"{place}/give-up", WHY)).status_code == 200
        await self.ended(saga_id)
        late = await self.call("POST", f"{place}/complete", {"token": token})
        assert late.status_code == 409
        return saga_id, late.json()["residual"]


@contextlib.asynccontextmanager
async def served(
    *,
    with_keys: bool = False,
    rate: float = 10_000,
    store: str = "memory://",
    engine: bool | None = None,
    stale_after: StaleAfter | None = None,
    siblings: Siblings | None = None,
) -> AsyncIterator[Served]:
    """Serve a shop's manager on a free port of this machine."""
    shop = Shop()
    opening = Manager.open(
        store=store,
        handlers=() if engine is False else [shop.handlers],
        definitions=shop.definitions,
        engine=engine,
    )
    async with opening as manager:
        keys = {}
        if with_keys:
            for role in Role:
                keys[role], _ = await issue_key(manager.store.api_keys, role, role)
        address = Address.parse("127.0.0.1:0")
        serving = open_http(
            manager,
            address,
            SystemClock(),
            rate=rate,
            stale_after=stale_after,
            siblings=siblings,
        )
        async with (
            serving as (face, url),
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            yield Served(manager, shop, face, client, keys)


def problem(answer: httpx.Response) -> tuple[int, str, list[str]]:
    """Return a problem's status, its type's last word, and the fields to blame."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"]
    fields = document.get("errors", [])
    assert all(one["detail"] for one in fields)
    name = document["type"].removeprefix("urn:saga-orchestrator:problem:")
    return answer.status_code, name, [one["field"] for one in fields]
