-- Sagas that are asked for in SQL, inside any transaction; an engine starts them
-- when it has committed.

CREATE TABLE saga_starts (
    id         text        COLLATE "C" NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    context    json        NOT NULL,
    key        text,
    created_at timestamptz NOT NULL,
    -- Not before this: a lock was in the way.
    try_at     timestamptz NOT NULL DEFAULT '-infinity',
    -- Why it was refused; it then waits for a person.
    error      text        NOT NULL DEFAULT '',
    CONSTRAINT saga_starts_id CHECK (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    CONSTRAINT saga_starts_name CHECK (name ~ '^[A-Za-z0-9_.-]{1,128}$')
) WITH (
    -- Rows live for a moment: their space is to be taken back often.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- An engine looks for the definitions that it knows, so that starts that nobody can
-- take are not read again and again. Not by id: the planner might walk the primary
-- key instead, past all the others.
CREATE INDEX saga_starts_waiting ON saga_starts (name, created_at, id)
    WHERE error = '';

-- The door. It runs with the rights of the owner: who may call it need not read or
-- write a table, and no row gets in that was not checked.
CREATE FUNCTION saga_start(
    name text, context json DEFAULT '{}', key text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    asked_at CONSTANT timestamptz := clock_timestamp();
    millis CONSTANT bigint := floor(extract(epoch FROM asked_at) * 1000);
    -- Of the 16 bytes of a UUID, the 7th and the 9th are not all random.
    noise CONSTANT bytea := uuid_send(gen_random_uuid());
    bits bit varying;
    new_id text := '';
BEGIN
    IF (name ~ '^[A-Za-z0-9_.-]{1,128}$') IS NOT TRUE THEN
        RAISE EXCEPTION 'saga_start: name: % is no name of a saga',
            coalesce(quote_literal(left(name, 100)), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give the name of a definition: 1 to 128 letters, digits, "_", "." or "-".';
    END IF;
    IF (json_typeof(context) = 'object') IS NOT TRUE THEN
        RAISE EXCEPTION 'saga_start: context: is %, it must be an object',
            coalesce('of type ' || json_typeof(context), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Leave it out, or give an object, as in json_build_object(''order'', 7).';
    END IF;
    IF octet_length(context::text) > 1048576 THEN
        RAISE EXCEPTION 'saga_start: context: is % bytes of JSON, the limit is 1048576',
            octet_length(context::text)
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Store it elsewhere and pass a reference.';
    END IF;
    BEGIN
        PERFORM context::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RAISE EXCEPTION 'saga_start: context: %', SQLERRM
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Remove NUL characters, lone surrogates and numbers beyond 64 bits.';
    END;
    IF key !~ '\S' OR length(key) > 255 THEN
        RAISE EXCEPTION 'saga_start: key: has % characters, or only spaces', length(key)
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Leave it out, or give 1 to 255 characters of text.';
    END IF;
    -- A ULID: 48 bits of milliseconds and 80 random ones, in Crockford's base 32.
    bits := B'00' || (
        'x' || lpad(to_hex(millis), 12, '0')
        || encode(substr(noise, 1, 3) || substr(noise, 10, 7), 'hex')
    )::bit(128);
    FOR place IN 0..25 LOOP
        new_id := new_id || substr(
            '0123456789ABCDEFGHJKMNPQRSTVWXYZ',
            substring(bits FROM 1 + 5 * place FOR 5)::bit(5)::integer + 1,
            1
        );
    END LOOP;
    INSERT INTO saga_starts (id, name, context, key, created_at)
    VALUES (new_id, name, context, key, asked_at);
    RETURN new_id;
END
$$;

-- What it names is looked up in the schema of these tables, whatever the caller's
-- search_path; and only who is granted it may call it.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION saga_start(text, json, text) SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END
$$;

REVOKE ALL ON FUNCTION saga_start(text, json, text) FROM PUBLIC;
