"""For how long a store keeps sagas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long sagas are kept after their end; None: for ever.

    Attributes:
        others: those whose definition is not named.
        by_name: by the name of the definition.
    """

    others: dt.timedelta | None = None
    by_name: Mapping[str, dt.timedelta | None] = field(default_factory=dict)

    def age(self, name: str) -> dt.timedelta | None:
        """Return how long a definition's sagas are kept."""
        return self.by_name.get(name, self.others)
