-- Every statement of the PostgreSQL store, by name. The parameters of the
-- bigger ones are arrays, one a column, in the order of _rows.py.
--
-- Time is `coalesce($n, clock_timestamp())`: the clock that the store was given,
-- else the database's. As a scalar subquery it is read once, and an index serves.

-- name: lock
-- Lock the sagas of a batch and those that hold its start keys, in id order.
-- The clock is read when all locks are held, so that time never runs backwards
-- for a saga; hence the aggregate, which ends after the last lock. At least one
-- row: the clock's.
-- $1 ids, $2 names and $3 keys of starts
WITH locked AS MATERIALIZED (
    SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
        state, direction, halting, version, revision, ignored, residuals,
        steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
    FROM sagas
    WHERE id = ANY ($1::text[] || ARRAY(
        SELECT sagas.id
        FROM unnest($2::text[], $3::text[]) AS wanted (name, key)
        JOIN sagas ON sagas.key = wanted.key AND sagas.name = wanted.name
    ))
    ORDER BY id
    FOR UPDATE
), clock AS (
    SELECT count(*), clock_timestamp() AS now FROM locked
)
SELECT locked.*, clock.now FROM clock LEFT JOIN locked ON true

-- name: write
-- What most batches write, in one round trip. The parts touch different rows, so
-- their order does not matter. $1-$2 plans, $3-$23 new sagas, $24-$38 changed
-- ones, $39-$41 patches, $42-$52 history, $53-$58 dispatches, $59-$61 settled.
--
-- $62 stamps of the rows that are changed, NULL where they are locked; $63 the instant
-- it was decided at, where that was reckoned; $64 the server that gave stamps and
-- instant. If a row, or the server, is another one by now, or the instant is wrong, the
-- division fails, and with it everything.
WITH plans AS (
    INSERT INTO saga_plans (digest, text)
    SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT DO NOTHING
), created AS (
    INSERT INTO sagas (
        id, name, key, fingerprint, plan_digest, created_at, undoes,
        state, direction, halting, version, revision, ignored, residuals,
        steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
    )
    SELECT * FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::boolean[],
        $13::integer[], $14::integer[], $15::integer[], $16::integer[],
        $17::bytea[], $18::bytea[], $19::timestamptz[], $20::timestamptz[],
        $21::timestamptz[], $22::timestamptz[], $23::text[]
    )
), changed AS (
    UPDATE sagas
    SET state = after.state, direction = after.direction,
        halting = after.halting, version = after.version,
        revision = after.revision, ignored = after.ignored,
        residuals = after.residuals, steps = after.steps, timers = after.timers,
        updated_at = after.updated_at, ended_at = after.ended_at,
        deadline_at = after.deadline_at, wake_at = after.wake_at,
        reason = after.reason
    FROM unnest(
        $24::text[], $25::text[], $26::boolean[], $27::integer[], $28::integer[],
        $29::integer[], $30::integer[], $31::bytea[], $32::bytea[],
        $33::timestamptz[], $34::timestamptz[], $35::timestamptz[],
        $36::timestamptz[], $37::text[], $38::text[], $62::xid[]
    ) AS after (
        state, direction, halting, version, revision, ignored, residuals,
        steps, timers, updated_at, ended_at, deadline_at, wake_at, reason, id, stamp
    )
    WHERE sagas.id = after.id AND (after.stamp IS NULL OR sagas.xmin = after.stamp)
    RETURNING 1
), patches AS (
    -- JSON comes as text: a caller's own connection may have a codec for json.
    INSERT INTO saga_data (saga_id, revision, patch)
    SELECT saga_id, revision, patch::json
    FROM unnest($39::text[], $40::integer[], $41::text[])
        AS new (saga_id, revision, patch)
), entries AS (
    INSERT INTO saga_history (
        saga_id, seq, at, kind, state, step, direction, generation, attempt,
        data, sent
    )
    SELECT saga_id, seq, at, kind, state, step, direction, generation, attempt,
        data::json, sent::json
    FROM unnest(
        $42::text[], $43::integer[], $44::timestamptz[], $45::text[], $46::text[],
        $47::text[], $48::text[], $49::integer[], $50::integer[],
        $51::text[], $52::text[]
    ) AS new (
        saga_id, seq, at, kind, state, step, direction, generation, attempt,
        data, sent
    )
), dispatches AS (
    -- One that is there already is a resend: it is claimed anew.
    INSERT INTO saga_outbox (
        saga_id, step, direction, generation, claimed_until, created_at
    )
    SELECT * FROM unnest(
        $53::text[], $54::text[], $55::text[], $56::integer[],
        $57::timestamptz[], $58::timestamptz[]
    )
    ON CONFLICT (saga_id, step, generation)
    DO UPDATE SET claimed_until = EXCLUDED.claimed_until
), settled AS (
    DELETE FROM saga_outbox
    USING unnest($59::text[], $60::text[], $61::integer[])
        AS settled (saga_id, step, generation)
    WHERE saga_outbox.saga_id = settled.saga_id
        AND saga_outbox.step = settled.step
        AND saga_outbox.generation = settled.generation
)
SELECT pg_current_xact_id()::xid AS stamp, clock_timestamp() AS now,
    pg_postmaster_start_time() AS server,
    1 / (
        (SELECT count(*) FROM changed) = cardinality($38::text[])
        AND ($63::timestamptz IS NULL OR clock_timestamp()
            BETWEEN $63::timestamptz AND $63::timestamptz + interval '1 s')
        AND ($64::timestamptz IS NULL OR $64 = pg_postmaster_start_time())
    )::integer AS is_whole

