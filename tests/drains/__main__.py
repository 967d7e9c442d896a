"""`python -m tests.drains --count N --seed S`; the last line is one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.drains.run import Report, run_drains
from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import RabbitServer


def main() -> int:
    """Run; return the exit code: 0 where every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.drains", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    report = _run(options.count, seed)
    sys.stdout.write(json.dumps(report.document()) + "\n")
    return int(not report.is_good)


def _run(count: int, seed: int) -> Report:
    postgres, rabbit = PostgresServer(), RabbitServer()
    try:
        postgres.start()
        rabbit.start()
        urls = {"store": postgres.create_database(), "broker": rabbit.create_vhost()}
        with tempfile.TemporaryDirectory(prefix="saga-drains-") as folder:
            return asyncio.run(run_drains(count, seed, Path(folder), **urls))
    finally:
        postgres.close()
        rabbit.close()


if __name__ == "__main__":
    sys.exit(main())
