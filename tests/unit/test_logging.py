"""Where log lines go: never among a program's own output."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, sys, structlog
from saga_orchestrator import Handlers, Manager, RetryPolicy, Step

if "own" in sys.argv:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout))
shop = Handlers("shop")

@shop.step("shop.sell")
async def sell(ctx):
    {}["a bug"]

async def main():
    async with Manager.open(handlers=[shop]) as manager:
        step = Step("sell", action="shop.sell", retry=RetryPolicy(max_attempts=1))
        saga = await manager.start("sale", [step])
        print((await manager.wait(saga.id)).state)

asyncio.run(main())
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_a_program_keeps_its_output_to_itself():
    """Who has not set structlog up finds our lines on stderr, not in their data."""
    done = _run()
    assert done.stdout == "compensated\n"
    assert "handler failed" in done.stderr


def test_a_program_that_set_structlog_up_is_left_alone():
    """Its own configuration decides where the lines go."""
    done = _run("own")
    assert "handler failed" in done.stdout
    assert "handler failed" not in done.stderr
