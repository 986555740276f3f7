# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""The engine on a real server: the life of guilds, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted

from tests.support.postgres import running_postgres

from .conftest import MIGRATIONS, PASSWORD, Lab, Site


def totals(result: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in result["totals"].items() if number and name != "wanted"}


def test_check_mode_on_an_empty_server_predicts_and_changes_nothing(site: Site) -> None:
    predicted = site.run(site.ids(3), check=True)
    assert site.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'dcm'") == [(0,)]
    done = site.run(site.ids(3))
    for result in (predicted, done):
        for name in ("seconds", "run_id"):
            result.pop(name)
        for row in result["guilds"]:
            row.pop("seconds")
        result["guilds"].sort(key=lambda row: row["id"])
    assert predicted == done
    assert totals(done) == {"created": 3}
    assert done["control"]["service_role"] == ["create", "password", "connect", "directory"]


def test_check_mode_predicts_without_a_server(site: Site) -> None:
    from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine

    real = Engine.__init__

    def without_access(self: Engine, request: Any, _access: Any, password: Any) -> None:
        real(self, request, None, password)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "__init__", without_access)
        assert totals(site.run(site.ids(2), check=True)) == {"created": 2}


def test_the_life_of_a_guild(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    assert site.tables(guild_id) == ["cleanup_action", "cleanup_rule", "settings"]
    assert site.query(f"SELECT name, kind FROM guild_{guild_id}.cleanup_rule") == [("no-invites", "invite")]
    steps = [("present", {"unchanged": 1}), ("suspended", {"updated": 1}), ("suspended", {"unchanged": 1}), ("migrated", {"unchanged": 1})]
    for state, expected in [*steps, ("present", {"updated": 1})]:
        result = site.run([guild_id], state)
        assert totals(result) == expected
        assert result["changed"] is ("unchanged" not in expected)
    assert totals(site.run(wanted=[Wanted(guild_id, plan="premium")])) == {"updated": 1}
    assert totals(site.run([guild_id], "absent", [guild_id])) == {"erased": 1}
    assert totals(site.run([guild_id], "absent")) == {"unchanged": 1}
    actions = [row[0] for row in site.query("SELECT action FROM dcm.audit_log WHERE guild_id = %s ORDER BY id", guild_id)]
    assert actions == ["onboarded", "suspended", "resumed", "updated", "erased"]
    assert totals(site.run([guild_id])) == {"created": 1}


def test_suspending_takes_the_guild_out_of_the_services_reach(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    for state, allowed in (("suspended", False), ("present", True)):
        site.run([guild_id], state)
        with site.as_service() as conn:
            if allowed:
                conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app")
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app")


def test_erasing_leaves_nothing_behind_and_touches_nobody_else(lab: Lab) -> None:
    lab.write(2, "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN short AS varchar(3); CREATE TYPE pair AS (a int, b mood);")
    lab.write(
        3, "CREATE FUNCTION f(pair) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE lonely; CREATE VIEW v AS SELECT id FROM item;"
    )
    lab.write(4, "CREATE MATERIALIZED VIEW m AS SELECT id FROM item; CREATE TABLE parted (i int) PARTITION BY RANGE (i);")
    gone, stays = lab.ids(2)
    lab.run([gone, stays])
    before = lab.fingerprints()[stays]
    lab.run([gone], "absent", [gone])
    name = f"%guild_{gone}%"
    assert lab.query("SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s", name) == [(0,)]
    assert lab.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", name) == [(0,)]
    assert lab.query("SELECT count(*) FROM dcm.guild_migration WHERE guild_id = %s", gone) == [(0,)]
    assert lab.query("SELECT count(*) FROM pg_default_acl d WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = d.defaclrole)") == [(0,)]
    assert lab.query("SELECT guild_id, schema_version FROM dcm.guild_erasure") == [(gone, "4")]
    assert lab.fingerprints() == {stays: before}


def test_erasing_never_cascades_into_somebody_elses_objects(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    with site.connect() as conn:
        conn.execute(f"CREATE SCHEMA other; CREATE VIEW other.mine AS SELECT key FROM guild_{guild_id}.settings")
    result = site.run([guild_id], "absent", [guild_id])
    assert totals(result) == {"failed": 1}
    assert "other.mine" in result["failure"]
    assert site.tables(guild_id) == ["cleanup_action", "cleanup_rule", "settings"]
    assert site.query("SELECT state FROM dcm.guild WHERE guild_id = %s", guild_id) == [("active",)]


def test_erasing_without_confirmation_stops_before_anything_else(site: Site) -> None:
    first, second = site.ids(2)
    site.run([first])
    with pytest.raises(PlatformError, match=f"refusing to erase 1 guild.*{first}"):
        site.run(wanted=[Wanted(second), Wanted(first, "absent")])
    assert site.tables(second) == []


def test_a_new_guild_equals_one_that_went_through_history(lab: Lab) -> None:
    old, new = lab.ids(2)
    lab.run([old])
    for version, up in enumerate(
        [
            "ALTER TABLE item ADD COLUMN size int NOT NULL DEFAULT 1 CHECK (size > 0);",
            "CREATE INDEX item_size_idx ON item (size) WHERE size > 10; COMMENT ON COLUMN item.size IS 'in cm';",
            "CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i';",
            "ALTER TABLE item DROP COLUMN name; ALTER TABLE item ADD COLUMN label varchar(9) DEFAULT 'x';",
            "CREATE TABLE part (id int PRIMARY KEY, item bigint REFERENCES item ON DELETE CASCADE); CREATE INDEX ON part (twice(id));",
        ],
        2,
    ):
        lab.write(version, up)
        assert totals(lab.run([old], "migrated")) == {"migrated": 1}
    lab.run([new])
    prints = lab.fingerprints()
    assert prints[old] == prints[new] == lab.expected()
    assert lab.query(f"SELECT count(*) FROM dcm.guild_migration WHERE guild_id = {new}") == [(6,)]


def test_migrate_all_takes_every_guild_of_the_registry(lab: Lab) -> None:
    ids = lab.ids(5)
    lab.run(ids)
    lab.run(ids[:1], "suspended")
    lab.write(2, "CREATE TABLE more (id int PRIMARY KEY);")
    assert totals(lab.run(migrate_all=True)) == {"migrated": 5}
    assert lab.query("SELECT DISTINCT schema_version FROM dcm.guild") == [("2",)]
    assert lab.query("SELECT state FROM dcm.guild WHERE guild_id = %s", ids[0]) == [("suspended",)]
    assert lab.run(migrate_all=True)["changed"] is False


def test_new_tables_of_a_later_migration_belong_to_owner_and_app(lab: Lab) -> None:
    guild_id = lab.ids(1)[0]
    lab.run([guild_id])
    lab.write(2, "CREATE TABLE more (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);")
    lab.run([guild_id], "migrated")
    assert lab.query("SELECT tableowner::text FROM pg_tables WHERE tablename = 'more'") == [(f"guild_{guild_id}_owner",)]
    with lab.as_service() as conn:
        conn.execute(
            "SELECT set_config('role', %s, true), set_config('search_path', %s, true)", (f"guild_{guild_id}_app", f"guild_{guild_id}")
        )
        conn.execute("INSERT INTO more DEFAULT VALUES")
        assert conn.execute("SELECT count(*) FROM more").fetchone() == (1,)


def test_one_poisoned_guild_is_rolled_back_alone_and_named_with_file_and_line(lab: Lab) -> None:
    ids = lab.ids(20)
    lab.run(ids)
    with lab.connect() as conn:
        conn.execute(f"SET ROLE guild_{ids[7]}_owner; CREATE TABLE guild_{ids[7]}.poison (id int)")
    path = lab.write(2, "CREATE TABLE fine (id int);\nCREATE TABLE poison (id int);")
    result = lab.run(migrate_all=True)
    assert totals(result) == {"migrated": 19, "failed": 1}
    assert f"1 of 20 guilds failed: guild {ids[7]}: {path}" in result["failure"]
    assert 'relation "poison" already exists' in result["failure"]
    assert lab.tables(ids[7]) == ["item", "poison"]
    assert lab.query("SELECT schema_version FROM dcm.guild WHERE guild_id = %s", ids[7]) == [("1",)]
    with lab.connect() as conn:
        conn.execute(f"DROP TABLE guild_{ids[7]}.poison")
    assert totals(lab.run(migrate_all=True)) == {"unchanged": 19, "migrated": 1}
    assert set(lab.fingerprints().values()) == {lab.expected()}


def test_a_syntax_error_is_named_with_its_line(lab: Lab) -> None:
    path = lab.write(2, "CREATE TABLE fine (id int);\n\nCREATE TABEL x ();")
    result = lab.run(lab.ids(1))
    assert f'{path}, line 4: syntax error at or near "TABEL"' in result["failure"]
    assert lab.query("SELECT count(*) FROM dcm.guild") == [(0,)]


def test_max_failures_stops_the_run(lab: Lab) -> None:
    lab.run(lab.ids(30))
    lab.write(2, "SELECT 1 / 0;")
    result = lab.run(migrate_all=True, max_failures=4, connections=2)
    assert 5 <= result["totals"]["failed"] <= 7
    assert result["totals"]["failed"] + result["totals"]["not_started"] == 30
    assert "were not started" in result["failure"]


def test_waves_stop_after_a_failed_canary(lab: Lab) -> None:
    ids = lab.ids(20)
    lab.run(ids)
    lab.write(2, "SELECT 1 / 0;")
    assert totals(lab.run(migrate_all=True, waves=["1", "50%"])) == {"failed": 1, "not_started": 19}
    lab.write(2, "SELECT 1;")
    assert totals(lab.run(migrate_all=True, waves=["1", "50%"])) == {"migrated": 20}


def test_a_locked_guild_is_tried_again_at_the_end(lab: Lab) -> None:
    ids = lab.ids(4)
    lab.run(ids)
    lab.write(2, "ALTER TABLE item ADD COLUMN a int;")
    with lab.connect(autocommit=False) as blocker:
        blocker.execute(f"LOCK TABLE guild_{ids[0]}.item")
        result = lab.run(migrate_all=True, access=lab.access(0.2))
        assert totals(result) == {"migrated": 3, "failed": 1}
        assert f"guild {ids[0]}" in result["failure"]
        assert "lock timeout" in result["failure"]
        timer = threading.Timer(0.5, blocker.rollback)
        timer.start()
        assert totals(lab.run(migrate_all=True, access=lab.access(0.3))) == {"unchanged": 3, "migrated": 1}
        timer.join()


def test_two_operators_at_once_migrate_each_guild_once(lab: Lab) -> None:
    ids = lab.ids(60)
    lab.run(ids)
    lab.write(2, "CREATE TABLE more (id int PRIMARY KEY); INSERT INTO more VALUES (1);")
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(lab.run(migrate_all=True, connections=2))) for _n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["failure"] for result in results] == ["", ""]
    assert sum(result["totals"]["migrated"] for result in results) == 60
    assert lab.query("SELECT count(*) FROM dcm.guild_migration WHERE version = '2'") == [(60,)]
    assert lab.query("SELECT count(*) FROM dcm.audit_log WHERE action = 'migrated'") == [(60,)]


def test_two_operators_at_once_onboard_each_guild_once_on_an_empty_server(site: Site) -> None:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(site.run(site.ids(20), connections=2))) for _n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["failure"] for result in results] == ["", ""]
    assert sum(result["totals"]["created"] for result in results) == 20


