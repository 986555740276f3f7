-- What restores have proven: a backup counts only after one whose content was compared. Append-only, as a proof is.

-- migrate:up
CREATE TABLE dcm.restore_proof (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proven_at timestamptz NOT NULL DEFAULT now(),
    equal boolean NOT NULL,
    backup varchar(64) NOT NULL,
    point varchar(64) NOT NULL,
    seconds numeric(12, 1) NOT NULL,
    guilds integer NOT NULL,
    rows bigint NOT NULL,
    schemas integer NOT NULL,
    problem text NOT NULL DEFAULT '',
    actor varchar(128) NOT NULL
);
COMMENT ON TABLE dcm.restore_proof IS 'equal: what was restored from that backup to that point held the same rows as the database did there';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dcm.restore_proof EXECUTE FUNCTION dcm.refuse_change();
ALTER TABLE dcm.restore_proof ENABLE ALWAYS TRIGGER append_only;

-- migrate:down
DROP TABLE dcm.restore_proof;
