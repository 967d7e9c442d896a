-- The barrier in SQLite; docs/barrier.md says why. Every transaction that
-- claims a row is BEGIN IMMEDIATE: it takes the write lock before it reads.

-- name: create
CREATE TABLE IF NOT EXISTS saga_barrier (
    saga_id    TEXT NOT NULL,
    step       TEXT NOT NULL,
    direction  TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
    claimed_by TEXT NOT NULL CHECK (claimed_by IN ('action', 'compensation')),
    output     TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (saga_id, step, direction)
)

-- name: insert
INSERT INTO saga_barrier (saga_id, step, direction, claimed_by)
VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: read
SELECT claimed_by, output
FROM saga_barrier
WHERE saga_id = ? AND step = ? AND direction = ?

-- name: record
UPDATE saga_barrier
SET output = ?
WHERE saga_id = ? AND step = ? AND direction = ?
