-- Events for others: what handlers emit, and what is told of a saga's life. Written
-- with the transition that they belong to; deleted when they are published. Rows are
-- never updated, so that change data capture sees each of them once.

CREATE TABLE saga_events (
    position       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    id             uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('emitted', 'lifecycle')),
    aggregate_type text        NOT NULL,
    aggregate_id   text        COLLATE "C" NOT NULL,
    event_type     text        NOT NULL,
    payload        json        NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (position)
) WITH (
    -- Rows live for milliseconds: the table stays small only if their space is
    -- taken back often.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Who alone may do something just now, and until when.
CREATE TABLE saga_leases (
    name   text        NOT NULL PRIMARY KEY,
    holder text        NOT NULL,
    until  timestamptz NOT NULL
) WITH (fillfactor = 50);
