-- Events for others: what handlers emit, and what is told of a saga's life. Written
-- with the transition that they belong to; deleted when they are published.

CREATE TABLE saga_events (
  -- AUTOINCREMENT: a position is never used again, so that who published one late
  -- deletes no other.
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL CHECK (length(id) = 36),
  kind TEXT NOT NULL CHECK (kind IN ('emitted', 'lifecycle')),
  aggregate_type TEXT NOT NULL,
  aggregate_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  payload TEXT NOT NULL,
  created_at INTEGER NOT NULL
);

-- Who alone may do something just now, and until when.
CREATE TABLE saga_leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  until INTEGER NOT NULL
) WITHOUT ROWID;
