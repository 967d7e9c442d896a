"""What a saga may cost, in what can be counted: the one table.

Counts do not depend on the machine as times do, so they can fail a build. A limit is
what we hold ourselves to; beside it stands what was measured when it was written. Who
makes the product better lowers both: a *steady* figure that has fallen far below its
limit fails too, or the gain could be lost again unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

SLACK = 0.8
"""A steady figure below this part of its limit asks for a lower one."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that something may be.

    Attributes:
        most: the limit.
        today: what it was when the limit was written.
        is_steady: it does not depend on how batches happen to form.
    """

    most: float
    today: float
    is_steady: bool = True

    def complaint(self, now: float) -> str:
        """Say what is wrong with a figure; empty: nothing."""
        if now > self.most:
            return f"is {now:.4g}, the limit is {self.most:g} (it was {self.today:g})"
        if self.is_steady and now < self.most * SLACK:
            return (
                f"is {now:.4g}, far below its limit of {self.most:g}: well done; write "
                f"Limit({now * 1.1:.3g}, {now:.3g}) into tests/perf/limits.py"
            )
        return ""


LIMITS: dict[str, dict[str, Limit]] = {
    # Of three steps, one at a time: each event is a commit, each command a message.
    "single": {
        "commits": Limit(4.2, 4),
        # Where the next commit is more than 50 ms away, a command that was confirmed
        # leaves the outbox by itself: on a slow machine up to three times a saga.
        "write_transactions": Limit(7.2, 4.1, is_steady=False),
        "statements": Limit(7.5, 4.2, is_steady=False),
        "messages": Limit(3.2, 3),
        "wal_bytes": Limit(4500, 4070),
    },
    # Many of the same at a time: what is shared depends on how they meet.
    "batch": {
        "commits": Limit(0.2, 0.09, is_steady=False),
        "write_transactions": Limit(0.2, 0.09, is_steady=False),
        "statements": Limit(0.4, 0.1, is_steady=False),
        "statements_per_commit": Limit(2, 1.3, is_steady=False),
        "messages": Limit(0.2, 0.12, is_steady=False),
        "wal_bytes": Limit(4500, 4140),
    },
    # Nothing to do: what an engine asks each second whether there is.
    "idle": {"statements_per_second": Limit(30, 21, is_steady=False)},
}