-- name: ignore
-- A newer answer takes the slot of the one 20 before it.
INSERT INTO saga_ignored (
    saga_id, slot, number, at, reason, step, direction, generation, answer
)
SELECT * FROM unnest(
    $1::text[], $2::integer[], $3::integer[], $4::timestamptz[], $5::text[],
    $6::text[], $7::text[], $8::integer[], $9::text[]
)
ON CONFLICT (saga_id, slot) DO UPDATE
SET number = EXCLUDED.number, at = EXCLUDED.at, reason = EXCLUDED.reason,
    step = EXCLUDED.step, direction = EXCLUDED.direction,
    generation = EXCLUDED.generation, answer = EXCLUDED.answer

-- name: insert_residuals
INSERT INTO saga_residuals (
    saga_id, number, at, step, direction, generation, output
)
SELECT * FROM unnest(
    $1::text[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[],
    $6::integer[], $7::json[]
)

-- name: settle_residuals
UPDATE saga_residuals
SET settled_at = settled.at, settled_by = settled.by,
    settled_reason = settled.reason, undo_id = settled.undo_id
FROM unnest(
    $1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[]
) AS settled (at, by, reason, undo_id, saga_id, number)
WHERE saga_residuals.saga_id = settled.saga_id
    AND saga_residuals.number = settled.number

-- name: insert_events
-- In their order, which the positions keep. A saga's row is locked meanwhile, so its
-- events become visible in that order, too.
INSERT INTO saga_events (
    id, kind, aggregate_type, aggregate_id, event_type, payload, created_at
)
SELECT id::uuid, kind, aggregate_type, aggregate_id, event_type, payload::json, at
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::timestamptz[]
) WITH ORDINALITY
    AS new (id, kind, aggregate_type, aggregate_id, event_type, payload, at, number)
ORDER BY number

-- name: take_lease
-- Touches no row where there are no events, which an index tells; returns none where
-- another has it.
-- $1 name, $2 holder, $3 now, $4 lease
INSERT INTO saga_leases (name, holder, until)
SELECT $1, $2, coalesce($3::timestamptz, clock_timestamp()) + $4::interval
WHERE (SELECT min(position) FROM saga_events) IS NOT NULL
ON CONFLICT (name) DO UPDATE
SET holder = EXCLUDED.holder, until = EXCLUDED.until
WHERE saga_leases.holder = EXCLUDED.holder
    OR saga_leases.until <= coalesce($3::timestamptz, clock_timestamp())
