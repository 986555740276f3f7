-- The books of several guilds that migrate in one transaction, as one call for all of them: set-based, so that a guild costs little.

-- migrate:up
-- Room beside each row of the registry: an update then touches no index.
ALTER TABLE dcm.guild SET (fillfactor = 70);

CREATE FUNCTION dcm.claim_guilds(wanted bigint[], expected_states text[], expected_digests text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one bigint;
BEGIN
    -- In the order of ids, always: two operators that want the same guilds then wait for each other, and do not block each other.
    FOR one IN SELECT unnest(wanted) ORDER BY 1 LOOP
        PERFORM pg_catalog.pg_advisory_xact_lock(one);
    END LOOP;
    SELECT w.id INTO one
    FROM unnest(wanted, expected_states, expected_digests) AS w (id, state, digest) LEFT JOIN dcm.guild g ON g.guild_id = w.id
    WHERE g.state IS DISTINCT FROM w.state OR g.ledger_digest IS DISTINCT FROM w.digest LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'guild % has changed since the plan was made', one USING ERRCODE = 'DCM01';
    END IF;
END
$$;

CREATE FUNCTION dcm.record_migrations(
    wanted bigint[], new_states text[], new_plans text[], versions text[], checksums text[], new_version text, new_digest text, run uuid, who text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dcm.guild g
    SET state = w.state, plan = w.plan, schema_version = new_version, ledger_digest = new_digest, updated_at = now()
    FROM unnest(wanted, new_states, new_plans) AS w (id, state, plan) WHERE g.guild_id = w.id;
    INSERT INTO dcm.guild_migration (guild_id, version, checksum)
    SELECT w.id, v.version, v.checksum FROM unnest(wanted) AS w (id) CROSS JOIN unnest(versions, checksums) AS v (version, checksum);
    INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor)
    SELECT run, w.id, 'migrated', jsonb_build_object('version', new_version), who FROM unnest(wanted) AS w (id);
END
$$;

REVOKE ALL ON FUNCTION dcm.claim_guilds(bigint[], text[], text[]),
    dcm.record_migrations(bigint[], text[], text[], text[], text[], text, text, uuid, text) FROM PUBLIC;

-- migrate:down
DROP FUNCTION dcm.record_migrations(bigint[], text[], text[], text[], text[], text, text, uuid, text);
DROP FUNCTION dcm.claim_guilds(bigint[], text[], text[]);
ALTER TABLE dcm.guild RESET (fillfactor);
