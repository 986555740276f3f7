# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""Example data: once per guild, in that guild alone, never in production."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_seed as seed
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations

from tests.support.kube_api import kube_api  # noqa: F401

from .conftest import ROOT, Lab, Site
from .test_modules import Ansible, ansible, documentation, renumber  # noqa: F401
from .test_playbooks import Operator, operator  # noqa: F401

SEEDS = str(ROOT / "services" / "seeds")


def apply(site: Site, ids: Sequence[int], folder: str | Path = SEEDS, check: bool = False, **other: Any) -> dict[str, Any]:
    seeds = read_migrations(str(folder))
    seed.refuse("local", seeds)
    return seed.run(site.access(**other), ids, seeds, str(uuid.uuid4()), "tester", check)


def rows(site: Site, guild_id: int) -> int:
    return int(site.query(f"SELECT count(*) FROM guild_{guild_id}.cleanup_action")[0][0])


def test_a_seed_is_applied_once_and_to_the_named_guild_alone(site: Site) -> None:
    one, other = site.ids(2)
    site.run([one, other])
    assert apply(site, [one], check=True)["changed"]
    assert rows(site, one) == 0
    assert apply(site, [one])["guilds"] == [{"id": str(one), "seeds": ["20261124101000"], "error": ""}]
    assert not apply(site, [one])["changed"]
    assert (rows(site, one), rows(site, other)) == (42, 0)
    assert site.query("SELECT guild_id, detail->>'seed' FROM dcm.audit_log WHERE action = 'seeded'") == [(one, "demo")]
    assert set(site.fingerprints().values()) == {site.expected()}
    assert site.run([one], "absent", confirm=[one])["failure"] == ""
    site.run([one])
    assert apply(site, [one])["changed"], "what an erased guild had is forgotten"


def test_without_superuser_the_administrator_keeps_no_membership(site: Site) -> None:
    guild_id = site.ids(1)[0]
    name = f"manager_{site.number}"
    with site.connect() as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'p'")
        conn.execute(f"ALTER DATABASE {site.database} OWNER TO {name}")
        if conn.execute("SELECT FROM pg_roles WHERE rolname = 'dcm_directory'").fetchone():
            conn.execute(f"GRANT dcm_directory TO {name} WITH ADMIN OPTION")
    manager = {"user": name, "password": "p"}
    assert site.run([guild_id], access=site.access(**manager))["failure"] == ""
    assert apply(site, [guild_id], **manager)["failure"] == ""
    owned = "SELECT count(*) FROM pg_auth_members WHERE roleid = %s::regrole AND member = %s::regrole"
    assert site.query(owned, f"guild_{guild_id}_owner", name) == [(0,)]


def test_a_broken_seed_names_file_and_line_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    good, unknown = lab.ids(2)
    lab.run([good])
    folder = tmp_path / "seeds"
    folder.mkdir()
    file = folder / "1_broken.sql"
    file.write_text("-- migrate:up\nINSERT INTO item (name) VALUES ('a');\n\nINSERT INTO nothing VALUES (1);\n")
    result = apply(lab, [good, unknown], folder)
    assert f'{file}, line 4: relation "nothing" does not exist [42P01]' in result["failure"]
    assert f"guild {unknown}: the guild is not registered here" in result["failure"]
    assert result["failure"].startswith("2 of 2 guilds")
    assert lab.query(f"SELECT count(*) FROM guild_{good}.item") == [(0,)]
    file.write_text("-- migrate:up\nINSERT INTO item (name) VALUES ('a');\n")
    assert apply(lab, [good], folder)["failure"] == ""
    file.write_text("-- migrate:up\nINSERT INTO item (name) VALUES ('b');\n")
    assert "was changed after it was applied" in apply(lab, [good], folder)["failure"]


def test_seeds_are_refused_where_they_do_not_belong(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="refused in production"):
        seed.refuse("production", read_migrations(SEEDS))
    with pytest.raises(PlatformError, match="no registry of guilds"):
        apply(lab, lab.ids(1))
    folder = tmp_path / "seeds"
    folder.mkdir()
    (folder / "1_vacuum.sql").write_text("-- migrate:up transaction:false\nVACUUM;\n")
    with pytest.raises(PlatformError, match=r"1_vacuum\.sql: a seed runs in a transaction"):
        apply(lab, lab.ids(1), folder)


def test_the_example_runs_as_documented(ansible: Ansible) -> None:  # noqa: F811
    ansible.variables["guild_seeds"] = SEEDS
    tasks = renumber(documentation("guild_schema", "EXAMPLES")[:1] + documentation("guild_seed", "EXAMPLES") * 2, ansible.site)
    for task in tasks[1:]:
        task["dcm.platform.guild_seed"]["login_db"] = ansible.site.database
    tasks[2]["dcm.platform.guild_seed"] = {**tasks[2]["dcm.platform.guild_seed"], "environment": "production"}
    tasks[2]["failed_when"] = False
    _created, first, production = ansible.run(tasks)
    assert first["changed"]
    assert "refused in production" in production["msg"]
    described = set(documentation("guild_seed", "RETURN"))
    assert described == set(first) - {"changed", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed"}


def test_the_playbook_seeds_once(operator: Operator) -> None:  # noqa: F811
    operator.make_cluster()
    guild_id = operator.site.ids(1)[0]
    assert "Name the guilds: -e guild_id=" in operator.play("guild_seed", fails=True)
    operator.play("guild_onboard", "-e", f"guild_id={guild_id}")
    assert "1 of 1 guilds would get seeds" in " ".join(operator.play("guild_seed", "-e", f"guild_id={guild_id}", "--check").split())
    assert "1 of 1 guilds got seeds" in " ".join(operator.play("guild_seed", "-e", f"guild_id={guild_id}").split())
    assert "changed=0" in operator.play("guild_seed", "-e", f"guild_id={guild_id}")
    assert rows(operator.site, guild_id) == 42
