-- What Postgres gives to everybody by default, and no guild needs: connecting, temporary tables, the schema public,
-- large objects and advisory locks (both live outside schemas, so a guild could fill the disk or block another guild's migration).

-- migrate:up
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
END
$$;

-- Functions of the server itself belong to the superuser: a managed server without one keeps its defaults.
DO $$
DECLARE
    server_function regprocedure;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOR server_function IN
        SELECT oid::regprocedure FROM pg_catalog.pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^(lo_|loread|lowrite)' OR proname ~ '^pg_(try_)?advisory_')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', server_function);
    END LOOP;
END
$$;

-- migrate:down
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
    GRANT USAGE ON SCHEMA public TO PUBLIC;
END
$$;
