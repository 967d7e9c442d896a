-- Every statement of the SQLite store. Lists come as one JSON array, so that a
-- statement's text, and with it the driver's prepared copy, is always the same.

-- name: load_sagas
-- Rows of a batch; the transaction holds the one write lock of the file.
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
  state, direction, halting, version, revision, ignored, residuals, steps, timers,
  updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id IN (SELECT value FROM json_each(?));

-- name: load_saga_by_key
-- The saga that holds a start's key.
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
  state, direction, halting, version, revision, ignored, residuals, steps, timers,
  updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE key = ? AND name = ?;

-- name: find_sagas
-- The conditions, order and limit of the filter come behind it.
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
  state, direction, halting, version, revision, ignored, residuals, steps, timers,
  updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas;

-- name: load_plans
SELECT digest, text
FROM saga_plans
WHERE digest IN (SELECT value FROM json_each(?));

-- name: load_patches
SELECT saga_id, revision, patch
FROM saga_data
WHERE saga_id IN (SELECT value FROM json_each(?))
ORDER BY saga_id, revision;

-- name: load_entry_data
-- A step's output lives in the entry of its success: a look-up by primary key.
SELECT data
FROM saga_history
WHERE saga_id = ? AND seq = ?;

-- name: load_history
SELECT saga_id, seq, at, kind, state, step, direction, generation, attempt, data, sent
FROM saga_history
WHERE saga_id = ?
ORDER BY seq;

-- name: load_ignored
SELECT saga_id, slot, number, at, reason, step, direction, generation, answer
FROM saga_ignored
WHERE saga_id = ?
ORDER BY number;

-- name: load_residuals
-- Settled ones too.
SELECT saga_id, number, at, step, direction, generation, output,
  settled_at, settled_by, settled_reason, undo_id
FROM saga_residuals
WHERE saga_id IN (SELECT value FROM json_each(?))
ORDER BY saga_id, number;

-- name: load_requests
-- What people asked of sagas. A saga's entries are one range of the primary key.
SELECT saga_id, data
FROM saga_history
WHERE saga_id IN (SELECT value FROM json_each(?))
  AND kind IN (SELECT value FROM json_each(?));

-- name: open_residuals
-- Behind the (saga id, number) that the page before ended with.
SELECT saga_id, number, at, step, direction, generation, output,
  settled_at, settled_by, settled_reason, undo_id
FROM saga_residuals
WHERE settled_at IS NULL AND (saga_id, number) > (?, ?)
ORDER BY saga_id, number
LIMIT ?;

-- name: load_outbox
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM saga_outbox
WHERE saga_id = ?
ORDER BY created_at, step, generation;

-- name: count_states
SELECT state, count(*)
FROM sagas
GROUP BY state;

-- name: active_counts
-- Of so many of the oldest; instants as they are kept.
SELECT name, state, count(*), min(created_at)
FROM (
  SELECT name, state, created_at
  FROM sagas
  WHERE state IN ('started', 'compensating', 'failed')
  ORDER BY id
  LIMIT ?
)
GROUP BY name, state
ORDER BY name, state;

-- name: outbox_size
SELECT count(*), min(created_at)
FROM (SELECT created_at FROM saga_outbox ORDER BY claimed_until LIMIT ?);

-- name: residuals_size
SELECT count(*)
FROM (SELECT 1 FROM saga_residuals WHERE settled_at IS NULL LIMIT ?);

-- name: waiting
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
  state, direction, halting, version, revision, ignored, residuals, steps, timers,
  updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id > ? AND id < ? AND state IN ('started', 'compensating', 'failed')
ORDER BY id
LIMIT ?;

-- name: load_outboxes
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM saga_outbox
WHERE saga_id IN (SELECT value FROM json_each(?))
ORDER BY created_at, step, generation;

-- name: due
SELECT id
FROM sagas
WHERE wake_at <= ? AND id NOT IN (SELECT value FROM json_each(?))
ORDER BY wake_at, id
LIMIT ?;

-- name: next_due
SELECT min(wake_at)
FROM sagas
WHERE wake_at IS NOT NULL AND id NOT IN (SELECT value FROM json_each(?));

-- name: insert_plan
-- Two processes may start the same definition.
INSERT INTO saga_plans (digest, text)
VALUES (?, ?)
ON CONFLICT (digest) DO NOTHING;

