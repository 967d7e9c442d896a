"""A collector of traces that stalls, or is away, costs traces only (F90)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

# A queue that is soon full, and batches that are soon sent.
QUEUE = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "64",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
}

PROGRAM = """
import asyncio, os, sys, time
from saga_orchestrator import Handlers, Manager, Step
from saga_orchestrator.telemetry import tracing
from saga_orchestrator.telemetry.export import export_traces

export_traces(os.environ, "test")
assert tracing.is_on()
shop = Handlers("shop")


@shop.step("shop.sell")
async def sell(ctx):
    return None


async def main():
    async with Manager.open(handlers=[shop]) as manager:
        step = Step("sell", action="shop.sell")
        sagas = [await manager.start("sale", [step]) for _ in range(200)]
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=60)).is_completed


asyncio.run(main())
print(time.time(), flush=True)
"""


@pytest.mark.parametrize("kind", ["stalls", "is away"])
def test_a_collector_that_takes_nothing(kind: str) -> None:
    """Sagas go on, more than its queue holds, and the process ends in time."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "stalls":
            listener.listen(16)  # it takes connections, and never answers
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ
            | QUEUE
            | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
    assert done.returncode == 0, done.stderr
    assert time.time() - float(done.stdout) < 20
