-- The barrier in PostgreSQL; docs/barrier.md says why. READ COMMITTED or
-- stricter; INSERT and SELECT are two statements, never one.

-- name: lock
SELECT pg_advisory_xact_lock(hashtextextended('saga_barrier', 0))

-- name: exists
SELECT to_regclass('saga_barrier') IS NOT NULL

-- name: create
CREATE TABLE IF NOT EXISTS saga_barrier (
    saga_id    text        NOT NULL,
    step       text        NOT NULL,
    direction  text        NOT NULL CHECK (direction IN ('action', 'compensation')),
    claimed_by text        NOT NULL CHECK (claimed_by IN ('action', 'compensation')),
    output     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, step, direction)
)

-- name: insert
INSERT INTO saga_barrier (saga_id, step, direction, claimed_by)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING true

-- name: read
SELECT claimed_by, output
FROM saga_barrier
WHERE saga_id = $1 AND step = $2 AND direction = $3

-- name: record
UPDATE saga_barrier
SET output = $4
WHERE saga_id = $1 AND step = $2 AND direction = $3
