-- Which seeds each guild got, so that a second run adds nothing. The rows go with the guild.

-- migrate:up
CREATE TABLE dcm.guild_seed (
    guild_id bigint NOT NULL REFERENCES dcm.guild ON DELETE CASCADE,
    version varchar(32) NOT NULL,
    checksum varchar(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, version)
);

-- migrate:down
DROP TABLE dcm.guild_seed;
