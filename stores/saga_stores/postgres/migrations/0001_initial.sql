-- The first schema.
--
-- What a transition changes is one narrow row of `sagas`; everything else is
-- only ever inserted, but for the short-lived rows of `saga_outbox`. There are
-- no foreign keys: each insert would lock its saga's row once more, all writes
-- go through one program, and that deletes a saga with all that belongs to it.
-- JSON is `json`, not `jsonb`: the text is kept as it came.

CREATE TABLE saga_meta (
    name  text  NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);

-- Tokens are HMACs with it. Three random UUIDs hold more than its 256 bits.
INSERT INTO saga_meta (name, value)
VALUES ('secret', sha256(convert_to(
    gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text,
    'UTF8'
)));

-- Definitions by content hash; never changed, never deleted.
CREATE TABLE saga_plans (
    digest text NOT NULL PRIMARY KEY,
    text   text NOT NULL
);

-- One row a saga: the snapshot. Ids are compared as bytes, as the program does
-- when it orders locks. Columns that never change come first: the log then
-- holds only what is behind them. `steps` and `timers` are the state vector of
-- core/vector.py; the view `saga_steps` decodes it.
CREATE TABLE sagas (
    id          text        COLLATE "C" NOT NULL PRIMARY KEY,
    name        text        NOT NULL,
    key         text,
    fingerprint text        NOT NULL,
    plan_digest text        NOT NULL,
    created_at  timestamptz NOT NULL,
    deadline_at timestamptz,
    wake_at     timestamptz,
    reason      text        NOT NULL,
    state       text        NOT NULL,
    direction   text        NOT NULL,
    halting     boolean     NOT NULL,
    residuals   integer     NOT NULL,
    ignored     integer     NOT NULL,
    revision    integer     NOT NULL,
    version     integer     NOT NULL,
    updated_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    steps       bytea       NOT NULL,
    timers      bytea       NOT NULL,
    CONSTRAINT sagas_state CHECK (
        state IN ('started', 'completed', 'compensating', 'compensated', 'failed')
    ),
    CONSTRAINT sagas_direction CHECK (direction IN ('action', 'compensation')),
    CONSTRAINT sagas_ended CHECK (
        (ended_at IS NOT NULL) = (state IN ('completed', 'compensated'))
    ),
    CONSTRAINT sagas_counts CHECK (
        version > 0 AND revision >= 0 AND ignored >= 0 AND residuals >= 0
    ),
    CONSTRAINT sagas_vector CHECK (
        length(steps) % 20 = 0
        AND length(timers) % 20 = 0
        AND length(timers) <= length(steps)
    )
) WITH (
    -- Room for the next versions of a row beside it: no index entry is written
    -- (HOT) while nothing indexed changes, and `wake_at` seldom does.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- The key comes first: people look for a key without the name.
CREATE UNIQUE INDEX sagas_key ON sagas (key, name) WHERE key IS NOT NULL;
CREATE INDEX sagas_wake_at ON sagas (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX sagas_active ON sagas (id)
    WHERE state IN ('started', 'compensating', 'failed');

-- The context: revision 0 is the whole first one, later ones are updates to
-- merge into it, in which null deletes a key.
CREATE TABLE saga_data (
    saga_id  text    COLLATE "C" NOT NULL,
    revision integer NOT NULL,
    patch    json    NOT NULL,
    PRIMARY KEY (saga_id, revision),
    CONSTRAINT saga_data_patch CHECK (
        revision >= 0 AND json_typeof(patch) = 'object'
    )
);

-- What happened, in order. The output of a step that succeeded is in the entry
-- whose `seq` is the step's mark.
CREATE TABLE saga_history (
    saga_id    text        COLLATE "C" NOT NULL,
    seq        integer     NOT NULL,
    at         timestamptz NOT NULL,
    kind       text        NOT NULL,
    state      text        NOT NULL,
    step       text,
    direction  text,
    generation integer     NOT NULL,
    attempt    integer     NOT NULL,
    data       json,
    sent       json,
    PRIMARY KEY (saga_id, seq),
    CONSTRAINT saga_history_counts CHECK (
        seq > 0 AND generation >= 0 AND attempt >= 0
    )
) WITH (
    -- Only inserted, so statistics age slowly; index pages split seldom.
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05
);

-- The last answers that changed nothing: a ring of 20 slots a saga.
CREATE TABLE saga_ignored (
    saga_id    text        COLLATE "C" NOT NULL,
    slot       integer     NOT NULL CHECK (slot BETWEEN 0 AND 19),
    number     integer     NOT NULL CHECK (number > 0),
    at         timestamptz NOT NULL,
    reason     text        NOT NULL,
    step       text        NOT NULL,
    direction  text        NOT NULL,
    generation integer     NOT NULL,
    answer     text        NOT NULL,
    PRIMARY KEY (saga_id, slot)
);

-- Effects that may stand in the world outside their saga's account.
CREATE TABLE saga_residuals (
    saga_id    text        COLLATE "C" NOT NULL,
    number     integer     NOT NULL CHECK (number > 0),
    at         timestamptz NOT NULL,
    step       text        NOT NULL,
    direction  text        NOT NULL,
    generation integer     NOT NULL,
    output     json        NOT NULL,
    PRIMARY KEY (saga_id, number)
);

-- Commands that the broker has not confirmed: the fence, not the body.
CREATE TABLE saga_outbox (
    saga_id       text        COLLATE "C" NOT NULL,
    step          text        COLLATE "C" NOT NULL,
    direction     text        NOT NULL CHECK (direction IN ('action', 'compensation')),
    generation    integer     NOT NULL CHECK (generation > 0),
    claimed_until timestamptz NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    error         text        NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (saga_id, step, generation)
) WITH (
    -- Rows live for milliseconds: the table stays small only if their space is
    -- taken back often.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX saga_outbox_claimed_until ON saga_outbox (claimed_until);

-- Little-endian numbers out of the state vector, for the view below.
CREATE FUNCTION saga_u16(bytes bytea, start integer) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT get_byte(bytes, start) | (get_byte(bytes, start + 1) << 8)
$$;

CREATE FUNCTION saga_u32(bytes bytea, start integer) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT saga_u16(bytes, start) | (saga_u16(bytes, start + 2)::bigint << 16)
$$;

-- Microseconds since 1970; all bits set stand for none.
CREATE FUNCTION saga_instant(bytes bytea, start integer) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT timestamptz 'epoch' + micros * interval '1 microsecond'
    FROM (
        SELECT saga_u32(bytes, start) | (saga_u32(bytes, start + 4) << 32)
    ) AS instant (micros)
    WHERE micros <> -1
$$;

-- A row a step, decoded, for people with psql. Codes count from 0, arrays from 1.
CREATE VIEW saga_steps AS
SELECT
    sagas.id AS saga_id,
    step.number,
    plan.document -> 'steps' -> step.number ->> 'name' AS name,
    (ARRAY['pending', 'started', 'completed', 'failed', 'skipped', 'compensating',
        'compensated'])[1 + get_byte(steps, step.start)] AS state,
    (ARRAY['none', 'succeeded', 'refused', 'unknown'])
        [1 + get_byte(steps, step.start + 1)] AS outcome,
    (ARRAY['idle', 'sent', 'waiting', 'accepted', 'gave_up'])
        [1 + get_byte(steps, step.start + 2)] AS phase,
    saga_u32(steps, step.start + 4) AS generation,
    saga_u16(steps, step.start + 16) AS attempt,
    saga_u32(steps, step.start + 12) AS mark,
    timer.opened_at,
    timer.due_at
FROM sagas
JOIN LATERAL (
    SELECT text::json AS document FROM saga_plans WHERE digest = plan_digest
) AS plan ON true
CROSS JOIN LATERAL (
    SELECT n AS number, n * 20 AS start
    FROM generate_series(0, length(steps) / 20 - 1) AS n
) AS step
LEFT JOIN LATERAL (
    SELECT
        saga_instant(timers, start + 4) AS opened_at,
        saga_instant(timers, start + 12) AS due_at
    FROM generate_series(0, length(timers) - 20, 20) AS start
    WHERE saga_u16(timers, start) = step.number
) AS timer ON true;
