# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""No guild reads, lists or touches anything of another: every pair of guilds, every kind of object, every trick, from the pooled login.

Each probe is a statement that must fail for lack of rights (or see nothing) while it runs as guild A and aims at guild B. The same probe
aimed at A itself must work where it is meant to, so that a probe cannot pass because it is broken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresServer

from .conftest import MIGRATIONS, Site

GUILDS = 4
EXTRA = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE DOMAIN short AS varchar(8);
CREATE SEQUENCE counter;
CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ''of this guild''::text';
CREATE VIEW overview AS SELECT key FROM settings;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS number FROM settings;
"""
LATER = "CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note varchar(40)); INSERT INTO later (note) VALUES ('x');"

# {s} is the schema aimed at, {i} its guild id, {app} and {owner} its roles.
OWN_WORK = {
    "read a table": "SELECT * FROM {s}.settings",
    "write a table": "INSERT INTO {s}.settings (key, value) VALUES ('k', '1')",
    "change a table": "UPDATE {s}.cleanup_rule SET enabled = true",
    "delete from a table": "DELETE FROM {s}.settings",
    "add to the record": "INSERT INTO {s}.cleanup_action (event_id, channel_id, message_id, author_id, action, reason)"
    " VALUES ('e', 1, 1, 1, 'deleted', 'r')",
    "read a table of a later migration": "SELECT * FROM {s}.later",
    "write a table of a later migration": "INSERT INTO {s}.later (note) VALUES ('y')",
    "read a view": "SELECT * FROM {s}.overview",
    "read a materialized view": "SELECT * FROM {s}.totals",
    "use a sequence": "SELECT nextval('{s}.counter')",
    "call a function": "SELECT {s}.secret()",
    "use a type": "SELECT 'calm'::{s}.mood",
    "use a domain": "SELECT 'x'::{s}.short",
    "copy out": "COPY {s}.settings TO STDOUT",
    "copy a query out": "COPY (SELECT * FROM {s}.cleanup_rule) TO STDOUT",
    "read through search_path": "SELECT set_config('search_path', '{s}', true); SELECT * FROM settings",
    "explain": "EXPLAIN SELECT * FROM {s}.settings",
    "prepare": "PREPARE p AS SELECT * FROM {s}.settings; EXECUTE p; DEALLOCATE p",
}
FOREIGN_ONLY = {
    "become the owner": "SET LOCAL ROLE {owner}",
    "make a table": "CREATE TABLE {s}.mine (id int)",
    "make a function": "CREATE FUNCTION {s}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "make an index": "CREATE INDEX ON {s}.settings (value)",
    "make a foreign key": "CREATE SCHEMA mine; CREATE TABLE mine.t (k varchar(64) REFERENCES {s}.settings)",
    "make a view": "CREATE SCHEMA mine; CREATE VIEW mine.v AS SELECT * FROM {s}.settings",
    "inherit": "CREATE SCHEMA mine; CREATE TABLE mine.t () INHERITS ({s}.settings)",
    "make a trigger": "CREATE TRIGGER t BEFORE INSERT ON {s}.settings EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "take a table's lock": "LOCK TABLE {s}.settings IN ACCESS SHARE MODE",
    "truncate": "TRUNCATE {s}.settings",
    "drop": "DROP TABLE {s}.settings",
    "drop the schema": "DROP SCHEMA {s} CASCADE",
    "rename": "ALTER TABLE {s}.settings RENAME TO gone",
    "grant to itself": "GRANT SELECT ON {s}.settings TO CURRENT_USER",
    "grant the role to itself": "GRANT {app} TO CURRENT_USER",
    "change default rights": "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC",
    "set the sequence": "SELECT setval('{s}.counter', 1)",
    "read the sequence": "SELECT * FROM {s}.counter",
    "read the table's size": "SELECT pg_relation_size('{s}.settings')",
}
# Aimed at what all guilds share: refused whoever asks.
SHARED = {
    "read the registry": "SELECT * FROM dcm.guild",
    "read the directory": "SELECT * FROM dcm.guild_directory",
    "read the audit log": "SELECT * FROM dcm.audit_log",
    "write the audit log": "INSERT INTO dcm.audit_log (run_id, action, actor) VALUES (gen_random_uuid(), 'x', 'x')",
    "call the engine's functions": "SELECT dcm.drop_guild_schema(1)",
    "make a table in public": "CREATE TABLE public.drop_box (id int)",
    "make a temporary table": "CREATE TEMPORARY TABLE settings (id int)",
    "make a schema": "CREATE SCHEMA drop_box",
    "make a large object": "SELECT lo_create(0)",
    "read a large object": "SELECT lo_get(oid) FROM pg_largeobject_metadata",
    "import a file": "SELECT lo_import('/etc/passwd')",
    "block another guild's migration": "SELECT pg_advisory_lock(1)",
    "block it for a transaction": "SELECT pg_advisory_xact_lock({i})",
    "try to block it": "SELECT pg_try_advisory_lock({i})",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "read statistics with values": "SELECT * FROM pg_statistic",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "write a file": "COPY (SELECT 1) TO '/dev/null'",
    "make an extension": "CREATE EXTENSION dblink SCHEMA {s}",
    "make a role": "CREATE ROLE somebody",
    "become the administrator": "SET LOCAL ROLE postgres",
    "become the administrator's session": "SET SESSION AUTHORIZATION postgres",
    "reload the server": "SELECT pg_reload_conf()",
    "change the login's settings": "ALTER ROLE dcm_directory SET search_path = public",
    "end another session": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND pid <> pg_backend_pid()",
}
# Statements that put the session's own rights back; after them the login has none at all.
WAYS_BACK = {
    "RESET ROLE": "RESET ROLE",
    "RESET ALL and role": "RESET ALL; RESET ROLE",
    "SET ROLE NONE": "SET LOCAL ROLE NONE",
    "set_config none": "SELECT set_config('role', 'none', true)",
    "a new session authorization": "RESET SESSION AUTHORIZATION",
}
# A schema without the right to use it is passed over by search_path: its tables are not found.
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.DivisionByZero)
SUFFIXES = {"s": "", "owner": "_owner", "app": "_app"}


class Isolation(Site):
    """Guilds with every kind of object, a later migration, and rows."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        super().__init__(server, str(folder))
        for file in Path(MIGRATIONS).glob("*.sql"):
            (folder / file.name).write_text(file.read_text())
        (folder / "20270101000000_extra.sql").write_text(f"-- migrate:up\n{EXTRA}")
        self.guilds = self.ids(GUILDS)
        assert self.run(self.guilds)["failure"] == ""
        (folder / "20270101000001_later.sql").write_text(f"-- migrate:up\n{LATER}")
        assert self.run(migrate_all=True)["totals"]["migrated"] == GUILDS

    def statement(self, probe: str, target: int) -> str:
        names = {name: f"guild_{target}{suffix}" for name, suffix in SUFFIXES.items()}
        for name, value in {**names, "i": str(target)}.items():
            probe = probe.replace("{" + name + "}", value)
        return probe

    def attempt(self, conn: psycopg.Connection[Any], actor: int, probe: str) -> None:
        """As a service does: the guild's role and path for one transaction."""
        try:
            conn.execute(
                "SELECT set_config('role', %s, true), set_config('search_path', %s, true)", (f"guild_{actor}_app", f"guild_{actor}")
            )
            if probe.startswith("COPY") and probe.endswith("STDOUT"):
                with conn.cursor() as cursor, cursor.copy(probe) as copy:
                    for _block in copy:
                        pass
            else:
                conn.execute(probe)
        finally:
            conn.rollback()


