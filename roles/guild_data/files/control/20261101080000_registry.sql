-- The control schema: which guilds there are, what was applied to each, and who did what.
-- Every name is written in full: this file also runs through dbmate by hand.

-- migrate:up
CREATE SCHEMA dcm;
REVOKE ALL ON SCHEMA dcm FROM PUBLIC;

CREATE TABLE dcm.control_migration (
    version varchar(32) PRIMARY KEY,
    name varchar(128) NOT NULL,
    checksum varchar(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dcm.guild (
    guild_id bigint PRIMARY KEY CHECK (guild_id > 0),
    state varchar(16) NOT NULL CHECK (state IN ('onboarding', 'active', 'suspended')),
    plan varchar(32) NOT NULL,
    placement varchar(63) NOT NULL,
    schema_version varchar(32) NOT NULL DEFAULT '',
    ledger_digest varchar(64) NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN dcm.guild.ledger_digest IS 'hash over the applied migrations in order: one comparison instead of reading the ledger';

CREATE TABLE dcm.guild_migration (
    guild_id bigint NOT NULL REFERENCES dcm.guild,
    version varchar(32) NOT NULL,
    checksum varchar(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, version)
);

CREATE TABLE dcm.guild_erasure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    guild_id bigint NOT NULL,
    schema_version varchar(32) NOT NULL,
    erased_by varchar(63) NOT NULL DEFAULT session_user,
    erased_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dcm.guild_erasure IS 'replayed after every restore: an erased guild stays erased';

CREATE TABLE dcm.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL,
    guild_id bigint,
    action varchar(32) NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    actor varchar(128) NOT NULL,
    login varchar(63) NOT NULL DEFAULT session_user,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_log_guild_id_idx ON dcm.audit_log (guild_id, id);

CREATE FUNCTION dcm.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dcm.audit_log EXECUTE FUNCTION dcm.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dcm.guild_erasure EXECUTE FUNCTION dcm.refuse_change();
ALTER TABLE dcm.audit_log ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE dcm.guild_erasure ENABLE ALWAYS TRIGGER append_only;

-- Takes the guild's lock until the end of the transaction, then looks again: what was planned may be done already by somebody else.
CREATE FUNCTION dcm.claim_guild(wanted bigint, expected_state text, expected_digest text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current_row dcm.guild%ROWTYPE;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(wanted);
    SELECT * INTO current_row FROM dcm.guild WHERE guild_id = wanted;
    IF current_row.state IS DISTINCT FROM expected_state OR current_row.ledger_digest IS DISTINCT FROM expected_digest THEN
        RAISE EXCEPTION 'guild % has changed since the plan was made', wanted USING ERRCODE = 'DCM01';
    END IF;
END
$$;

CREATE VIEW dcm.guild_directory AS
SELECT guild_id, state::text AS state, plan::text AS plan, schema_version::text AS schema_version FROM dcm.guild;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dcm FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'dcm_directory') THEN
        CREATE ROLE dcm_directory NOLOGIN;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA dcm TO dcm_directory;
GRANT SELECT ON dcm.guild_directory TO dcm_directory;

-- migrate:down
DROP SCHEMA dcm CASCADE;
