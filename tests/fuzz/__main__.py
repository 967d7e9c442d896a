"""``python -m tests.fuzz --cases 5000 --seed 7``; the last line is JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from tests.fuzz.run import fuzz

parser = argparse.ArgumentParser(prog="tests.fuzz")
parser.add_argument("--cases", type=int, default=5000)
parser.add_argument("--seed", type=int, default=7)
arguments = parser.parse_args()
report = fuzz(arguments.cases, arguments.seed)
sys.stdout.write(json.dumps(asdict(report)) + "\n")
sys.exit(not report.is_clean)
