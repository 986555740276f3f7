# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks on a site of two Postgres servers: each guild is found, moved and left where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401
from tests.support.postgres import PostgresServer, running_postgres

from .conftest import MIGRATIONS, Site
from .test_playbooks import Operator


@pytest.fixture(scope="module")
def second_server() -> Iterator[PostgresServer]:
    with running_postgres({"max_locks_per_transaction": "512", "fsync": "off"}) as running:
        yield running


class TwoServers(Operator):
    """The same operator, whose inventory names a second server."""

    def __init__(self, site: Site, second: Site, api: KubeApi, folder: Path) -> None:
        super().__init__(site, api, folder)
        self.second = second
        own = {"host": second.server.host, "port": second.server.port, "database": second.database, "admin_secret": "second-admin"}
        values = {"platform_placements": {"default": {}, "second": own}}
        (self.inventory / "group_vars" / "all" / "zz_two.yml").write_text(yaml.safe_dump(values))

    def make_cluster(self) -> None:
        super().make_cluster()
        self.secret("second-admin", username=self.second.server.user, password=self.second.server.password)

    def homes(self) -> dict[str, dict[str, str]]:
        query = "SELECT guild_id::text, state FROM dcm.guild ORDER BY 1"
        return {"default": dict(self.site.query(query)), "second": dict(self.second.query(query))}


@pytest.fixture
def two(site: Site, second_server: PostgresServer, kube_api: KubeApi, tmp_path: Path) -> Iterator[TwoServers]:  # noqa: F811
    second = Site(second_server, MIGRATIONS)
    second.number = site.number
    made = TwoServers(site, second, kube_api, tmp_path)
    yield made
    kube_api.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")


def test_guilds_on_two_servers_from_onboarding_to_certificate(two: TwoServers) -> None:
    here, there, third = map(str, two.site.ids(3))
    assert "changed=1" in two.play("guild_onboard", "-e", f"guild_id={here}", "--check", "--diff")
    two.make_cluster()
    assert "created 1" in two.play("guild_onboard", "-e", f"guild_id={here}")
    assert "created 1" in two.play("guild_onboard", "-e", f"guild_id={there}", "-e", "guild_placement=second")
    assert two.homes() == {"default": {here: "active"}, "second": {there: "active"}}
    wrong = two.play("guild_onboard", "-e", f"guild_id={there},{third}", "-e", "guild_placement=default", fails=True)
    assert f"guild {there} lives on placement 'second', not on 'default'" in " ".join(wrong.replace("''", "'").split())
    assert "there is no placement" in two.play("guild_onboard", "-e", f"guild_id={third}", "-e", "guild_placement=third", fails=True)
    assert two.homes() == {"default": {here: "active"}, "second": {there: "active"}}
    assert "changed=0" in two.play("guild_migrate")
    report = two.play("guild_report")
    assert "default: 1" in report
    assert "second: 1" in report
    both = f"guild_id={here},{there}"
    assert two.play("guild_suspend", "-e", both).count("updated 1") == 2
    assert two.play("guild_resume", "-e", both).count("updated 1") == 2
    assert two.play("guild_export", "-e", both).count("1 guilds exported") == 2
    assert "1 guilds imported" in two.play("guild_import", "-e", f"guild_id={there}", "-e", "replace_data=true")
    two.play("guild_offboard", "-e", f"guild_id={there}")
    output = two.play("guild_offboard", "-e", f"guild_id={there}", "-e", "offboard=erased", "-e", "skip_grace=true")
    assert f"erasure-{there}-" in output
    assert two.homes() == {"default": {here: "active"}, "second": {}}


def test_a_guild_moves_by_playbook(two: TwoServers) -> None:
    one, other = map(str, two.site.ids(2))
    two.make_cluster()
    two.play("guild_onboard", "-e", f"guild_id={one},{other}")
    two.play("guild_migrate")
    there = ("-e", f"guild_id={one},{other}", "-e", "placement=second")
    predicted = two.play("guild_move", *there, "--check", "--diff")
    assert f"-guild {one}: placement default" in predicted
    assert f"+guild {one}: placement second" in predicted
    assert "changed=1" in predicted
    assert two.homes()["second"] == {}
    output = two.play("guild_move", *there)
    assert "guild_move: the plan" in output
    assert f"guild {one}: move from default to second (active, schema 2" in output
    assert "moved 2" in output
    assert two.homes() == {"default": {}, "second": {one: "active", other: "active"}}
    assert "changed=0" in two.play("guild_move", *there)
    assert "changed=0" in two.play("guild_move", "-e", f"guild_id={one}", "-e", "move=cancelled")
    assert "moved 1" in two.play("guild_move", "-e", f"guild_id={one}", "-e", "placement=default")
    assert two.homes() == {"default": {one: "active"}, "second": {other: "active"}}
    assert "Name where they shall live" in two.play("guild_move", "-e", f"guild_id={one}", fails=True)
    assert "there is no placement" in two.play("guild_move", "-e", f"guild_id={one}", "-e", "placement=third", fails=True)