def test_killed_backends_cost_nothing_but_a_second_try(site: Site) -> None:
    done = threading.Event()

    def killer() -> None:
        with site.connect() as conn:
            while not done.is_set():
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'dcm guild worker'"
                    " ORDER BY random() LIMIT 1",
                    (site.database,),
                )
                time.sleep(0.15)

    thread = threading.Thread(target=killer)
    site.run()
    thread.start()
    try:
        site.run(site.ids(60), connections=2, max_failures=-1)
    finally:
        done.set()
        thread.join()
    assert site.run(site.ids(60))["failure"] == ""
    assert set(site.fingerprints().values()) == {site.expected()}
    assert site.query("SELECT count(*), count(DISTINCT guild_id) FROM dcm.audit_log WHERE action = 'onboarded'") == [(60, 60)]


@pytest.mark.parametrize("state", ["onboarding", "migration"])
def test_a_killed_run_is_resumed_with_nothing_twice_and_nothing_half(lab: Lab, state: str) -> None:
    ids = lab.ids(150)
    lab.run(ids if state == "migration" else [])
    if state == "migration":
        lab.write(2, "CREATE TABLE more (id int PRIMARY KEY); CREATE INDEX ON item (name);")
    for _attempt in range(4):
        child = os.fork()
        if child == 0:
            try:
                lab.run(ids, "present" if state == "onboarding" else "migrated", connections=2)
            finally:
                os._exit(0)
        time.sleep(random.uniform(0.05, 0.4))  # noqa: S311 - when is what chance decides here
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    result = lab.run(ids, "present" if state == "onboarding" else "migrated")
    assert result["failure"] == ""
    assert set(lab.fingerprints().values()) == {lab.expected()}
    action = "onboarded" if state == "onboarding" else "migrated"
    assert lab.query("SELECT count(*), count(DISTINCT guild_id) FROM dcm.audit_log WHERE action = %s", action) == [(150, 150)]


