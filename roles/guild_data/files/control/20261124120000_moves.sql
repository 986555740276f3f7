-- Guilds on their way from one placement to another. Both servers keep a row while it lasts: one says 'out', the other 'in'.
-- A guild in state 'moving' is out of everybody's reach but the mover's, on both servers.

-- migrate:up
ALTER TABLE dcm.guild DROP CONSTRAINT guild_state_check;
ALTER TABLE dcm.guild ADD CONSTRAINT guild_state_check CHECK (state IN ('onboarding', 'active', 'suspended', 'moving'));

ALTER TABLE dcm.guild_erasure ADD COLUMN kind varchar(16) NOT NULL DEFAULT 'erased' CHECK (kind IN ('erased', 'moved'));
COMMENT ON COLUMN dcm.guild_erasure.kind IS 'moved: its data left this server for another one. Either way it must not come back by a restore';

CREATE TABLE dcm.guild_move (
    guild_id bigint PRIMARY KEY,
    move_id uuid NOT NULL,
    direction varchar(3) NOT NULL CHECK (direction IN ('out', 'in')),
    placement varchar(63) NOT NULL,
    step varchar(16) NOT NULL CHECK (step IN ('copying', 'copied', 'switching', 'switched')),
    state varchar(16) NOT NULL CHECK (state IN ('active', 'suspended')),
    started_by varchar(128) NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN dcm.guild_move.placement IS 'the other one: where it goes to (out), or comes from (in)';
COMMENT ON COLUMN dcm.guild_move.state IS 'what the guild was before, and will be again';

-- migrate:down
DROP TABLE dcm.guild_move;
ALTER TABLE dcm.guild_erasure DROP COLUMN kind;
ALTER TABLE dcm.guild DROP CONSTRAINT guild_state_check;
ALTER TABLE dcm.guild ADD CONSTRAINT guild_state_check CHECK (state IN ('onboarding', 'active', 'suspended'));
