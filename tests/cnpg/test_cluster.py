# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cluster of CloudNativePG from nothing to a lost primary, with guilds in it and the pooler in front. In the order of its life."""

from __future__ import annotations

from .conftest import GUILDS, INSTANCES, CnpgSite, eventually

READ_GUILD = "SELECT count(*) FROM pg_tables WHERE schemaname = 'guild_{}'"


def test_guilds_move_into_a_new_cluster(site: CnpgSite) -> None:
    site.play("data")
    assert site.ready() == INSTANCES
    assert site.sql(site.primary(), "SELECT count(*) FROM dcm.guild") == str(len(GUILDS))


def test_a_second_run_changes_nothing(site: CnpgSite) -> None:
    assert site.changes("data") == 0
    assert site.changes("data", "--check", "--diff") == 0


def test_settings_are_those_for_the_guilds_expected(site: CnpgSite) -> None:
    assert site.sql(site.primary(), "SHOW max_locks_per_transaction") == "512"
    assert site.sql(site.primary(), "SHOW max_wal_size") == "2GB"


def test_each_commit_is_on_a_replica(site: CnpgSite) -> None:
    assert site.sql(site.primary(), "SELECT string_agg(sync_state, ',') FROM pg_stat_replication") == "quorum"


def test_nobody_gets_in_without_tls_and_the_engine_checks_the_name(site: CnpgSite) -> None:
    seen = site.sql(
        site.primary(), "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE client_addr IS NOT NULL AND NOT ssl"
    )
    assert seen == "0"
    assert "Guilds: 2" in site.play("guild_report").replace("guilds: 2", "Guilds: 2")


def test_the_database_belongs_to_the_superuser_and_its_first_owner_cannot_log_in(site: CnpgSite) -> None:
    assert site.sql(site.primary(), "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'dcm'") == "postgres"
    assert site.sql(site.primary(), "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'dcm_initial'") == "f"


def test_a_lost_primary_is_replaced_and_nothing_is_missing(site: CnpgSite) -> None:
    lost = site.primary()
    site.sql(lost, f"CREATE TABLE guild_{GUILDS[0]}.written_before (id int PRIMARY KEY)")
    site.kubectl("-n", "dcm-data", "delete", "pod", lost, "--grace-period=0", "--force")
    took = eventually(lambda: site.primary() not in ("", lost), 120)
    print(f"another primary after {took:.1f} s")
    eventually(lambda: site.sql(site.primary(), "SELECT pg_is_in_recovery()") == "f", 60)
    assert site.sql(site.primary(), READ_GUILD.format(GUILDS[0])) == "4"
    back = eventually(lambda: site.ready() == INSTANCES, 180)
    print(f"all instances ready {back:.1f} s later")
    site.sql(site.primary(), f"DROP TABLE guild_{GUILDS[0]}.written_before")
    # The pooler follows: the promises about data ask through it, with the services' login.
    site.play("verify", "-e", '{"verify_only": ["data"]}')
    assert "created 1" in site.play("guild_onboard", "-e", "guild_id=1100000000000000003")