@pytest.fixture(scope="module")
def isolation(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Isolation:
    return Isolation(server, tmp_path_factory.mktemp("isolation"))


@pytest.fixture
def pooled(isolation: Isolation) -> Iterator[psycopg.Connection[Any]]:
    """One session that serves guild after guild, as a pooler in transaction mode hands it out."""
    with isolation.as_service() as conn:
        yield conn


def leaks(isolation: Isolation, conn: psycopg.Connection[Any], probes: dict[str, str]) -> list[str]:
    """Every ordered pair of guilds, every probe: the ones that were not refused."""
    found = []
    for (actor, target), (name, probe) in itertools.product(itertools.permutations(isolation.guilds, 2), probes.items()):
        try:
            isolation.attempt(conn, actor, isolation.statement(probe, target))
        except REFUSED:
            continue
        found.append(f"{name}: {actor} -> {target}")
    return found


def test_a_guild_does_its_own_work(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    for guild_id in isolation.guilds:
        for probe in OWN_WORK.values():
            isolation.attempt(pooled, guild_id, isolation.statement(probe, guild_id))


def test_the_record_of_actions_is_not_rewritten(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    for probe in ("UPDATE cleanup_action SET reason = ''", "DELETE FROM cleanup_action", "TRUNCATE cleanup_action"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            isolation.attempt(pooled, isolation.guilds[0], probe)


@pytest.mark.parametrize("probes", [OWN_WORK, FOREIGN_ONLY, SHARED], ids=["own work", "more", "shared"])
def test_no_guild_reaches_another(isolation: Isolation, pooled: psycopg.Connection[Any], probes: dict[str, str]) -> None:
    assert leaks(isolation, pooled, probes) == []


@pytest.mark.parametrize("way", WAYS_BACK)
def test_the_login_itself_has_no_rights(isolation: Isolation, pooled: psycopg.Connection[Any], way: str) -> None:
    for probes in (OWN_WORK, SHARED):
        back = {name: f"{WAYS_BACK[way]}; {probe}" for name, probe in probes.items() if not probe.startswith("COPY")}
        assert leaks(isolation, pooled, back) == []


def test_a_transaction_leaves_nothing_for_the_next_guild(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    first, second = isolation.guilds[:2]
    for end in (pooled.commit, pooled.rollback):
        pooled.execute("SELECT set_config('role', %s, true), set_config('search_path', %s, true)", (f"guild_{first}_app", f"guild_{first}"))
        pooled.execute("SELECT set_config('dcm.guild', 'x', true)")
        end()
        assert pooled.execute("SELECT current_user::text, current_setting('search_path')").fetchone() == (
            isolation.service,
            '"$user", public',
        )
        with pytest.raises(psycopg.errors.UndefinedTable):
            pooled.execute("SELECT * FROM settings")
        pooled.rollback()
        isolation.attempt(pooled, second, "SELECT * FROM settings")


def test_a_statement_prepared_for_one_guild_is_refused_to_the_next(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    first, second = isolation.guilds[:2]
    pooled.execute("SELECT set_config('role', %s, true)", (f"guild_{first}_app",))
    pooled.execute(f"PREPARE kept AS SELECT * FROM guild_{first}.settings")
    pooled.commit()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        isolation.attempt(pooled, second, "EXECUTE kept")
    pooled.execute("DEALLOCATE ALL")
    pooled.commit()


def test_the_queries_of_other_guilds_are_hidden(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    first, second = isolation.guilds[:2]
    with isolation.as_service() as other:
        other.execute("SELECT set_config('role', %s, true)", (f"guild_{second}_app",))
        other.execute(f"SELECT * FROM guild_{second}.settings")
        pooled.execute("SELECT set_config('role', %s, true)", (f"guild_{first}_app",))
        seen = pooled.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (other.info.backend_pid,)).fetchall()
        assert seen == [("<insufficient privilege>",)]
    pooled.rollback()


def test_a_guild_with_a_login_of_its_own_becomes_nobody_else(isolation: Isolation) -> None:
    first, second = isolation.guilds[:2]
    with isolation.connect() as conn:
        conn.execute(f"CREATE ROLE login_{first} LOGIN PASSWORD 'own password'; GRANT guild_{first}_app TO login_{first}")
        conn.execute(f"GRANT CONNECT ON DATABASE {isolation.database} TO login_{first}")
    try:
        with isolation.connect(user=f"login_{first}", password="own password", autocommit=False) as conn:
            isolation.attempt(conn, first, "SELECT * FROM settings")
            for role in (f"guild_{second}_app", f"guild_{first}_owner", "dcm_directory", isolation.service):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(f"SET ROLE {role}")
                conn.rollback()
    finally:
        with isolation.connect() as conn:
            conn.execute(f"REVOKE CONNECT ON DATABASE {isolation.database} FROM login_{first}; DROP ROLE login_{first}")


# What the right to use the schema alone opens: types are not checked on use, sizes not at all, and a grant that grants nothing only warns.
SEEN_BY_THE_WAY_IN = {"use a type", "use a domain", "read the table's size", "grant to itself"}
# One right too many, planted; exactly these probes have to notice.
PLANTED = {
    "a table": (
        "GRANT SELECT ON {s}.settings TO {other}",
        "GRANT USAGE ON SCHEMA {s} TO {other}",
        {"read a table", "copy out", "explain", "prepare", "read through search_path", "take a table's lock"},
    ),
    "a sequence": ("GRANT USAGE ON SEQUENCE {s}.counter TO {other}", "GRANT USAGE ON SCHEMA {s} TO {other}", {"use a sequence"}),
    "a function": ("GRANT EXECUTE ON FUNCTION {s}.secret() TO {other}", "GRANT USAGE ON SCHEMA {s} TO {other}", {"call a function"}),
    "a view": ("GRANT SELECT ON {s}.overview TO {other}", "GRANT USAGE ON SCHEMA {s} TO {other}", {"read a view"}),
}


@pytest.mark.parametrize("what", PLANTED)
def test_one_right_too_many_is_noticed(isolation: Isolation, pooled: psycopg.Connection[Any], what: str) -> None:
    target, other = isolation.guilds[0], isolation.guilds[1]
    right, way_in, expected = PLANTED[what]
    plant = [isolation.statement(text.replace("{other}", f"guild_{other}_app"), target) for text in (right, way_in)]
    before = isolation.fingerprints()
    with isolation.connect() as conn:
        conn.execute("; ".join(plant))
    try:
        every = {**OWN_WORK, **FOREIGN_ONLY}
        usage = leaks(isolation, pooled, every)
        assert {text.split(":")[0] for text in usage} - SEEN_BY_THE_WAY_IN == expected
        assert all(text.endswith(f"{other} -> {target}") for text in usage)
        changed = {guild_id for guild_id, value in isolation.fingerprints().items() if before[guild_id] != value}
        assert changed == {target}
    finally:
        with isolation.connect() as conn:
            conn.execute("; ".join(text.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM ") for text in plant))
    assert leaks(isolation, pooled, OWN_WORK) == []


def test_what_postgres_cannot_hide(isolation: Isolation, pooled: psycopg.Connection[Any]) -> None:
    """Written down in docs/guides/guild-data.md: names in the catalog, and the pooled login's freedom to choose a role."""
    first, second = isolation.guilds[:2]
    pooled.execute("SELECT set_config('role', %s, true)", (f"guild_{first}_app",))
    assert pooled.execute("SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace", (f"guild_{second}",)).fetchone() != (0,)
    assert pooled.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = %s", (f"guild_{second}",)).fetchone() == (0,)
    pooled.execute(f"SET LOCAL ROLE guild_{second}_app")
    assert pooled.execute(f"SELECT count(*) FROM guild_{second}.cleanup_rule").fetchone() == (1,)
    pooled.rollback()
