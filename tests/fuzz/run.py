"""One run: an orchestrator, a key, Schemathesis against it, and what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import ServerProcess, wait_until

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
OPERATIONS = 25
SINGLE_CASES = 900
"""What the phases that go through the document make, whatever the budget."""
SECONDS_MAX = 3600


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has found.

    Attributes:
        cases: requests, or sequences of them, that were made.
        failures: of any check, by operation.
        server_errors: answers of 500 and above.
        defects: lines in the orchestrator's log that tell of one.
        seed: makes the same cases again.
    """

    cases: int
    failures: list[str]
    server_errors: int
    defects: list[str]
    seed: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.failures or self.server_errors or self.defects)


def fuzz(cases: int, seed: int) -> Report:
    """Make about so many cases, or some more, against a `saga serve` of its own."""
    with tempfile.TemporaryDirectory(prefix="saga-fuzz-") as folder:
        return _fuzz(Path(folder), cases, seed)


def _fuzz(folder: Path, cases: int, seed: int) -> Report:
    saga = [sys.executable, "-m", "saga_orchestrator"]
    env = {**os.environ, "SAGA_STORE": f"sqlite:///{folder}/saga.db"}
    env |= {"SAGA_HTTP": "127.0.0.1:0", "SAGA_HTTP_RATE": "100000"}
    env |= {"SAGA_STALE_AFTER": "1s"}  # so that there are some
    for command in (["migrate"], ["keys", "new", "fuzz", "--role", "admin"]):
        done = subprocess.run(
            [*saga, *command], env=env, stdout=subprocess.PIPE, text=True, check=True
        )
    key = done.stdout.strip()
    log = folder / "serve.log"
    command = [*saga, "serve", "tests.fuzz.app"]
    server = ServerProcess(command, log, env=env, cwd=ROOT)
    try:
        assert wait_until(lambda: '"ready"' in log.read_text(), server), server.output()
        found = re.search(r'"url": "(\S+)"', log.read_text())
        assert found, server.output()
        _run_tool(folder, found[1], key, cases, seed)
        return _report(folder, log)
    finally:
        server.kill()


def _run_tool(folder: Path, url: str, key: str, cases: int, seed: int) -> None:
    single = cases > SINGLE_CASES
    phases = "examples,coverage,fuzzing,stateful" if single else "fuzzing,stateful"
    rest = cases - SINGLE_CASES if single else cases
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={CONFIG}",
        "run",
        f"{url}/openapi.json",
        f"--url={url}",
        f"--header=Authorization: Bearer {key}",
        "--checks=all",
        f"--phases={phases}",
        f"--max-examples={max(rest // OPERATIONS, 1)}",
        f"--seed={seed}",
        "--request-timeout=20",
        "--continue-on-failure",
        "--no-color",
        "--report=json,ndjson",
        f"--report-json-path={folder}/report.json",
        f"--report-ndjson-path={folder}/report.ndjson",
    ]
    subprocess.run(
        command, cwd=folder, stdout=sys.stderr, check=False, timeout=SECONDS_MAX
    )


def _report(folder: Path, log: Path) -> Report:
    told = json.loads((folder / "report.json").read_text())
    assert told["complete"], told["stop_reason"]
    failures = [
        f"{one['title']}: {', '.join(one['operations'])}" for one in told["failures"]
    ]
    failures += [str(one) for one in told["errors"]]
    statuses = re.findall(
        r'"status_code":\s*(\d+)', (folder / "report.ndjson").read_text()
    )
    assert statuses, "the tool tells of each answer"
    return Report(
        cases=told["test_cases"]["generated"],
        failures=failures,
        server_errors=sum(int(status) >= 500 for status in statuses),
        defects=[line for line in log.read_text().splitlines() if _tells_defect(line)],
        seed=told["seed"],
    )


def _tells_defect(line: str) -> bool:
    if not line.startswith("{"):
        return "Traceback" in line
    entry: dict[str, Any] = json.loads(line)
    return entry["event"] in ("request broke", "request failed", "loop failed")