def test_a_stamp_of_the_server_is_no_drift_but_an_option_of_a_column_is(site: Site) -> None:
    """Postgres 15.20 stamps columns by itself; written by hand here, so that every server shows it."""
    stamped, tuned = site.ids(2)
    site.run([stamped, tuned])
    stamp = "UPDATE pg_attribute SET attoptions = '{pg_attver=26747696}' WHERE attrelid = %s::regclass AND attnum > 0"
    with site.connect(options="-c allow_system_table_mods=on") as conn:
        conn.execute(stamp, (f"guild_{stamped}.settings",))
    assert set(site.fingerprints().values()) == {site.expected()}
    with site.connect() as conn:
        conn.execute(f"ALTER TABLE guild_{tuned}.settings ALTER COLUMN key SET (n_distinct = 7)")
    expected = site.expected()
    assert {guild_id: value == expected for guild_id, value in site.fingerprints().items()} == {stamped: True, tuned: False}


def test_a_changed_applied_file_is_refused_with_file_and_guild(lab: Lab) -> None:
    ids = lab.ids(2)
    lab.run(ids)
    path = lab.write(1, "CREATE TABLE item (id bigint);")
    with pytest.raises(PlatformError) as problem:
        lab.run(migrate_all=True, max_failures=0)
    assert f"guild {ids[0]}: {path} was changed after it was applied" in str(problem.value)
    assert "nothing was changed" in str(problem.value)


