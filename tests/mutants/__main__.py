"""``make mutants``: plant each bug in turn, and name the seed that caught it.

The last line is one JSON object. The exit code is 1 when a mutant survives.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import SEEDS, caught_by


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="for each at most")
    asked = parser.parse_args()
    processes = os.cpu_count() or 1
    survived = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        numbers = range(len(MUTANTS))
        found = pool.map(caught_by, numbers, [asked.seeds] * len(MUTANTS))
        for mutant, caught in zip(MUTANTS, found, strict=True):
            if caught is None:
                survived.append(mutant.name)
            told = "SURVIVED" if caught is None else f"seed {caught[0]}: {caught[1]}"
            sys.stdout.write(f"{mutant.name}\n    {told[:160]}\n")
            sys.stdout.flush()
    summary = {"mutants": len(MUTANTS), "seeds": asked.seeds, "survived": survived}
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