RETURNING true

-- name: events
-- The sagas are looked up in a hash, as a subquery's rows are.
-- $1 limit, $2 sagas to pass over
SELECT position, id, kind, aggregate_type, aggregate_id, event_type,
    payload::text AS payload, created_at
FROM saga_events
WHERE aggregate_id NOT IN (SELECT unnest($2::text[]))
ORDER BY position
LIMIT $1

-- name: delete_events
DELETE FROM saga_events WHERE position = ANY ($1::bigint[])

-- name: expire_events
-- Only the first ones are looked at: where they are young, all are.
-- $1 now, $2 age, $3 limit
DELETE FROM saga_events
WHERE position IN (
        SELECT position
        FROM saga_events
        ORDER BY position
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    )
    AND created_at <= coalesce($1::timestamptz, clock_timestamp()) - $2::interval
RETURNING position

-- name: plans
SELECT digest, text FROM saga_plans WHERE digest = ANY ($1::text[])

-- name: data
-- Contexts and outputs, which never change once written: no transaction needed.
-- $1 sagas whose patches to read; $2 and $3 history entries
SELECT saga_id, revision AS number, patch::text AS value, true AS is_patch
FROM saga_data
WHERE saga_id = ANY ($1::text[])
UNION ALL
SELECT saga_id, seq, data::text, false
FROM saga_history
JOIN unnest($2::text[], $3::integer[]) AS wanted (saga_id, seq) USING (saga_id, seq)

-- name: settle
DELETE FROM saga_outbox
USING unnest($1::text[], $2::text[], $3::integer[])
    AS settled (saga_id, step, generation)
WHERE saga_outbox.saga_id = settled.saga_id
    AND saga_outbox.step = settled.step
    AND saga_outbox.generation = settled.generation

-- name: defer
-- $1-$3 which, $4 now, $5 delay, $6 error
UPDATE saga_outbox
SET claimed_until = coalesce($4::timestamptz, clock_timestamp()) + $5::interval,
    attempts = attempts + 1,
    error = $6
FROM unnest($1::text[], $2::text[], $3::integer[])
    AS deferred (saga_id, step, generation)
WHERE saga_outbox.saga_id = deferred.saga_id
    AND saga_outbox.step = deferred.step
    AND saga_outbox.generation = deferred.generation

-- name: extend
-- $1-$3 which, $4 now, $5 lease
UPDATE saga_outbox
SET claimed_until = coalesce($4::timestamptz, clock_timestamp()) + $5::interval
FROM unnest($1::text[], $2::text[], $3::integer[])
    AS pending (saga_id, step, generation)
WHERE saga_outbox.saga_id = pending.saga_id
    AND saga_outbox.step = pending.step
    AND saga_outbox.generation = pending.generation

-- name: claim
-- Rows that another process is claiming are locked, so they are skipped.
-- $1 now, $2 limit, $3 lease
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::timestamptz, clock_timestamp()) AS now
), lapsed AS MATERIALIZED (
    SELECT saga_id, step, generation, claimed_until
    FROM saga_outbox
    WHERE claimed_until <= (SELECT now FROM clock)
    ORDER BY claimed_until
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE saga_outbox
    SET claimed_until = clock.now + $3::interval
    FROM lapsed, clock
    WHERE saga_outbox.saga_id = lapsed.saga_id
        AND saga_outbox.step = lapsed.step
        AND saga_outbox.generation = lapsed.generation
    RETURNING saga_outbox.*, lapsed.claimed_until AS lapsed_at
)
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM claimed
ORDER BY lapsed_at, saga_id, step, generation

-- name: due
-- $1 now, $2 limit, $3 ids to pass over
SELECT id
FROM sagas
WHERE wake_at <= (SELECT coalesce($1::timestamptz, clock_timestamp()))
    AND id <> ALL ($3::text[])
