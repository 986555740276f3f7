-- What was cleaned up, when, and why. A record, not a work table: the application role adds and reads, nothing else.

-- migrate:up
CREATE TABLE cleanup_action (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id varchar(64) NOT NULL UNIQUE,
    rule_id bigint REFERENCES cleanup_rule ON DELETE SET NULL,
    channel_id bigint NOT NULL,
    message_id bigint NOT NULL,
    author_id bigint NOT NULL,
    action varchar(16) NOT NULL CHECK (action IN ('deleted', 'flagged')),
    reason varchar(200) NOT NULL,
    trace_id varchar(32),
    occurred_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX cleanup_action_occurred_at_idx ON cleanup_action (occurred_at);

DO $$
BEGIN
    EXECUTE format('REVOKE UPDATE, DELETE ON cleanup_action FROM %I', current_schema() || '_app');
END
$$;

-- migrate:down
DROP TABLE cleanup_action;
