-- Something to look at in a guild of a developer: rules, a setting and a week of cleaned up messages. Never for production.
-- Runs once per guild, as a migration does: as the guild's owner role, with search_path = that guild's schema.

-- migrate:up
INSERT INTO settings (key, value) VALUES ('log_channel', '"1100000000000000003"') ON CONFLICT (key) DO NOTHING;

INSERT INTO cleanup_rule (name, kind, params)
VALUES ('demo-links', 'link', '{"allow": ["example.org"]}'), ('demo-caps', 'caps', '{"share": 0.8}')
ON CONFLICT (name) DO NOTHING;

INSERT INTO cleanup_action (event_id, rule_id, channel_id, message_id, author_id, action, reason, occurred_at)
SELECT
    'demo-' || n,
    (SELECT id FROM cleanup_rule WHERE name = 'demo-links'),
    1100000000000000003,
    1100000000000001000 + n,
    1100000000000000100 + n % 7,
    CASE WHEN n % 5 = 0 THEN 'flagged' ELSE 'deleted' END,
    'demo data',
    now() - n * interval '4 hours'
FROM generate_series(1, 42) AS n
ON CONFLICT (event_id) DO NOTHING;

-- migrate:down
DELETE FROM cleanup_action WHERE event_id LIKE 'demo-%';
DELETE FROM cleanup_rule WHERE name LIKE 'demo-%';
DELETE FROM settings WHERE key = 'log_channel';