ORDER BY wake_at, id
LIMIT $2

-- name: next_due
-- $1 ids to pass over
SELECT min(wake_at) FROM sagas WHERE wake_at IS NOT NULL AND id <> ALL ($1::text[])

-- name: now
SELECT clock_timestamp()

-- name: snapshots
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
    state, direction, halting, version, revision, ignored, residuals,
    steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id = ANY ($1::text[])

-- name: history
SELECT saga_id, seq, at, kind, state, step, direction, generation, attempt,
    data, sent
FROM saga_history
WHERE saga_id = $1
ORDER BY seq

-- name: ignored
SELECT saga_id, slot, number, at, reason, step, direction, generation, answer
FROM saga_ignored
WHERE saga_id = $1
ORDER BY number

-- name: residuals
-- Settled ones too.
SELECT saga_id, number, at, step, direction, generation, output,
    settled_at, settled_by, settled_reason, undo_id
FROM saga_residuals
WHERE saga_id = ANY ($1::text[])
ORDER BY saga_id, number

-- name: requests
-- What people asked of sagas. A saga's entries are one range of the primary key.
-- $1 sagas, $2 kinds of entries
SELECT saga_id, data
FROM saga_history
WHERE saga_id = ANY ($1::text[]) AND kind = ANY ($2::text[])

-- name: open_residuals
-- $1 limit; $2 saga id and $3 number that the page before ended with
SELECT saga_id, number, at, step, direction, generation, output,
    settled_at, settled_by, settled_reason, undo_id
FROM saga_residuals
WHERE settled_at IS NULL AND (saga_id, number) > ($2::text, $3::integer)
ORDER BY saga_id, number
LIMIT $1

-- name: outbox
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM saga_outbox
WHERE saga_id = $1
ORDER BY created_at, step, generation

-- name: find
-- '~' is above every id. The collation C has no other capitals than A to Z.
-- $1 states, $2 name, $3 key, $4 before, $5 limit, $6-$7 created from and to,
-- $8-$9 updated from and to, $10 part of the reason, in small letters
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
    state, direction, halting, version, revision, ignored, residuals,
    steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id < coalesce($4::text, '~')
    AND ($1::text[] IS NULL OR state = ANY ($1))
    AND ($2::text IS NULL OR name = $2)
    AND ($3::text IS NULL OR key = $3)
    AND ($6::timestamptz IS NULL OR created_at >= $6)
    AND ($7::timestamptz IS NULL OR created_at < $7)
    AND ($8::timestamptz IS NULL OR updated_at >= $8)
    AND ($9::timestamptz IS NULL OR updated_at < $9)
    AND ($10::text IS NULL OR strpos(lower(reason COLLATE "C"), $10) > 0)
ORDER BY id DESC
LIMIT $5

-- name: find_active
-- The same where all of the states are active ones: few rows among millions.
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
    state, direction, halting, version, revision, ignored, residuals,
    steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id < coalesce($4::text, '~')
    AND state IN ('started', 'compensating', 'failed')
    AND state = ANY ($1::text[])
    AND ($2::text IS NULL OR name = $2)
    AND ($3::text IS NULL OR key = $3)
    AND ($6::timestamptz IS NULL OR created_at >= $6)
    AND ($7::timestamptz IS NULL OR created_at < $7)
    AND ($8::timestamptz IS NULL OR updated_at >= $8)
    AND ($9::timestamptz IS NULL OR updated_at < $9)
    AND ($10::text IS NULL OR strpos(lower(reason COLLATE "C"), $10) > 0)
ORDER BY id DESC
LIMIT $5

