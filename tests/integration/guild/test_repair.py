# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of drift, planted in a schema that has everything: mended, or left alone and told."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_repair import Repair
from ansible_collections.dcm.platform.plugins.module_utils._guild_report import Question

from .conftest import Lab, Site
from .test_engine import manage
from .test_modules import Ansible, ansible, documentation, renumber  # noqa: F401
from .test_playbooks import Operator, kube_api, operator  # noqa: F401

EVERYTHING = """
CREATE TYPE mood AS ENUM ('calm', 'angry');
CREATE DOMAIN short AS varchar(20) CHECK (value <> '');
CREATE TABLE part (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name short NOT NULL UNIQUE, size int DEFAULT 7, mood mood,
    item_id bigint REFERENCES item ON DELETE CASCADE, note varchar(90), CHECK (size > 0));
CREATE INDEX part_size_idx ON part (size) WHERE size > 3;
CREATE SEQUENCE tickets INCREMENT 5;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE VIEW small AS SELECT id, name FROM part WHERE size < 3;
CREATE VIEW smaller AS SELECT id FROM small;
CREATE TRIGGER keep_part BEFORE UPDATE ON part FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE part ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON part FOR SELECT USING (size > 0);
DO $$ BEGIN EXECUTE format('REVOKE UPDATE, DELETE ON small FROM %I', current_schema() || '_app'); END $$;
INSERT INTO item (name) VALUES ('one'), ('two');
INSERT INTO part (name, size, item_id) VALUES ('a', 1, 1), ('b', 5, 2);
"""
# {g} is the guild: statements of the administrator, each a drift that a repair takes back.
SAFE = {
    "a right too many": "GRANT DELETE ON {g}.part TO PUBLIC",
    "a right passed on": "GRANT USAGE ON SCHEMA {g} TO other; GRANT SELECT ON {g}.part TO other WITH GRANT OPTION;"
    "SET ROLE other; GRANT SELECT ON {g}.part TO third; RESET ROLE",
    "a right too few": "REVOKE INSERT ON {g}.part FROM {g}_app",
    "a right that may be passed on": "GRANT SELECT ON {g}.part TO {g}_app WITH GRANT OPTION",
    "a right on a column": "GRANT SELECT (name) ON {g}.part TO PUBLIC",
    "a right on the schema": "GRANT USAGE ON SCHEMA {g} TO other; REVOKE USAGE ON SCHEMA {g} FROM {g}_app",
    "a right on a sequence": "GRANT UPDATE ON SEQUENCE {g}.tickets TO other",
    "a right on a function": "GRANT EXECUTE ON FUNCTION {g}.twice(int) TO PUBLIC",
    "a right on a type": "GRANT USAGE ON TYPE {g}.mood TO PUBLIC",
    "a right of the owner taken": "REVOKE ALL ON {g}.part FROM {g}_owner",
    "default rights too many": "ALTER DEFAULT PRIVILEGES FOR ROLE {g}_owner GRANT SELECT ON TABLES TO PUBLIC",
    "default rights too few": "ALTER DEFAULT PRIVILEGES FOR ROLE {g}_owner REVOKE USAGE ON TYPES FROM {g}_app",
    "default rights gone": "ALTER DEFAULT PRIVILEGES FOR ROLE {g}_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC;"
    "ALTER DEFAULT PRIVILEGES FOR ROLE {g}_owner REVOKE EXECUTE ON FUNCTIONS FROM {g}_app",
    "default rights of the schema": "ALTER DEFAULT PRIVILEGES FOR ROLE {g}_owner IN SCHEMA {g} GRANT SELECT ON TABLES TO other",
    "default rights of somebody else": "ALTER DEFAULT PRIVILEGES IN SCHEMA {g} GRANT SELECT ON TABLES TO other",
    "the owner of the schema": "ALTER SCHEMA {g} OWNER TO other",
    "the owner of a table": "ALTER TABLE {g}.part OWNER TO other",
    "the owner of a view": "ALTER VIEW {g}.small OWNER TO other",
    "the owner of a function": "ALTER FUNCTION {g}.keep() OWNER TO other",
    "the owner of a type": "ALTER TYPE {g}.mood OWNER TO other",
    "a role that may log in": "ALTER ROLE {g}_app LOGIN CREATEDB",
    "a role that does not inherit": "ALTER ROLE {g}_owner NOINHERIT",
    "a membership": "GRANT {g}_app TO other",
    "a membership of the services": "GRANT {g}_owner TO {service}",
    "a membership elsewhere": "GRANT other TO {g}_app",
    "an index too few": "DROP INDEX {g}.part_size_idx",
    "an index too many": "CREATE INDEX extra ON {g}.part (note)",
    "another index": "DROP INDEX {g}.part_size_idx; CREATE INDEX part_size_idx ON {g}.part (size)",
    "an invalid index": "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{g}.part_size_idx'::regclass",
    "a check too few": "ALTER TABLE {g}.part DROP CONSTRAINT part_size_check",
    "a check too many": "ALTER TABLE {g}.part ADD CONSTRAINT extra CHECK (size < 900)",
    "another check": "ALTER TABLE {g}.part DROP CONSTRAINT part_size_check, ADD CONSTRAINT part_size_check CHECK (size > -1)",
    "a check that was never checked": "ALTER TABLE {g}.part DROP CONSTRAINT part_size_check;"
    "ALTER TABLE {g}.part ADD CONSTRAINT part_size_check CHECK (size > 0) NOT VALID",
    "a unique constraint too few": "ALTER TABLE {g}.part DROP CONSTRAINT part_name_key",
    "a primary key too few": "ALTER TABLE {g}.part DROP CONSTRAINT part_pkey",
    "a foreign key too few": "ALTER TABLE {g}.part DROP CONSTRAINT part_item_id_fkey",
    "another foreign key": "ALTER TABLE {g}.part DROP CONSTRAINT part_item_id_fkey;"
    "ALTER TABLE {g}.part ADD CONSTRAINT part_item_id_fkey FOREIGN KEY (item_id) REFERENCES {g}.item",
    "a primary key and what points to it": "ALTER TABLE {g}.item DROP CONSTRAINT item_pkey CASCADE",
    "another default": "ALTER TABLE {g}.part ALTER size SET DEFAULT 8",
    "no default": "ALTER TABLE {g}.part ALTER size DROP DEFAULT",
    "a default too many": "ALTER TABLE {g}.part ALTER note SET DEFAULT 'x'",
    "not null too few": "ALTER TABLE {g}.part ALTER name DROP NOT NULL",
    "not null too many": "ALTER TABLE {g}.item ALTER name SET NOT NULL",
    "an option of a column": "ALTER TABLE {g}.part ALTER size SET (n_distinct = 7)",
    "an option of a table": "ALTER TABLE {g}.part SET (fillfactor = 50)",
    "an option of a view": "ALTER VIEW {g}.small SET (security_barrier = true)",
    "no row security": "ALTER TABLE {g}.part DISABLE ROW LEVEL SECURITY",
    "forced row security": "ALTER TABLE {g}.part FORCE ROW LEVEL SECURITY",
    "another sequence": "ALTER SEQUENCE {g}.tickets INCREMENT 1 MAXVALUE 1000 CYCLE",
    "a function too few": "DROP FUNCTION {g}.twice(int)",
    "a function too many": "CREATE FUNCTION {g}.extra() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "another function": "CREATE OR REPLACE FUNCTION {g}.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n'",
    "a function of another result": "DROP FUNCTION {g}.twice(int);"
    "CREATE FUNCTION {g}.twice(n int) RETURNS text LANGUAGE sql AS 'SELECT n::text'",
    "a trigger too few": "DROP TRIGGER keep_part ON {g}.part",
    "a trigger too many": "CREATE TRIGGER extra AFTER DELETE ON {g}.part FOR EACH ROW EXECUTE FUNCTION {g}.keep()",
    "a trigger that sleeps": "ALTER TABLE {g}.part DISABLE TRIGGER keep_part",
    "another trigger": "DROP TRIGGER keep_part ON {g}.part;"
    "CREATE TRIGGER keep_part AFTER UPDATE ON {g}.part FOR EACH ROW EXECUTE FUNCTION {g}.keep()",
    "a view too few": "DROP VIEW {g}.smaller",
    "two views too few": "DROP VIEW {g}.small CASCADE",
    "a view too many": "CREATE VIEW {g}.extra AS SELECT 1 AS one",
    "another view": "CREATE OR REPLACE VIEW {g}.smaller AS SELECT id FROM {g}.small WHERE id > 1",
    "a policy too few": "DROP POLICY seen ON {g}.part",
    "a policy too many": "CREATE POLICY extra ON {g}.part TO {g}_app WITH CHECK (size > 1)",
    "another policy": "ALTER POLICY seen ON {g}.part USING (true)",
    "several at once": "DROP INDEX {g}.part_size_idx; ALTER TABLE {g}.part OWNER TO other;"
    "GRANT ALL ON {g}.part TO PUBLIC; DROP VIEW {g}.smaller",
}
# … and what it only tells: statement, words of it.
BY_HAND = {
    "a column too few": ("ALTER TABLE {g}.part DROP COLUMN note", "column part.note is missing"),
    "a column too many": ("ALTER TABLE {g}.part ADD COLUMN extra int", "column part.extra is extra"),
    "another type": ("ALTER TABLE {g}.part ALTER note TYPE text", "column part.note: type is 'text', not 'character varying(90)'"),
    "another identity": ("ALTER TABLE {g}.part ALTER id SET GENERATED BY DEFAULT", "column part.id: identity is 'd', not 'a'"),
    "a table too few": ("DROP TABLE {g}.part CASCADE", "table part is missing"),
    "a table too many": ("CREATE TABLE {g}.extra (id int PRIMARY KEY)", "table extra is extra"),
    "a sequence too few": ("DROP SEQUENCE {g}.tickets", "sequence tickets is missing"),
    "a table without log": ("ALTER TABLE {g}.part SET UNLOGGED", "relation part is of another kind"),
    "another enum": ("ALTER TYPE {g}.mood ADD VALUE 'glad'", "type mood is another one"),
    "another domain": ("ALTER DOMAIN {g}.short DROP CONSTRAINT short_check", "type short is another one"),
    "a type too many": ("CREATE TYPE {g}.extra AS ENUM ('a')", "type extra is extra"),
    "the ledger": ("DELETE FROM dcm.guild_migration WHERE version = '2' AND guild_id = {id}", "ledger 2 "),
    "data that breaks a rule": (
        "ALTER TABLE {g}.part DROP CONSTRAINT part_name_key; INSERT INTO {g}.part (name) VALUES ('a')",
        "constraint part_name_key of part is missing",
    ),
}


