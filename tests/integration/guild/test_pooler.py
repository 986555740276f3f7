# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every guild against every other one, and what clients leave behind, through a real PgBouncer with the settings that the chart ships."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.pgbouncer import Pooler, chart_settings, running_pgbouncer
from tests.support.postgres import PostgresServer

from .conftest import MIGRATIONS, PASSWORD, Site

GUILDS = int(os.environ.get("DCM_MATRIX_GUILDS", "200"))
EXTRA = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE SEQUENCE counter;
CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ''of this guild''::text';
CREATE VIEW overview AS SELECT key FROM settings;
"""
# Asked of the server for every application role and every object of every other guild: what it would allow.
ALLOWED = """
WITH g AS (SELECT guild_id, ('guild_' || guild_id || '_app')::regrole::oid AS app,
        ('guild_' || guild_id || '_owner')::regrole::oid AS owner, n.oid AS ns
        FROM dcm.guild JOIN pg_namespace n ON n.nspname = 'guild_' || guild_id),
    rel AS (SELECT g.guild_id, c.oid, c.relkind, c.relname::text FROM g
        JOIN pg_class c ON c.relnamespace = g.ns AND c.relkind IN ('r', 'v', 'S')),
    fn AS (SELECT g.guild_id, p.oid, p.proname::text FROM g JOIN pg_proc p ON p.pronamespace = g.ns),
    ty AS (SELECT g.guild_id, t.oid, t.typname::text FROM g JOIN pg_type t ON t.typnamespace = g.ns AND t.typtype = 'e'),
    d AS (SELECT g.guild_id, x.grantee FROM g JOIN pg_default_acl a ON a.defaclrole = g.owner CROSS JOIN LATERAL aclexplode(a.defaclacl) x)
SELECT 'schema', a.guild_id, b.guild_id, '' FROM g a, g b WHERE a.guild_id <> b.guild_id
    AND has_schema_privilege(a.app, b.ns, 'USAGE, CREATE')
