-- A person settles a residual: dismisses it, or has it undone by a saga of its own.

-- The saga whose residual this one undoes; never changes. NULL, as it nearly
-- always is, takes no room in the row.
ALTER TABLE sagas ADD COLUMN undoes text COLLATE "C";

ALTER TABLE saga_residuals
    ADD COLUMN settled_at     timestamptz,
    ADD COLUMN settled_by     text,
    ADD COLUMN settled_reason text,
    ADD COLUMN undo_id        text COLLATE "C",
    -- All of them or none; a residual that was dismissed has no undo.
    ADD CONSTRAINT saga_residuals_settled CHECK (
        num_nulls(settled_at, settled_by, settled_reason) IN (0, 3)
        AND (undo_id IS NULL OR settled_at IS NOT NULL)
    );

-- A residual's number is now that of its history entry, where it was the count of
-- them. The key is made anew: on the way two might have the same.
ALTER TABLE saga_residuals DROP CONSTRAINT saga_residuals_pkey;

UPDATE saga_residuals
SET number = found.seq
FROM (
    SELECT
        saga_id,
        seq,
        row_number() OVER (PARTITION BY saga_id ORDER BY seq) AS number
    FROM saga_history
    WHERE kind = 'residual_found'
        AND saga_id IN (SELECT saga_id FROM saga_residuals)
) AS found
WHERE found.saga_id = saga_residuals.saga_id
    AND found.number = saga_residuals.number;

ALTER TABLE saga_residuals ADD PRIMARY KEY (saga_id, number);

-- What a person still has to look at.
CREATE INDEX saga_residuals_open ON saga_residuals (saga_id, number)
    WHERE settled_at IS NULL;