-- name: find_key
-- The same where a key is given.
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
    state, direction, halting, version, revision, ignored, residuals,
    steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE key = $3
    AND id < coalesce($4::text, '~')
    AND ($1::text[] IS NULL OR state = ANY ($1))
    AND ($2::text IS NULL OR name = $2)
    AND ($6::timestamptz IS NULL OR created_at >= $6)
    AND ($7::timestamptz IS NULL OR created_at < $7)
    AND ($8::timestamptz IS NULL OR updated_at >= $8)
    AND ($9::timestamptz IS NULL OR updated_at < $9)
    AND ($10::text IS NULL OR strpos(lower(reason COLLATE "C"), $10) > 0)
ORDER BY id DESC
LIMIT $5

-- name: counts
SELECT state, count(*) FROM sagas GROUP BY state

-- name: active_counts
-- Of so many of the oldest. An instant that somebody damaged counts as now, or as
-- long ago: the driver cannot express it.
SELECT name, state, count(*),
    greatest(least(min(created_at), clock_timestamp()), timestamptz 'epoch')
FROM (
    SELECT name, state, created_at
    FROM sagas
    WHERE state IN ('started', 'compensating', 'failed')
    ORDER BY id
    LIMIT $1
) AS active
GROUP BY name, state
ORDER BY name, state

-- name: sizes
-- $1 at most, $2 now
SELECT
    (SELECT coalesce($2::timestamptz, clock_timestamp())) AS now,
    outbox.pending,
    outbox.oldest_at,
    (
        SELECT count(*)
        FROM (
            SELECT FROM saga_residuals WHERE settled_at IS NULL LIMIT $1
        ) AS residuals
    ) AS residuals,
    (
        SELECT greatest(
            least(at, clock_timestamp() + interval '100 years'), timestamptz 'epoch'
        )
        FROM (
            SELECT min(wake_at) AS at FROM sagas WHERE wake_at IS NOT NULL
        ) AS first
        WHERE at IS NOT NULL
    ) AS next_due
FROM (
    SELECT count(*) AS pending, CASE WHEN count(*) > 0 THEN
        greatest(least(min(created_at), clock_timestamp()), timestamptz 'epoch')
    END AS oldest_at
    FROM (
        SELECT created_at FROM saga_outbox ORDER BY claimed_until LIMIT $1
    ) AS rows
) AS outbox

-- name: waiting
-- $1 after, $2 before, $3 limit
SELECT id, name, key, fingerprint, plan_digest, created_at, undoes,
    state, direction, halting, version, revision, ignored, residuals,
    steps, timers, updated_at, ended_at, deadline_at, wake_at, reason
FROM sagas
WHERE id > $1 AND id < $2
    AND state IN ('started', 'compensating', 'failed')
ORDER BY id
LIMIT $3

-- name: outboxes
SELECT saga_id, step, direction, generation, claimed_until, attempts, error
FROM saga_outbox
WHERE saga_id = ANY ($1::text[])
ORDER BY created_at, step, generation

-- name: delete
-- Its plan stays: others may have the same.
WITH data AS (
    DELETE FROM saga_data WHERE saga_id = $1
), history AS (
    DELETE FROM saga_history WHERE saga_id = $1
), ignored AS (
    DELETE FROM saga_ignored WHERE saga_id = $1
), residuals AS (
    DELETE FROM saga_residuals WHERE saga_id = $1
)
DELETE FROM sagas WHERE id = $1

