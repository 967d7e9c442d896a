"""Spans of real processes: an orchestrator and a worker, one trace a saga."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SAGA = [sys.executable, "-m", "saga_orchestrator"]
SHOP = '''
"""A service that runs elsewhere, and a saga that needs it."""
from saga_orchestrator import Handlers, SagaDefinition, Step
shop = Handlers("shop")
sale = SagaDefinition("sale", steps=[Step("pay", action="shop.pay")])


@shop.step("shop.pay")
async def pay(ctx):
    return "paid"
'''
CALLER = "0af7651916cd43dd8448eb211c80319c"
PROGRAM = f"""
import asyncio, shop
from opentelemetry.context import attach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from saga_orchestrator import Manager

headers = {{"traceparent": "00-{CALLER}-b7ad6b7169203331-01"}}


async def main():
    attach(TraceContextTextMapPropagator().extract(headers))
    async with Manager.open(store="sqlite:///saga.db") as manager:
        saga = await manager.start(shop.sale)
        print((await manager.wait(saga.id)).state)


asyncio.run(main())
"""


def spans_of(process: ServerProcess) -> list[dict[str, Any]]:
    """Return the spans that a process wrote."""
    lines = (line for line in process.output().splitlines() if '"context"' in line)
    return [json.loads(line) for line in lines]


@pytest.mark.rabbitmq
def test_a_saga_is_one_trace_in_two_processes(tmp_path: Path, rabbit_url: str) -> None:
    """The worker's run is below the start, whatever process made the command."""
    (tmp_path / "shop.py").write_text(SHOP)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAGA_")}
    environment |= {"OTEL_TRACES_EXPORTER": "console", "SAGA_BROKER": rabbit_url}

    def spawn(*arguments: str) -> ServerProcess:
        process = ServerProcess(
            [*SAGA, *arguments], tmp_path / arguments[0], cwd=tmp_path, env=environment
        )
        assert wait_until(lambda: "ready" in process.output(), process)
        return process

    serve, worker = spawn("serve", "shop:sale"), spawn("worker", "shop:shop")
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout == "completed\n", done.stderr
        assert wait_until(lambda: bool(spans_of(worker)), worker)
        (run,) = spans_of(worker)
    finally:
        serve.kill()
        worker.kill()
    assert run["name"] == "process shop.pay"
    assert run["context"]["trace_id"] == f"0x{CALLER}"
    assert run["parent_id"] == "0xb7ad6b7169203331"
    assert run["attributes"]["messaging.destination.name"] == "saga.steps.shop"
