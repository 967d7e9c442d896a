-- The first schema. Instants are microseconds since 1970, UTC.
--
-- Tables are WITHOUT ROWID: their rows are found by primary key, and one tree
-- instead of two is written per row. There are no foreign keys in the hot path:
-- rows of saga_data, saga_history and saga_outbox are only ever written in the
-- transaction that holds their saga's row, so a check would only cost a look-up
-- per row.

CREATE TABLE saga_meta (
  name TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- Definitions by content; never changed, never deleted.
CREATE TABLE saga_plans (
  digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
  text TEXT NOT NULL
) WITHOUT ROWID;

-- One narrow row per saga, updated in place by every transition.
CREATE TABLE sagas (
  id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 26),
  name TEXT NOT NULL,
  key TEXT,
  fingerprint TEXT NOT NULL,
  plan_digest TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('started', 'completed', 'compensating', 'compensated', 'failed')),
  direction TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  halting INTEGER NOT NULL CHECK (halting IN (0, 1)),
  version INTEGER NOT NULL CHECK (version >= 1),
  revision INTEGER NOT NULL CHECK (revision >= 0),
  ignored INTEGER NOT NULL CHECK (ignored >= 0),
  residuals INTEGER NOT NULL CHECK (residuals >= 0),
  steps BLOB NOT NULL CHECK (typeof(steps) = 'blob' AND length(steps) % 20 = 0),
  timers BLOB NOT NULL CHECK (typeof(timers) = 'blob' AND length(timers) % 20 = 0),
  updated_at INTEGER NOT NULL,
  ended_at INTEGER,
  deadline_at INTEGER,
  wake_at INTEGER,
  reason TEXT NOT NULL,
  CHECK ((ended_at IS NOT NULL) = (state IN ('completed', 'compensated'))),
  -- Ended or failed: nothing is in flight, nothing is due.
  CHECK (
    state IN ('started', 'compensating')
    OR (length(timers) = 0 AND wake_at IS NULL AND NOT halting)
  )
) WITHOUT ROWID;

-- The key first, so that a saga is found by its key alone as well.
CREATE UNIQUE INDEX sagas_key ON sagas (key, name) WHERE key IS NOT NULL;
CREATE INDEX sagas_wake_at ON sagas (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX sagas_state ON sagas (state, id);

-- Revision 0 is the first context, each later one an update to merge into it.
CREATE TABLE saga_data (
  saga_id TEXT NOT NULL,
  revision INTEGER NOT NULL CHECK (revision >= 0),
  patch TEXT NOT NULL,
  PRIMARY KEY (saga_id, revision)
) WITHOUT ROWID;

-- Append-only. A step's output is data.output of the entry of its success.
CREATE TABLE saga_history (
  saga_id TEXT NOT NULL,
  seq INTEGER NOT NULL CHECK (seq >= 1),
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  step TEXT,
  direction TEXT CHECK (direction IN ('action', 'compensation')),
  generation INTEGER NOT NULL CHECK (generation >= 0),
  attempt INTEGER NOT NULL CHECK (attempt >= 0),
  data TEXT,
  sent TEXT,
  PRIMARY KEY (saga_id, seq)
) WITHOUT ROWID;

-- Rare rows; the foreign keys cost nothing that counts and delete them with
-- their saga.
CREATE TABLE saga_ignored (
  saga_id TEXT NOT NULL REFERENCES sagas (id) ON DELETE CASCADE,
  slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 19),
  number INTEGER NOT NULL CHECK (number >= 1),
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  step TEXT NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  generation INTEGER NOT NULL,
  answer TEXT NOT NULL,
  PRIMARY KEY (saga_id, slot)
) WITHOUT ROWID;

CREATE TABLE saga_residuals (
  saga_id TEXT NOT NULL REFERENCES sagas (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number >= 1),
  at INTEGER NOT NULL,
  step TEXT NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  output TEXT NOT NULL,
  PRIMARY KEY (saga_id, number)
) WITHOUT ROWID;

-- Commands that the broker has not confirmed: the fence, not the body.
CREATE TABLE saga_outbox (
  saga_id TEXT NOT NULL,
  step TEXT NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  claimed_until INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  error TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  PRIMARY KEY (saga_id, step, generation)
) WITHOUT ROWID;

CREATE INDEX saga_outbox_claimed_until ON saga_outbox (claimed_until, created_at);

-- The state vector, decoded for people; its layout is in core/vector.py.
CREATE VIEW saga_steps AS
SELECT
  saga_id,
  number,
  step,
  CASE substr(vector, 1, 2)
    WHEN '00' THEN 'pending' WHEN '01' THEN 'started' WHEN '02' THEN 'completed'
    WHEN '03' THEN 'failed' WHEN '04' THEN 'skipped' WHEN '05' THEN 'compensating'
    WHEN '06' THEN 'compensated'
  END AS state,
  CASE substr(vector, 3, 2)
    WHEN '00' THEN 'none' WHEN '01' THEN 'succeeded' WHEN '02' THEN 'refused'
    WHEN '03' THEN 'unknown'
  END AS outcome,
  CASE substr(vector, 5, 2)
    WHEN '00' THEN 'idle' WHEN '01' THEN 'sent' WHEN '02' THEN 'waiting'
    WHEN '03' THEN 'accepted' WHEN '04' THEN 'gave_up'
  END AS phase,
  -- Little-endian; SQLite has no function from hex to a number.
  instr(digits, substr(vector, 9, 1)) * 16 + instr(digits, substr(vector, 10, 1))
    + instr(digits, substr(vector, 11, 1)) * 4096
    + instr(digits, substr(vector, 12, 1)) * 256
    + instr(digits, substr(vector, 13, 1)) * 1048576
    + instr(digits, substr(vector, 14, 1)) * 65536
    + instr(digits, substr(vector, 15, 1)) * 268435456
    + instr(digits, substr(vector, 16, 1)) * 16777216
    AS generation,
  instr(digits, substr(vector, 33, 1)) * 16 + instr(digits, substr(vector, 34, 1))
    + instr(digits, substr(vector, 35, 1)) * 4096
    + instr(digits, substr(vector, 36, 1)) * 256
    AS attempt
FROM (
  SELECT
    sagas.id AS saga_id,
    planned.key AS number,
    json_extract(planned.value, '$.name') AS step,
    hex(substr(sagas.steps, planned.key * 20 + 1, 20)) AS vector,
    '123456789ABCDEF' AS digits
  FROM sagas
  JOIN saga_plans ON saga_plans.digest = sagas.plan_digest
  JOIN json_each(saga_plans.text, '$.steps') AS planned
);
