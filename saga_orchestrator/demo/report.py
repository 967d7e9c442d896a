"""What a demo has to say in the end: the judge's verdict and the run's numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, held against the evidence.

    Attributes:
        rule: what must hold, as a sentence.
        checked: how many things were looked at.
        noun: what each of them is.
        problems: each way in which it does not hold.
    """

    rule: str
    checked: int
    noun: str
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        endings: every saga that was started has ended; a problem is a lost one.
        single_effects: no effect was applied twice; a problem is a step and
            direction with more than one.
        others: the business totals, the order of undo, the reasons to wake.
    """

    endings: Check
    single_effects: Check
    others: tuple[Check, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """All of them, in the order to show them."""
        return (self.endings, self.single_effects, *self.others)

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    @property
    def lost(self) -> int:
        """Sagas whose start returned, yet absent or not ended."""
        return len(self.endings.problems)

    @property
    def duplicate_effects(self) -> int:
        """Steps and directions of a saga with more than one effect."""
        return len(self.single_effects.problems)

    @property
    def violations(self) -> int:
        """Everything else that does not hold."""
        return sum(len(check.problems) for check in self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run in numbers; the fields are those of the JSON.

    Attributes:
        scenario: the name of what was run.
        run: the run's name; its keys and queues have it.
        seed: decides the faults.
        store: the store's URL, without its password.
        broker: the broker's.
        orchestrators: processes with an engine.
        workers: processes with handlers alone; 0: the orchestrators have them.
        sagas: started.
        completed: of these.
        compensated: of these.
        failed: of these; a person must look.
        killed: the processes that got SIGKILL.
        restart_seconds: from the kill until all were ready again.
        resumed: live in the store at the kill, and ended later.
        lost: their start returned, yet they are absent or have not ended.
        duplicate_effects: a saga's steps and directions with more than one.
        violations: problems of the other checks.
        failed_attempts: runs of handlers that were refused, raised or timed out.
        ignored_answers: repeated or late, and without consequence.
        seconds: from the first start to the last end, the kill included.
        sagas_per_second: over these.
        p50_ms: from the call that started a saga to its end, the median.
        p99_ms: the same for the slowest of a hundred.
        checks: the judge's, one by one.
    """

    scenario: str
    run: str
    seed: int
    store: str
    broker: str
    orchestrators: int
    workers: int
    sagas: int
    completed: int
    compensated: int
    failed: int
    killed: tuple[str, ...]
    restart_seconds: float
    resumed: int
    lost: int
    duplicate_effects: int
    violations: int
    failed_attempts: int
    ignored_answers: int
    seconds: float
    sagas_per_second: float
    p50_ms: float
    p99_ms: float
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"ok": self.ok, **dataclasses.asdict(self)}
