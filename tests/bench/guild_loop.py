# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same guilds by a playbook that loops over community.postgresql, as one would write it without the engine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

COMMON = ("login_host", "login_port", "login_user", "login_password", "login_db")


def _tasks(body: str, tables: Sequence[str]) -> list[dict[str, Any]]:
    """Roles, schema, rights, tables: seven tasks a guild, each for all guilds."""
    owner, app, schema = "guild_{{ item }}_owner", "guild_{{ item }}_app", "guild_{{ item }}"
    rights = {"database": "{{ login_db }}", "roles": app}
    query = f"SET ROLE {owner}; SET search_path = {schema};\n{body}\n;RESET ROLE"
    steps: list[tuple[str, dict[str, Any]]] = [
        ("postgresql_user", {"name": owner, "role_attr_flags": "NOLOGIN"}),
        ("postgresql_user", {"name": app, "role_attr_flags": "NOLOGIN"}),
        ("postgresql_schema", {"name": schema, "owner": owner}),
        ("postgresql_privs", {**rights, "type": "schema", "objs": schema, "privs": "USAGE"}),
        ("postgresql_query", {"query": query, "autocommit": False}),
        (
            "postgresql_privs",
            {**rights, "type": "table", "schema": schema, "objs": ",".join(tables), "privs": "SELECT,INSERT,UPDATE,DELETE"},
        ),
        ("postgresql_membership", {"groups": app, "target_roles": "dcm_service"}),
    ]
    found = []
    for module, options in steps:
        login = {name: f"{{{{ {name} }}}}" for name in COMMON if not (name == "login_db" and "database" in options)}
        found.append({f"community.postgresql.{module}": {**login, **options}, "loop": "{{ guilds }}"})
    return found


def loop_seconds(login: dict[str, Any], ids: Sequence[int], body: str, tables: Sequence[str], folder: Path) -> float:
    """Wall seconds of the whole run, less those of a run without guilds."""
    playbook = folder / "loop.yml"
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": _tasks(body, tables)}
    playbook.write_text(yaml.safe_dump([play]))
    variables = folder / "variables.yml"
    variables.touch(0o600)

    def run(guilds: Sequence[int]) -> float:
        variables.write_text(
            yaml.safe_dump({**login, "guilds": [str(guild_id) for guild_id in guilds], "ansible_python_interpreter": sys.executable})
        )
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-e", f"@{variables}", str(playbook)]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"the playbook failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        return time.monotonic() - start

    empty = run([])
    return run(ids) - empty
