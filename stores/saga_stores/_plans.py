"""Plans that are known to be in the database, by digest."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from saga_orchestrator.core.plan import Plan, plan_from_text
from saga_orchestrator.errors import StoreDataError

_PLANS_MAX = 1024


class PlanCache:
    """A bounded cache that threads may share; what falls out is read again.

    Plans in the database are never changed or deleted, so a plan that was
    read or committed once stays valid. Put in only what was committed.
    """

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}
        self._changing = threading.Lock()

    def __contains__(self, digest: str) -> bool:
        return digest in self._plans

    def known(self, digests: Iterable[str]) -> dict[str, Plan]:
        """Return those of the plans that are here; the others must be read."""
        plans = self._plans
        return {digest: plans[digest] for digest in digests if digest in plans}

    def add(self, plans: Iterable[Plan]) -> None:
        """Remember plans whose rows are committed."""
        with self._changing:
            for plan in plans:
                self._plans[plan.digest] = plan
            while len(self._plans) > _PLANS_MAX:
                del self._plans[next(iter(self._plans))]  # the one added first


def read_plan(digest: str, text: str) -> Plan:
    """Return the plan of a row of ``saga_plans``.

    Raises:
        NewerDataError: of a version this code does not know.
        StoreDataError: not a plan, or not the one that was stored under this digest.
    """
    try:
        plan = plan_from_text(text)
    except StoreDataError as error:
        raise type(error)(f"plan {digest}: {error}") from error
    if plan.digest != digest:
        raise StoreDataError(f"plan {digest}: its text was changed")
    return plan


def read_plans(
    rows: Iterable[Sequence[str]], cache: PlanCache
) -> tuple[dict[str, Plan], dict[str, StoreDataError]]:
    """Read rows of ``saga_plans`` and remember them; one that fails hides no other.

    Returns:
        The plans by digest, and why others cannot be read.
    """
    plans: dict[str, Plan] = {}
    problems: dict[str, StoreDataError] = {}
    for digest, text in rows:
        try:
            plans[digest] = read_plan(digest, text)
        except StoreDataError as error:
            problems[digest] = error
    cache.add(plans.values())
    return plans, problems
