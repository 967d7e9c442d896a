"""`python -m tests.chaos --minutes N --seed S`; the last line is one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from saga_orchestrator.telemetry import logging
from tests.chaos.run import Outcome, run_chaos

SHOWN = 40


def main() -> int:
    """Run; return the exit code: 0 where every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    logging.configure("error", "json")
    folder = Path(tempfile.mkdtemp(prefix="saga-chaos-"))
    is_kept = True
    try:
        outcome = asyncio.run(_run(options.minutes, seed, folder))
        is_kept = bool(outcome.problems)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        _say(str(missing))  # a server, as its fixture would tell
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    finally:
        if is_kept:
            _say(f"seed {seed}; the logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for problem in outcome.problems[:SHOWN]:
        _say(problem)
    sys.stdout.write(json.dumps(outcome.report) + "\n")
    return int(is_kept)


async def _run(minutes: float, seed: int, folder: Path) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # ends what it started
    return await run_chaos(minutes, seed, folder, _say)


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