-- name: insert_saga
INSERT INTO sagas (
  id, name, key, fingerprint, plan_digest, created_at, undoes,
  state, direction, halting, version, revision, ignored, residuals, steps, timers,
  updated_at, ended_at, deadline_at, wake_at, reason
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_saga
UPDATE sagas
SET state = ?, direction = ?, halting = ?, version = ?, revision = ?, ignored = ?,
  residuals = ?, steps = ?, timers = ?, updated_at = ?, ended_at = ?,
  deadline_at = ?, wake_at = ?, reason = ?
WHERE id = ?;

-- name: insert_patch
INSERT INTO saga_data (saga_id, revision, patch)
VALUES (?, ?, ?);

-- name: insert_entry
INSERT INTO saga_history (
  saga_id, seq, at, kind, state, step, direction, generation, attempt, data, sent
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: upsert_ignored
-- A slot is used again after 20, so that a saga keeps its last 20.
INSERT INTO saga_ignored (
  saga_id, slot, number, at, reason, step, direction, generation, answer
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (saga_id, slot) DO UPDATE
SET number = excluded.number, at = excluded.at, reason = excluded.reason,
  step = excluded.step, direction = excluded.direction,
  generation = excluded.generation, answer = excluded.answer;

-- name: insert_residual
INSERT INTO saga_residuals (
  saga_id, number, at, step, direction, generation, output
)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: settle_residual
UPDATE saga_residuals
SET settled_at = ?, settled_by = ?, settled_reason = ?, undo_id = ?
WHERE saga_id = ? AND number = ?;

-- name: upsert_outgoing
-- A resend finds its row, or not any more; either way it is claimed anew.
INSERT INTO saga_outbox (
  saga_id, step, direction, generation, claimed_until, created_at
)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (saga_id, step, generation) DO UPDATE
SET claimed_until = excluded.claimed_until;

-- name: settle
DELETE FROM saga_outbox
WHERE saga_id = ? AND step = ? AND generation = ?;

-- name: defer
UPDATE saga_outbox
SET claimed_until = ?, error = ?, attempts = attempts + 1
WHERE saga_id = ? AND step = ? AND generation = ?;

-- name: extend
UPDATE saga_outbox
SET claimed_until = ?
WHERE saga_id = ? AND step = ? AND generation = ?;

-- name: lapsed
-- Rows to claim; the transaction holds the write lock, so nobody else does.
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM saga_outbox
WHERE claimed_until <= ?
ORDER BY claimed_until, created_at
LIMIT ?;

-- name: insert_event
INSERT INTO saga_events (
  id, kind, aggregate_type, aggregate_id, event_type, payload, created_at
)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: take_lease
-- Changes no row where another holder has it.
INSERT INTO saga_leases (name, holder, until)
VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, until = excluded.until
WHERE holder = excluded.holder OR until <= ?;

-- name: events
SELECT position, id, kind, aggregate_type, aggregate_id, event_type, payload,
  created_at
FROM saga_events
WHERE aggregate_id NOT IN (SELECT value FROM json_each(?))
ORDER BY position
LIMIT ?;

-- name: delete_event
DELETE FROM saga_events WHERE position = ?;

-- name: expire_events
-- Only the first ones are looked at: where they are young, all are.
DELETE FROM saga_events
WHERE position IN (SELECT position FROM saga_events ORDER BY position LIMIT ?)
  AND created_at <= ?;

-- name: delete_data
DELETE FROM saga_data WHERE saga_id = ?;

-- name: delete_history
DELETE FROM saga_history WHERE saga_id = ?;

-- name: delete_saga
-- Its ignored answers and residuals go by their foreign keys.
DELETE FROM sagas WHERE id = ?;

-- name: insert_api_key
-- Nothing where the name is taken.
INSERT INTO api_keys (name, digest, role, created_at)
VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING;

-- name: find_api_key
SELECT name, digest, role, created_at, revoked_at
FROM api_keys
WHERE digest = ?;

-- name: load_api_keys
SELECT name, digest, role, created_at, revoked_at
FROM api_keys
ORDER BY name;

-- name: revoke_api_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE name = ?
RETURNING name, digest, role, created_at, revoked_at;
-- name: next_ended_name
SELECT name
FROM sagas
WHERE ended_at IS NOT NULL AND name > ?
ORDER BY name
LIMIT 1;

-- name: prunable
-- Ended before an instant, and needed by nobody.
SELECT id
FROM sagas
WHERE name = ? AND ended_at <= ? AND residuals = 0
  AND NOT EXISTS (SELECT 1 FROM saga_outbox WHERE saga_outbox.saga_id = sagas.id)
  AND NOT EXISTS (
    SELECT 1
    FROM saga_residuals AS residual
    JOIN sagas AS undo ON undo.id = residual.undo_id
    WHERE residual.saga_id = sagas.id AND undo.ended_at IS NULL
  )
ORDER BY ended_at, id
LIMIT ?;

-- name: has_schema
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations';

-- name: create_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
  number INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  checksum TEXT NOT NULL,
  applied_at INTEGER NOT NULL
);

-- name: load_migrations
SELECT number, checksum FROM schema_migrations;

-- name: insert_migration
INSERT INTO schema_migrations (number, name, checksum, applied_at)
VALUES (?, ?, ?, ?);

-- name: insert_secret
INSERT INTO saga_meta (name, value)
VALUES ('secret', ?)
ON CONFLICT (name) DO NOTHING;

-- name: load_secret
SELECT value FROM saga_meta WHERE name = 'secret';
