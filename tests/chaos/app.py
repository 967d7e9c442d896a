"""What a worker process loads: `saga worker tests.chaos.app:services`."""

from __future__ import annotations

import os
from pathlib import Path

from saga_orchestrator.demo.effects import Effects
from tests.chaos.services import LEDGER, SEED, Services

effects = Effects(Path(os.environ[LEDGER]))
services = Services(int(os.environ[SEED]), effects).handlers()