def test_an_older_checkout_is_refused(lab: Lab) -> None:
    path = lab.write(2, "SELECT 1;")
    lab.run(lab.ids(1))
    path.unlink()
    assert "migration 2 is applied but missing" in lab.run(migrate_all=True)["failure"]


def test_a_file_of_an_earlier_number_is_still_applied(lab: Lab) -> None:
    lab.write(3, "CREATE TABLE three (id int);")
    guild_id = lab.ids(1)[0]
    lab.run([guild_id])
    lab.write(2, "CREATE TABLE two (id int);")
    assert totals(lab.run(migrate_all=True)) == {"migrated": 1}
    assert lab.tables(guild_id) == ["item", "three", "two"]
    assert lab.query("SELECT schema_version FROM dcm.guild") == [("3",)]
    assert lab.run(migrate_all=True)["changed"] is False


def test_statements_that_need_no_transaction_run_in_their_turn(lab: Lab) -> None:
    ids = lab.ids(3)
    lab.run(ids[:1])
    lab.write(2, "CREATE INDEX CONCURRENTLY item_name_idx ON item (name);", " transaction:false")
    lab.write(3, "CREATE TABLE last (id int);")
    assert totals(lab.run(ids, "present", migrate_all=True)) == {"created": 2, "unchanged": 1}
    assert totals(lab.run(migrate_all=True)) == {"migrated": 1, "unchanged": 2}
    assert len(set(lab.fingerprints().values())) == 1
    assert lab.query("SELECT count(*) FROM pg_indexes WHERE indexname = 'item_name_idx'") == [(3,)]
    assert lab.query("SELECT DISTINCT state, schema_version FROM dcm.guild") == [("active", "3")]


