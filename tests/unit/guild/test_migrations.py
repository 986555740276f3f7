# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migration files: what is read, what is refused, and what is pending."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_migrations as migrations
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ROOT = Path(__file__).parents[3]


def one(up: str, option: str = "", version: str = "1") -> migrations.Migration:
    return migrations.parse_migration(f"db/{version}_x.sql", f"-- about\n-- migrate:up{option}\n{up}\n-- migrate:down\nDROP TABLE t;\n")


def folder(*ups: str) -> migrations.MigrationSet:
    return migrations.MigrationSet("db", tuple(one(up, version=str(number)) for number, up in enumerate(ups, 1)))


def test_reads_the_up_section_alone() -> None:
    found = one("CREATE TABLE t (i int);")
    assert found.up.strip() == "CREATE TABLE t (i int);"
    assert (found.version, found.name, found.up_line, found.transactional) == ("1", "x", 2, True)


def test_line_ends_of_the_checkout_do_not_count() -> None:
    text = "-- migrate:up\nSELECT 1;\n"
    unix, windows = (migrations.parse_migration("1_x.sql", variant) for variant in (text, text.replace("\n", "\r\n")))
    assert unix == windows


def test_the_whole_file_is_in_the_checksum() -> None:
    first, second = (
        migrations.parse_migration("1_x.sql", f"-- migrate:up\nSELECT 1;\n-- migrate:down\n{down}") for down in ("", "SELECT 2;")
    )
    assert first.checksum != second.checksum


def test_takes_one_statement_outside_of_a_transaction() -> None:
    assert not one("CREATE INDEX CONCURRENTLY i ON t (a);", " transaction:false").transactional


ALLOWED = [
    "SET LOCAL lock_timeout = '1s';",
    "SET CONSTRAINTS ALL DEFERRED;",
    "UPDATE t SET a = 'COMMIT; ROLLBACK';",
    "COMMENT ON TABLE t IS 'x'; -- COMMIT;",
    "/* BEGIN; */ SELECT 1;",
    "DO $$ BEGIN EXECUTE 'x'; END $$;",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN 1; END; $body$;",
    'CREATE TABLE "COMMIT;" (i int);',
    "SELECT E'it\\'s; COMMIT;';",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m;",
]
REFUSED = {
    "BEGIN; SELECT 1; COMMIT;": "BEGIN",
    "SELECT 1; commit": "commit",
    "SELECT 1; ROLLBACK;": "ROLLBACK",
    "SAVEPOINT a;": "SAVEPOINT",
    "SET search_path = public;": "SET search_path",
    "SET LOCAL search_path = public;": "SET LOCAL search_path",
    "SET ROLE postgres;": "SET ROLE",
    "SET LOCAL ROLE postgres;": "SET LOCAL ROLE",
    "SET SESSION AUTHORIZATION x;": "SET SESSION",
    "RESET ROLE;": "RESET ROLE",
    "DISCARD ALL;": "DISCARD",
    "CREATE INDEX CONCURRENTLY i ON t (a);": "transaction:false",
    "VACUUM t;": "transaction:false",
}


@pytest.mark.parametrize("up", ALLOWED)
def test_allows(up: str) -> None:
    assert one(up).up


@pytest.mark.parametrize("up", REFUSED)
def test_refuses_what_would_break_the_transaction_of_a_guild(up: str) -> None:
    with pytest.raises(PlatformError) as problem:
        one(up)
    assert "db/1_x.sql" in str(problem.value)
    assert REFUSED[up] in str(problem.value)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("create.sql", "-- migrate:up\n", "<version>_<name>.sql"),
        ("1_x.sql", "CREATE TABLE t (i int);", "exactly one line"),
        ("1_x.sql", "-- migrate:down\n-- migrate:up\n", "exactly one line"),
        ("1_x.sql", "-- migrate:up\n-- migrate:up\n", "exactly one line"),
        ("1_x.sql", "-- migrate:up transaction:maybe\n", "transaction:maybe"),
        ("1_x.sql", "-- migrate:up transaction:false\nSELECT 1; SELECT 2;", "exactly one statement"),
    ],
)
def test_refuses_malformed_files(file: str, text: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words) as problem:
        migrations.parse_migration(file, text)
    assert file in str(problem.value)


def test_a_folder_is_read_in_the_order_of_numbers(tmp_path: Path) -> None:
    for version in ("10", "9", "100"):
        (tmp_path / f"{version}_x.sql").write_text("-- migrate:up\nSELECT 1;\n")
    assert [migration.version for migration in migrations.read_migrations(str(tmp_path)).migrations] == ["9", "10", "100"]


def test_two_files_of_one_version_are_refused(tmp_path: Path) -> None:
    for name in ("1_x.sql", "01_y.sql"):
        (tmp_path / name).write_text("-- migrate:up\nSELECT 1;\n")
    with pytest.raises(PlatformError, match="same version"):
        migrations.read_migrations(str(tmp_path))


@pytest.mark.parametrize("make", [True, False])
def test_an_empty_or_missing_folder_is_refused(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "none"
    if make:
        path.mkdir()
    with pytest.raises(PlatformError, match=str(path)):
        migrations.read_migrations(str(path))


def test_pending_is_what_was_not_applied() -> None:
    every = folder("SELECT 1;", "SELECT 2;", "SELECT 3;")
    applied = [(m.version, m.checksum) for m in every.migrations[:1]] + [(m.version, m.checksum) for m in every.migrations[2:]]
    assert [m.version for m in every.pending(applied)] == ["2"]


def test_a_changed_file_is_refused_by_name() -> None:
    with pytest.raises(PlatformError, match=r"db/1_x\.sql was changed"):
        folder("SELECT 1;").pending([("1", "0" * 64)])


def test_a_missing_file_is_refused_by_version() -> None:
    with pytest.raises(PlatformError, match="migration 9 is applied but missing in db"):
        folder("SELECT 1;").pending([("9", "0" * 64)])


def test_segments_keep_lonely_statements_apart() -> None:
    lonely = one("CREATE INDEX CONCURRENTLY i ON t (a);", " transaction:false", "3")
    every = [one("SELECT 1;", version="1"), one("SELECT 2;", version="2"), lonely, one("SELECT 4;", version="4")]
    found = migrations.segments(every, "", "")
    assert [[m.version for m in segment.migrations] for segment in found] == [["1", "2"], ["3"], ["4"]]
    assert [segment.transactional for segment in found] == [True, False, True]
    assert found[-1].digest == migrations.MigrationSet("db", tuple(every)).digest


def test_a_late_migration_does_not_lower_the_version() -> None:
    assert migrations.segments([one("SELECT 2;", version="2")], "digest", "10")[0].version == "10"


@pytest.mark.parametrize("path", ["services/migrations", "roles/guild_data/files/control"])
def test_own_migrations_are_accepted(path: str) -> None:
    found = migrations.read_migrations(str(ROOT / path))
    assert all(migration.transactional for migration in found.migrations)
