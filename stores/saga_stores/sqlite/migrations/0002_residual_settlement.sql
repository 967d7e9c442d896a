-- A person settles a residual: dismisses it, or has it undone by a saga of its own.

-- The saga whose residual this one undoes; never changes.
ALTER TABLE sagas ADD COLUMN undoes TEXT;

-- Made anew: a table gets no constraint later. A residual's number is now that of
-- its history entry, where it was the count of them.
CREATE TABLE residuals_found (
  saga_id TEXT NOT NULL REFERENCES sagas (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number >= 1),
  at INTEGER NOT NULL,
  step TEXT NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  output TEXT NOT NULL,
  settled_at INTEGER,
  settled_by TEXT,
  settled_reason TEXT,
  undo_id TEXT,
  PRIMARY KEY (saga_id, number),
  -- All of them or none; a residual that was dismissed has no undo.
  CHECK ((settled_by IS NULL) = (settled_at IS NULL)),
  CHECK ((settled_reason IS NULL) = (settled_at IS NULL)),
  CHECK (undo_id IS NULL OR settled_at IS NOT NULL)
) WITHOUT ROWID;

INSERT INTO residuals_found (
  saga_id, number, at, step, direction, generation, output
)
SELECT saga_id, coalesce(seq, number), at, step, direction, generation, output
FROM saga_residuals
LEFT JOIN (
  SELECT
    saga_id,
    seq,
    row_number() OVER (PARTITION BY saga_id ORDER BY seq) AS number
  FROM saga_history
  WHERE kind = 'residual_found'
    AND saga_id IN (SELECT saga_id FROM saga_residuals)
) AS found USING (saga_id, number);

DROP TABLE saga_residuals;
ALTER TABLE residuals_found RENAME TO saga_residuals;

-- What a person still has to look at.
CREATE INDEX saga_residuals_open ON saga_residuals (saga_id, number)
WHERE settled_at IS NULL;
