-- The roles of a saga database, and what each may do. Run it in that database as a
-- superuser, once before the first `saga migrate` and again after each one:
--
--     psql --set=ON_ERROR_STOP=1 --single-transaction --file=roles.sql saga
--
-- saga_owner    owns the tables: `saga migrate`, nothing else
-- saga_service  reads and writes rows: `saga serve`, and the commands of operators
-- saga_reader   reads, for people with psql and for dashboards; not the store's
--               secret, which the `saga` command needs, nor the hashes of API keys
-- saga_starter  calls saga_start() and may do nothing else; nobody logs in as it:
--               GRANT saga_starter TO the role of a service that has tables of its own
--               in this database, and starts sagas in its own transactions
-- saga_cdc      reads saga_events and no other table, for Debezium (../debezium). Its
--               REPLICATION reads the log, where everything is: give it a password only
--               where Debezium is, and keep that as you keep a superuser's
--
-- Passwords are not set here: \password saga_service, or certificates.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['saga_owner', 'saga_service', 'saga_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'saga_starter') THEN
        CREATE ROLE saga_starter NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'saga_cdc') THEN
        CREATE ROLE saga_cdc LOGIN REPLICATION;
    END IF;
    FOREACH name IN ARRAY ARRAY[
        'saga_owner', 'saga_service', 'saga_reader', 'saga_starter', 'saga_cdc'
    ] LOOP
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- What the store asks for when it connects, for where a pgbouncer between drops it.
ALTER ROLE saga_service SET timezone = 'UTC';
ALTER ROLE saga_service SET lock_timeout = '1s';
ALTER ROLE saga_service SET statement_timeout = '15s';
ALTER ROLE saga_service SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE saga_service SET enable_seqscan = 'off';
ALTER ROLE saga_service SET enable_hashjoin = 'off';
ALTER ROLE saga_service SET enable_mergejoin = 'off';
ALTER ROLE saga_service SET plan_cache_mode = 'force_generic_plan';
ALTER ROLE saga_service SET jit = 'off';

-- Whatever a person runs by mistake ends, and locks nothing that sagas wait for.
ALTER ROLE saga_reader SET default_transaction_read_only = on;
ALTER ROLE saga_reader SET statement_timeout = '30s';
ALTER ROLE saga_reader SET idle_in_transaction_session_timeout = '30s';

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO saga_owner;
GRANT USAGE ON SCHEMA public TO saga_service, saga_reader, saga_starter, saga_cdc;

-- What a migration adds can be used at once by the service.
ALTER DEFAULT PRIVILEGES FOR ROLE saga_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO saga_service;
ALTER DEFAULT PRIVILEGES FOR ROLE saga_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO saga_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO saga_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO saga_service;

-- After the first migration: the secret and the list of migrations do not change, a
-- key is revoked and never deleted or raised, starts come through saga_start() only,
-- and people read what is named here.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['saga_meta', 'schema_migrations'] LOOP
        IF to_regclass(name) IS NOT NULL THEN
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I FROM saga_service', name);
        END IF;
    END LOOP;
    IF to_regclass('api_keys') IS NOT NULL THEN
        REVOKE UPDATE, DELETE ON api_keys FROM saga_service;
        GRANT UPDATE (revoked_at) ON api_keys TO saga_service;
        GRANT SELECT (name, role, created_at, revoked_at) ON api_keys TO saga_reader;
    END IF;
    IF to_regclass('saga_starts') IS NOT NULL THEN
        REVOKE INSERT ON saga_starts FROM saga_service;
        -- A dump has no rights, and a function without any is everybody's.
        REVOKE ALL ON FUNCTION saga_start(text, json, text) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION saga_start(text, json, text) TO saga_starter;
    END IF;
    IF to_regclass('saga_events') IS NOT NULL THEN
        GRANT SELECT ON saga_events TO saga_cdc;
    END IF;
    FOREACH name IN ARRAY ARRAY[
        'schema_migrations', 'saga_plans', 'sagas', 'saga_data', 'saga_history',
        'saga_ignored', 'saga_residuals', 'saga_outbox', 'saga_steps', 'saga_starts',
        'saga_events', 'saga_leases'
    ] LOOP
        IF to_regclass(name) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON %I TO saga_reader', name);
        END IF;
    END LOOP;
END
$$;
