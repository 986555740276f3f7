-- Guilds that are to be erased, and from when on that is allowed. The row goes when the guild is erased or taken back.

-- migrate:up
CREATE TABLE dcm.guild_offboarding (
    guild_id bigint PRIMARY KEY,
    reason varchar(200) NOT NULL,
    requested_by varchar(128) NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    erase_after timestamptz NOT NULL
);

-- migrate:down
DROP TABLE dcm.guild_offboarding;