-- name: prune
-- Ended long ago, and needed by nobody. Each definition has an age of its own, so
-- they are looked up one by one, each with one look at the index `sagas_ended`;
-- rows that another replica deletes now are skipped.
-- $1 now, $2 limit, $3 age of those not named, $4 names and $5 their ages
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT coalesce($1::timestamptz, clock_timestamp()) AS now
), names AS (
    (SELECT name FROM sagas WHERE ended_at IS NOT NULL ORDER BY name LIMIT 1)
    UNION ALL
    SELECT (
        SELECT sagas.name
        FROM sagas
        WHERE ended_at IS NOT NULL AND sagas.name > names.name
        ORDER BY sagas.name
        LIMIT 1
    )
    FROM names
    WHERE names.name IS NOT NULL
), ages (name, age) AS (
    SELECT names.name, CASE WHEN own.name IS NULL THEN $3::interval ELSE own.age END
    FROM names
    LEFT JOIN unnest($4::text[], $5::interval[]) AS own (name, age)
        ON own.name = names.name
), old AS MATERIALIZED (
    SELECT found.id
    FROM ages
    CROSS JOIN LATERAL (
        SELECT id
        FROM sagas
        WHERE sagas.name = ages.name
            AND ended_at <= (SELECT now FROM clock) - ages.age
            AND residuals = 0
            AND NOT EXISTS (
                SELECT FROM saga_outbox WHERE saga_outbox.saga_id = sagas.id
            )
            AND NOT EXISTS (
                SELECT
                FROM saga_residuals AS residual
                JOIN sagas AS undo ON undo.id = residual.undo_id
                WHERE residual.saga_id = sagas.id AND undo.ended_at IS NULL
            )
        ORDER BY ended_at, id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS found
), data AS (
    DELETE FROM saga_data USING old WHERE saga_id = old.id
), history AS (
    DELETE FROM saga_history USING old WHERE saga_id = old.id
), ignored AS (
    DELETE FROM saga_ignored USING old WHERE saga_id = old.id
), residuals AS (
    DELETE FROM saga_residuals USING old WHERE saga_id = old.id
)
DELETE FROM sagas USING old WHERE sagas.id = old.id RETURNING sagas.id

-- name: take_starts
-- Each definition has its turn; starts that another engine takes are locked, so
-- they are skipped. $1 now, $2 names, $3 limit per name
SELECT found.id, found.name, found.context, found.key
FROM unnest($2::text[]) AS wanted (name)
CROSS JOIN LATERAL (
    SELECT id, saga_starts.name, context::text AS context, key, created_at
    FROM saga_starts
    WHERE saga_starts.name = wanted.name
        AND error = ''
        AND try_at <= (SELECT coalesce($1::timestamptz, clock_timestamp()))
    ORDER BY created_at, id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
) AS found
ORDER BY found.created_at, found.id

-- name: settle_starts
-- $1 sagas that are there; $2 refused ones and $3 why; $4 those that a lock was in
-- the way of, $5 now, $6 how long they are passed over
WITH done AS (
    DELETE FROM saga_starts WHERE id = ANY ($1::text[])
), refused AS (
    UPDATE saga_starts
    SET error = refused.error
    FROM unnest($2::text[], $3::text[]) AS refused (id, error)
    WHERE saga_starts.id = refused.id
)
UPDATE saga_starts
SET try_at = coalesce($5::timestamptz, clock_timestamp()) + $6::interval
WHERE id = ANY ($4::text[])

-- name: starts_left
-- For people. $1 groups at most
SELECT name, error, count(*), min(created_at), min(id)
FROM saga_starts
GROUP BY name, error
ORDER BY min(id)
LIMIT $1

-- name: secret
SELECT value FROM saga_meta WHERE name = 'secret'

-- name: insert_api_key
-- Nothing where the name is taken.
INSERT INTO api_keys (name, digest, role, created_at)
VALUES ($1, $2, $3, coalesce($4, clock_timestamp()))
ON CONFLICT (name) DO NOTHING
RETURNING name, digest, role, created_at, revoked_at

-- name: find_api_key
SELECT name, digest, role, created_at, revoked_at
FROM api_keys
WHERE digest = $1

-- name: api_keys
SELECT name, digest, role, created_at, revoked_at
FROM api_keys
ORDER BY name

-- name: revoke_api_key
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, $2, clock_timestamp())
WHERE name = $1
RETURNING name, digest, role, created_at, revoked_at
-- name: has_meta
SELECT to_regclass('saga_meta') IS NOT NULL

-- name: has_migrations
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: applied_migrations
SELECT number, checksum FROM schema_migrations

-- name: create_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: lock_migrations
-- Held to the end of the transaction; the number is this project's own.
SELECT pg_advisory_xact_lock(6072412917)

-- name: record_migration
INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)