def test_a_failure_outside_of_a_transaction_is_resumed(lab: Lab) -> None:
    guild_id = lab.ids(1)[0]
    lab.write(2, "CREATE INDEX CONCURRENTLY i ON nothing (id);", " transaction:false")
    result = lab.run([guild_id])
    assert "outside of a transaction" in result["failure"]
    assert lab.query("SELECT state, schema_version FROM dcm.guild") == [("onboarding", "1")]
    lab.write(2, "CREATE INDEX CONCURRENTLY i ON item (id);", " transaction:false")
    assert totals(lab.run([guild_id])) == {"migrated": 1}
    assert lab.query("SELECT state, schema_version FROM dcm.guild") == [("active", "2")]


def test_a_schema_lost_from_the_server_is_not_recreated_empty(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    with site.connect() as conn:
        conn.execute(f"DROP SCHEMA guild_{guild_id} CASCADE")
    assert "its schema is gone from the server" in site.run([guild_id])["failure"]
    assert totals(site.run([guild_id], "absent", [guild_id])) == {"erased": 1}


def test_an_unregistered_schema_is_not_taken_over(site: Site) -> None:
    guild_id = site.ids(1)[0]
    with site.connect() as conn:
        conn.execute(f"CREATE SCHEMA guild_{guild_id}")
    assert f"schema guild_{guild_id} exists, but the registry does not know" in site.run([guild_id])["failure"]


def test_a_lost_membership_is_given_back(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    with site.connect() as conn:
        conn.execute(f"REVOKE guild_{guild_id}_app FROM {site.service}")
    assert totals(site.run([guild_id])) == {"updated": 1}
    assert totals(site.run([guild_id])) == {"unchanged": 1}


def test_the_audit_log_only_grows(site: Site) -> None:
    site.run(site.ids(1))
    for statement in (
        "UPDATE dcm.audit_log SET actor = 'x'",
        "DELETE FROM dcm.audit_log",
        "TRUNCATE dcm.audit_log",
        "DELETE FROM dcm.guild_erasure",
    ):
        for setting in ("origin", "replica"):
            refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only")
            with site.connect(options=f"-c session_replication_role={setting}") as conn, refused:
                conn.execute(statement)
    actor, login, action = site.query("SELECT actor, login, action FROM dcm.audit_log WHERE guild_id IS NOT NULL")[0]
    assert (actor, login, action) == ("tester", "postgres", "onboarded")


def test_the_services_password_is_set_only_when_it_differs(site: Site) -> None:
    site.run()
    assert site.run()["changed"] is False
    verifier = site.query("SELECT rolpassword FROM pg_authid WHERE rolname = %s", site.service)
    with site.connect() as conn:
        conn.execute(f"ALTER ROLE {site.service} PASSWORD 'something else'")
    result = site.run()
    assert result["control"]["service_role"] == ["password"]
    assert site.query("SELECT rolpassword FROM pg_authid WHERE rolname = %s", site.service) != verifier
    site.as_service().close()
    assert PASSWORD not in (site.server.directory / "log").read_text()


def test_a_service_role_with_more_rights_is_put_right(site: Site) -> None:
    site.run()
    with site.connect() as conn:
        conn.execute(f"ALTER ROLE {site.service} CREATEROLE INHERIT")
    assert site.run()["control"]["service_role"] == ["attributes"]
    assert site.run()["changed"] is False


def test_the_directory_is_all_that_the_directory_role_reads(site: Site) -> None:
    guild_id = site.ids(1)[0]
    site.run([guild_id])
    with site.as_service() as conn:
        conn.execute("SET LOCAL ROLE dcm_directory")
        assert conn.execute("SELECT guild_id, state, plan, schema_version FROM dcm.guild_directory").fetchall() == [
            (guild_id, "active", "free", site.set().version)
        ]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT * FROM dcm.guild")


def manage(lab: Lab) -> None:
    """As on a managed server: CREATEROLE, owner of the database, nothing else."""
    lab.run(check=True)
    with lab.connect() as conn:
        conn.execute(f"CREATE ROLE manager_{lab.number} LOGIN CREATEROLE PASSWORD 'manager password'")
        conn.execute(f"ALTER DATABASE {lab.database} OWNER TO manager_{lab.number}; ALTER SCHEMA public OWNER TO manager_{lab.number}")
        conn.execute("DROP ROLE IF EXISTS dcm_directory") if not lab.query("SELECT FROM pg_roles WHERE rolname = 'dcm_directory'") else None
        conn.execute("DO $$ BEGIN CREATE ROLE dcm_directory; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        conn.execute(f"GRANT dcm_directory TO manager_{lab.number} WITH ADMIN OPTION")
    lab.user, lab.password = f"manager_{lab.number}", "manager password"


def test_works_without_a_superuser(lab: Lab) -> None:
    manage(lab)
    ids = lab.ids(3)
    assert totals(lab.run(ids)) == {"created": 3}
    assert lab.run(ids)["changed"] is False
    lab.write(2, "CREATE TABLE more (id int);")
    lab.write(3, "CREATE INDEX CONCURRENTLY more_idx ON more (id);", " transaction:false")
    assert totals(lab.run(migrate_all=True)) == {"migrated": 3}
    # From Postgres 16 on, whoever makes a role keeps the right to administer it, which is no way into it.
    assert lab.query("SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole AND NOT admin_option", lab.user) == [(0,)]
    assert totals(lab.run(ids[:1], "absent", ids[:1])) == {"erased": 1}


def test_an_unreachable_server_is_one_clear_message(site: Site) -> None:
    with pytest.raises(PlatformError, match=r"cannot log in to Postgres at 127\.0\.0\.1:.* as postgres: .*password"):
        site.run(access=site.access(password="wrong"))


def test_a_server_too_small_is_refused_before_anything_is_done() -> None:
    """The settings and the sum are named; the control schema is there, but no guild."""
    with running_postgres({"max_connections": "12", "fsync": "off"}) as small:
        site = Site(small, MIGRATIONS)
        with pytest.raises(PlatformError, match=r"max_connections is 12, wanted at least 13: 5 for the engine"):
            site.run(site.ids(1))
        assert site.query("SELECT count(*) FROM dcm.guild") == [(0,)]
        assert site.run(site.ids(1), connections=2)["totals"]["created"] == 1


def test_a_slow_server_is_told_but_used(site: Site) -> None:
    with site.connect() as conn:
        found = capacity.findings(store.read_settings(conn), capacity.Load(100_000, 90_000, 4))
    assert {finding.name for finding in found if finding.severity == capacity.WARN} == {"max_wal_size", "shared_buffers"}