UNION ALL SELECT 'table', a.guild_id, rel.guild_id, rel.relname FROM g a, rel WHERE a.guild_id <> rel.guild_id AND rel.relkind <> 'S'
    AND has_table_privilege(a.app, rel.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
UNION ALL SELECT 'column', a.guild_id, rel.guild_id, rel.relname FROM g a, rel WHERE a.guild_id <> rel.guild_id AND rel.relkind <> 'S'
    AND has_any_column_privilege(a.app, rel.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    AND NOT has_table_privilege(a.app, rel.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
UNION ALL SELECT 'sequence', a.guild_id, rel.guild_id, rel.relname FROM g a, rel WHERE a.guild_id <> rel.guild_id AND rel.relkind = 'S'
    AND has_sequence_privilege(a.app, rel.oid, 'USAGE, SELECT, UPDATE')
UNION ALL SELECT 'function', a.guild_id, fn.guild_id, fn.proname FROM g a, fn WHERE a.guild_id <> fn.guild_id
    AND has_function_privilege(a.app, fn.oid, 'EXECUTE')
UNION ALL SELECT 'type', a.guild_id, ty.guild_id, ty.typname FROM g a, ty WHERE a.guild_id <> ty.guild_id
    AND has_type_privilege(a.app, ty.oid, 'USAGE')
UNION ALL SELECT 'membership', a.guild_id, b.guild_id, '' FROM g a, g b WHERE a.guild_id <> b.guild_id
    AND (pg_has_role(a.app, b.app, 'MEMBER') OR pg_has_role(a.app, b.owner, 'MEMBER'))
UNION ALL SELECT 'default rights', a.guild_id, d.guild_id, '' FROM g a JOIN d ON d.grantee = a.app WHERE a.guild_id <> d.guild_id
UNION ALL SELECT 'default rights', 0, d.guild_id, 'everybody' FROM d WHERE d.grantee = 0
"""
# Really tried, by each guild on every other one. What is not refused is kept in a setting of the transaction.
TRIED = """
DO $$
DECLARE
    other bigint;
    probe text;
    leaks text := '';
BEGIN
    FOREACH other IN ARRAY '{ids}'::bigint[] LOOP
        FOREACH probe IN ARRAY ARRAY[
            'SELECT * FROM %1$s.settings', 'INSERT INTO %1$s.settings VALUES (''x'', ''1'')', 'SELECT * FROM %1$s.overview',
            'SELECT nextval(''%1$s.counter'')', 'SELECT %1$s.secret()', 'CREATE TABLE %1$s.mine (id int)'] LOOP
            BEGIN
                EXECUTE format(probe, 'guild_' || other);
                leaks := leaks || other || ': ' || probe || E'\\n';
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    PERFORM set_config('dcm.leaks', leaks, true);
END
$$
"""


class Matrix(Site):
    """Many guilds with every kind of object, behind a pooler."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        super().__init__(server, str(folder))
        for file in Path(MIGRATIONS).glob("*.sql"):
            (folder / file.name).write_text(file.read_text())
        (folder / "20270101000000_extra.sql").write_text(f"-- migrate:up\n{EXTRA}")
        self.guilds = self.ids(GUILDS)
        assert self.run(self.guilds, results="none")["failure"] == ""

    def allowed(self) -> set[tuple[str, int, int, str]]:
        return {(row[0], row[1], row[2], row[3]) for row in self.query(ALLOWED)}


@pytest.fixture(scope="module")
def matrix(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(server, tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def pooler(matrix: Matrix) -> Iterator[Pooler]:
    with running_pgbouncer(matrix.server, matrix.database, matrix.service, PASSWORD, {"default_pool_size": "2"}) as running:
        yield running


def take(conn: psycopg.Connection[Any], guild_id: int) -> None:
    conn.execute("SELECT set_config('role', %s, true), set_config('search_path', %s, true)", (f"guild_{guild_id}_app", f"guild_{guild_id}"))


def test_no_guild_is_allowed_anything_of_another(matrix: Matrix) -> None:
    assert matrix.allowed() == set()


def test_every_guild_tries_every_other_one_through_the_pooler(matrix: Matrix, pooler: Pooler) -> None:
    with pooler.connect(matrix.database) as conn:
        for guild_id in matrix.guilds:
            others = ",".join(str(other) for other in matrix.guilds if other != guild_id)
            with conn.transaction(force_rollback=True):
                take(conn, guild_id)
                conn.execute(TRIED.replace("{ids}", "{" + others + "}").encode())
                assert conn.execute("SELECT current_setting('dcm.leaks'), current_user::text").fetchone() == ("", f"guild_{guild_id}_app")
                assert conn.execute("SELECT count(*) FROM settings").fetchone() == (0,)


PLANTED = {
    "schema": ("GRANT USAGE ON SCHEMA {b} TO {a}_app", "REVOKE USAGE ON SCHEMA {b} FROM {a}_app", ""),
    "table": ("GRANT TRUNCATE ON {b}.settings TO {a}_app", "REVOKE TRUNCATE ON {b}.settings FROM {a}_app", "settings"),
    "column": ("GRANT SELECT (value) ON {b}.settings TO {a}_app", "REVOKE SELECT (value) ON {b}.settings FROM {a}_app", "settings"),
    "sequence": ("GRANT USAGE ON SEQUENCE {b}.counter TO {a}_app", "REVOKE USAGE ON SEQUENCE {b}.counter FROM {a}_app", "counter"),
    "function": ("GRANT EXECUTE ON FUNCTION {b}.secret() TO {a}_app", "REVOKE EXECUTE ON FUNCTION {b}.secret() FROM {a}_app", "secret"),
    "type": ("GRANT USAGE ON TYPE {b}.mood TO {a}_app", "REVOKE USAGE ON TYPE {b}.mood FROM {a}_app", "mood"),
    "default rights": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {b}_owner GRANT SELECT ON TABLES TO {a}_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {b}_owner REVOKE SELECT ON TABLES FROM {a}_app",
        "",
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_one_right_too_many_turns_exactly_its_probe_red(matrix: Matrix, kind: str) -> None:
    one, two = matrix.guilds[3], matrix.guilds[-4]
    plant, remove, name = (text.format(a=f"guild_{one}", b=f"guild_{two}") for text in PLANTED[kind])
    with matrix.connect() as conn:
        conn.execute(plant.encode())
        try:
            assert matrix.allowed() == {(kind, one, two, name)}
            expected = matrix.expected()
            assert {guild_id for guild_id, value in matrix.fingerprints().items() if value != expected} == {two}
        finally:
            conn.execute(remove.encode())


def test_a_membership_too_many_opens_what_it_opens(matrix: Matrix) -> None:
    """NOINHERIT is the login's, not the guilds': a membership between guilds gives all rights at once."""
    one, two = matrix.guilds[5], matrix.guilds[6]
    with matrix.connect() as conn:
        conn.execute(f"GRANT guild_{two}_app TO guild_{one}_app")
        try:
            found = matrix.allowed()
            assert ("membership", one, two, "") in found
            assert {(a, b) for _kind, a, b, _name in found} == {(one, two)}
        finally:
            conn.execute(f"REVOKE guild_{two}_app FROM guild_{one}_app")
    assert matrix.allowed() == set()


# What a client can leave in a session, on purpose or by mistake, and how the next one would see it.
LEFTOVERS = {
    "role": ("SET ROLE guild_{one}_app", "SELECT current_user::text <> '{login}'"),
    "search_path": ("SET search_path = guild_{one}", "SELECT current_setting('search_path') LIKE '%guild%'"),
    "setting": ("SELECT set_config('dcm.guild', '{one}', false)", "SELECT coalesce(current_setting('dcm.guild', true), '') <> ''"),
    "prepared statement": ("PREPARE kept AS SELECT 1", "SELECT count(*) > 0 FROM pg_prepared_statements"),
    "cursor": ("DECLARE kept CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) > 0 FROM pg_cursors WHERE name = 'kept'"),
    "listening": ("LISTEN guilds", "SELECT count(*) > 0 FROM pg_listening_channels()"),
}


def leftovers(matrix: Matrix, pooler: Pooler) -> set[str]:
    """One client leaves them all, the next one looks; the pool has one session only."""
    names = {"one": matrix.guilds[0], "login": matrix.service}
    for leave, _see in reversed(LEFTOVERS.values()):
        with pooler.connect(matrix.database, autocommit=True) as conn:
            conn.execute(leave.format(**names).encode())
    found = set()
    with pooler.connect(matrix.database, autocommit=True) as conn:
        for name, (_leave, see) in LEFTOVERS.items():
            row = conn.execute(see.format(**names).encode()).fetchone()
            found |= {name} if row and row[0] else set()
    return found


def test_a_session_is_wiped_before_the_next_client_gets_it(matrix: Matrix) -> None:
    with running_pgbouncer(
        matrix.server, matrix.database, matrix.service, PASSWORD, {"default_pool_size": "1", "reserve_pool_size": "0"}
    ) as pooler:
        assert leftovers(matrix, pooler) == set()


def test_without_the_wipe_everything_would_reach_the_next_client(matrix: Matrix) -> None:
    """The setting that the preflight refuses (tests/unit/guild/test_pooler.py) is refused for a reason."""
    unsafe = {"default_pool_size": "1", "reserve_pool_size": "0", "server_reset_query_always": "0"}
    assert chart_settings()["server_reset_query_always"] == "1"
    with running_pgbouncer(matrix.server, matrix.database, matrix.service, PASSWORD, unsafe) as pooler:
        assert leftovers(matrix, pooler) == set(LEFTOVERS)


def test_the_pooler_lets_in_one_login_with_its_password_only(matrix: Matrix, pooler: Pooler) -> None:
    for login in ({"password": "wrong"}, {"user": matrix.user, "password": matrix.password}, {"user": f"guild_{matrix.guilds[0]}_app"}):
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no such user"):
            pooler.connect(matrix.database, **login)
    with pytest.raises(psycopg.OperationalError, match=r"not allowed|no such|authentication"):
        pooler.connect("pgbouncer")
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        pooler.connect(matrix.database, options=f"-c role=guild_{matrix.guilds[0]}_app")
