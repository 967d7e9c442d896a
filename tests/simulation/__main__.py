"""``python -m tests.simulation``: play many seeds, and sum them up.

The last line of the output is one JSON object. The exit code is 1 when a seed
broke an invariant, or when, of a thousand seeds and more, some fault fired in
less than one in a hundred: then the run proved less than it claims.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.simulation.many import Tally, play_many


def main() -> int:
    """Play the seeds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument(
        "--store", choices=("memory", "sqlite", "postgresql"), default="memory"
    )
    asked = parser.parse_args()
    began = time.monotonic()
    total = Tally()
    for tally in play_many(range(asked.first, asked.first + asked.seeds), asked.store):
        total.add(tally)
        for seed, problems in tally.failed.items():
            sys.stdout.write(f"seed {seed}: {'; '.join(problems)[:2000]}\n")
            sys.stdout.flush()
    summary = total.summary(asked.store, time.monotonic() - began)
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if total.failed or total.rare() else 0


if __name__ == "__main__":
    sys.exit(main())
