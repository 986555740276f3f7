-- What a guild configures: free settings and its clean-up rules.
-- Runs once per guild, as the guild's owner role, with search_path = that guild's schema (see docs/guides/guild-data.md).
-- The application role gets its rights on new tables and sequences from the owner's default privileges.

-- migrate:up
CREATE TABLE settings (
    key varchar(64) PRIMARY KEY,
    value jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cleanup_rule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(64) NOT NULL UNIQUE,
    kind varchar(32) NOT NULL CHECK (kind IN ('invite', 'link', 'regex', 'mention_spam', 'caps')),
    params jsonb NOT NULL DEFAULT '{}',
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO cleanup_rule (name, kind) VALUES ('no-invites', 'invite');

-- migrate:down
DROP TABLE cleanup_rule;
DROP TABLE settings;
