-- What a transaction of the engine leaves in ledger, registry and audit log, as one call: a function keeps its plans for the session,
-- statements would be planned anew for each guild. The ledger is written by these functions alone, so it needs no foreign key.

-- migrate:up
ALTER TABLE dcm.guild_migration DROP CONSTRAINT guild_migration_guild_id_fkey;

CREATE FUNCTION dcm.record_ledger(wanted bigint, versions text[], checksums text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR position IN 1 .. cardinality(versions) LOOP
        INSERT INTO dcm.guild_migration (guild_id, version, checksum) VALUES (wanted, versions[position], checksums[position]);
    END LOOP;
END
$$;

CREATE FUNCTION dcm.record_onboarding(
    wanted bigint, new_state text, new_plan text, new_placement text, versions text[], checksums text[], new_version text, new_digest text,
    run uuid, who text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dcm.guild (guild_id, state, plan, placement, schema_version, ledger_digest)
    VALUES (wanted, new_state, new_plan, new_placement, new_version, new_digest);
    PERFORM dcm.record_ledger(wanted, versions, checksums);
    INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor)
    VALUES (run, wanted, 'onboarded', jsonb_build_object('version', new_version, 'plan', new_plan, 'placement', new_placement), who);
END
$$;

CREATE FUNCTION dcm.record_migration(
    wanted bigint, new_state text, new_plan text, versions text[], checksums text[], new_version text, new_digest text, run uuid, who text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dcm.guild
    SET state = new_state, plan = new_plan, schema_version = new_version, ledger_digest = new_digest, updated_at = now()
    WHERE guild_id = wanted;
    PERFORM dcm.record_ledger(wanted, versions, checksums);
    INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor)
    VALUES (run, wanted, 'migrated', jsonb_build_object('version', new_version), who);
END
$$;

REVOKE ALL ON FUNCTION dcm.record_ledger(bigint, text[], text[]),
    dcm.record_onboarding(bigint, text, text, text, text[], text[], text, text, uuid, text),
    dcm.record_migration(bigint, text, text, text[], text[], text, text, uuid, text) FROM PUBLIC;

-- migrate:down
DROP FUNCTION dcm.record_migration(bigint, text, text, text[], text[], text, text, uuid, text);
DROP FUNCTION dcm.record_onboarding(bigint, text, text, text, text[], text[], text, text, uuid, text);
DROP FUNCTION dcm.record_ledger(bigint, text[], text[]);
ALTER TABLE dcm.guild_migration ADD CONSTRAINT guild_migration_guild_id_fkey FOREIGN KEY (guild_id) REFERENCES dcm.guild;