def repair(site: Site, check: bool = False, ids: list[int] | None = None) -> dict[str, Any]:
    question = Question(ids, site.service, False, None, 2, 0)
    return Repair(site.access(), question, str(uuid.uuid4()), "tester", check).run(site.set())


def fleet(lab: Lab, count: int) -> list[int]:
    lab.write(2, EVERYTHING)
    ids = lab.ids(count)
    lab.run(ids)
    with lab.connect() as conn:
        for role in ("other", "third"):
            conn.execute(f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    return ids


def plant(lab: Lab, guild_id: int, text: str) -> None:
    with lab.connect(options="-c allow_system_table_mods=on") as conn:
        conn.execute(text.format(g=f"guild_{guild_id}", id=guild_id, service=lab.service))


def rows(lab: Lab, guild_id: int, table: str) -> list[tuple[Any, ...]]:
    statement = psycopg.sql.SQL("SELECT * FROM {} ORDER BY 1").format(psycopg.sql.Identifier(f"guild_{guild_id}", table))
    with lab.connect() as conn:
        return conn.execute(statement).fetchall()


def test_every_kind_that_loses_no_data_is_mended(lab: Lab) -> None:
    """A guild for each kind, so that each is seen by itself; all are mended in one run."""
    ids = fleet(lab, len(SAFE) + 1)
    expected, before = lab.expected(), rows(lab, ids[0], "part")
    for guild_id, (kind, text) in zip(ids, SAFE.items(), strict=False):
        plant(lab, guild_id, text)
        assert lab.fingerprints()[guild_id] != expected, kind
    shown = repair(lab, check=True)
    result = repair(lab)
    assert result["failure"] == ""
    left = {kind: row for kind, row in zip(SAFE, result["guilds"], strict=True) if row["by_hand"] or not row["statements"]}
    assert not left
    assert result["totals"] == {"checked": len(ids), "differing": len(SAFE), "repaired": len(SAFE), "by_hand": 0, "failed": 0}
    assert set(lab.fingerprints().values()) == {expected}
    # What was shown is what was done, but for what shows only then.
    done = {row["id"]: row["statements"] for row in result["guilds"]}
    assert not [row["id"] for row in shown["guilds"] if row["statements"] != done[row["id"]][: len(row["statements"])]]
    assert all(rows(lab, guild_id, "part") == before for guild_id in ids)
    audited = lab.query("SELECT guild_id, detail FROM dcm.audit_log WHERE action = 'repaired' ORDER BY guild_id")
    assert {guild_id: detail["statements"] for guild_id, detail in audited} == {int(one): texts for one, texts in done.items()}
    removed = [text for _guild_id, detail in audited for text in detail["removed"]]
    assert any("CREATE INDEX extra" in text for text in removed)
    assert any("extra()" in text for text in removed)
    assert repair(lab)["changed"] is False


def test_what_could_lose_data_is_told_and_left_alone(lab: Lab) -> None:
    ids = fleet(lab, len(BY_HAND) + 1)
    for guild_id, (text, _words) in zip(ids, BY_HAND.values(), strict=False):
        plant(lab, guild_id, text)
    before = lab.fingerprints()
    for check in (True, False):
        result = repair(lab, check=check)
        assert result["failure"] == ""
        missing = {
            kind: row["by_hand"]
            for (kind, (_text, words)), row in zip(BY_HAND.items(), result["guilds"], strict=True)
            if not any(words in hand["what"] and hand["advice"] for hand in row["by_hand"]) and not (check and "data" in kind)
        }
        assert not missing
    # Only views went with the dropped table, and cannot come back without it.
    assert {guild_id for guild_id, value in lab.fingerprints().items() if value != before[guild_id]} == set()
    refused = next(row for kind, row in zip(BY_HAND, result["guilds"], strict=True) if kind == "data that breaks a rule")
    assert "Postgres refused: could not create unique index" in refused["by_hand"][0]["advice"]


def test_the_safe_part_of_a_guild_is_mended_beside_what_is_left_to_people(lab: Lab) -> None:
    (guild_id,) = fleet(lab, 1)
    plant(lab, guild_id, "ALTER TABLE {g}.part ADD COLUMN extra int; GRANT DELETE ON {g}.part TO PUBLIC; DROP INDEX {g}.part_size_idx")
    (row,) = repair(lab)["guilds"]
    assert len(row["statements"]) == 2
    assert [hand["what"] for hand in row["by_hand"]] == ["column part.extra is extra"]
    plant(lab, guild_id, "ALTER TABLE {g}.part DROP COLUMN extra")
    assert lab.fingerprints()[guild_id] == lab.expected()


def test_a_guild_that_cannot_be_mended_does_not_stop_the_others(lab: Lab) -> None:
    locked, gone, other = fleet(lab, 3)
    for guild_id in (locked, other):
        plant(lab, guild_id, SAFE["a primary key and what points to it"])
    plant(lab, gone, "DROP SCHEMA {g} CASCADE")
    with lab.connect(autocommit=False) as blocker:
        blocker.execute(psycopg.sql.SQL("LOCK TABLE {}").format(psycopg.sql.Identifier(f"guild_{locked}", "item")))
        question = Question(None, lab.service, False, None, 2, 0)
        result = Repair(lab.access(lock_timeout=0.2), question, str(uuid.uuid4()), "tester", False).run(lab.set())
    assert result["totals"] == {"checked": 3, "differing": 3, "repaired": 1, "by_hand": 0, "failed": 2}
    assert f"guild {locked}: canceling statement due to lock timeout" in result["failure"]
    assert f"guild {gone}: its schema is gone from the server: restore the guild from a backup" in result["failure"]
    assert lab.fingerprints()[other] == lab.expected()


def test_only_the_named_guilds_are_mended(lab: Lab) -> None:
    first, second = fleet(lab, 2)
    for guild_id in (first, second):
        plant(lab, guild_id, SAFE["a right too many"])
    assert [row["id"] for row in repair(lab, ids=[second])["guilds"]] == [str(second)]
    assert {guild_id: value == lab.expected() for guild_id, value in lab.fingerprints().items()} == {first: False, second: True}
    with pytest.raises(PlatformError, match="not in the registry: 5"):
        repair(lab, ids=[5])


def test_where_a_history_takes_more_than_a_transaction_most_guilds_are_the_model(lab: Lab) -> None:
    lab.write(3, "CREATE INDEX CONCURRENTLY item_name_idx ON item (name);", " transaction:false")
    ids = fleet(lab, 3)
    plant(lab, ids[1], "DROP INDEX {g}.item_name_idx")
    assert repair(lab)["totals"]["repaired"] == 1
    assert len(set(lab.fingerprints().values())) == 1
    plant(lab, ids[0], "DROP INDEX {g}.item_name_idx")
    plant(lab, ids[1], "DROP INDEX {g}.part_size_idx")
    assert "most guilds of the same history differ" in repair(lab)["failure"]


def test_an_administrator_without_superuser_mends_too(lab: Lab) -> None:
    lab.write(2, EVERYTHING)
    manage(lab)
    first, second = lab.ids(2)
    lab.run([first, second])
    with lab.server.connect(lab.database) as conn:
        conn.execute(
            f"DROP INDEX guild_{first}.part_size_idx; GRANT DELETE ON guild_{first}.part TO PUBLIC; DROP VIEW guild_{first}.smaller"
        )
    result = repair(lab)
    assert (result["failure"], result["totals"]["repaired"]) == ("", 1)
    assert set(lab.fingerprints().values()) == {lab.expected()}


def test_the_example_runs_as_documented(ansible: Ansible) -> None:  # noqa: F811
    tasks = renumber(documentation("guild_schema", "EXAMPLES")[:1] + documentation("guild_repair", "EXAMPLES"), ansible.site)
    tasks[1]["dcm.platform.guild_repair"] |= {"login_db": ansible.site.database, "service_role": ansible.site.service}
    _created, nothing = ansible.run(tasks)
    assert not nothing["changed"]
    with ansible.site.connect() as conn:
        conn.execute(f"DROP INDEX guild_{ansible.site.ids(1, 11)[0]}.cleanup_action_occurred_at_idx")
    (done,) = ansible.run(tasks[1:])
    assert done["changed"]
    described = set(documentation("guild_repair", "RETURN"))
    assert described == set(done) - {"changed", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed"}


def test_the_playbook_shows_mends_and_names_what_is_left(operator: Operator) -> None:  # noqa: F811
    operator.make_cluster()
    first, second = operator.site.ids(2)
    operator.play("guild_onboard", "-e", f"guild_id={first},{second}")
    assert "Of 2 guilds 0 differ" in " ".join(operator.play("guild_repair").split())
    with operator.site.connect() as conn:
        conn.execute(f"DROP INDEX guild_{second}.cleanup_action_occurred_at_idx")
    shown = " ".join(operator.play("guild_repair", "--check").split())
    assert f"CREATE INDEX cleanup_action_occurred_at_idx ON guild_{second}.cleanup_action" in shown
    assert "1 would be repaired, 0 need people" in shown
    assert "changed=1" in shown
    assert "Of 1 guilds 0 differ" in " ".join(operator.play("guild_repair", "-e", f"guild_id={first}").split())
    assert "1 are repaired, 0 need people" in " ".join(operator.play("guild_repair").split())
    assert "changed=0" in operator.play("guild_repair")
    with operator.site.connect() as conn:
        conn.execute(f"ALTER TABLE guild_{first}.settings ADD COLUMN extra int")
    told = " ".join(operator.play("guild_repair", fails=True).split())
    assert "column settings.extra is extra" in told
    assert "DROP COLUMN" in told
