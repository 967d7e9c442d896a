"""All planted bugs."""

from __future__ import annotations

from tests.mutants.order import ORDER
from tests.mutants.rules import RULES

MUTANTS = (*RULES, *ORDER)
