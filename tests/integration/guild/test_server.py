# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that somebody else runs, with TLS and an administrator who is no superuser: by connection data alone."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils import _pki

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401
from tests.support.postgres import PostgresServer, create_server, remove_server

from .conftest import MIGRATIONS, PASSWORD, Site
from .test_modules import Ansible, documentation
from .test_playbooks import Operator

HBA = "hostssl all all all scram-sha-256\n"


class Managed(Site):
    """As Amazon's managed server gives it: a group rds_superuser, an administrator in it, TLS for all."""

    authority: _pki.Pair

    def __init__(self, server: PostgresServer, authority: _pki.Pair) -> None:
        super().__init__(server, MIGRATIONS)
        self.authority = authority
        self.user, self.password = f"boss_{self.number}", "the master password"
        with server.connect(self.database) as conn:
            conn.execute("DO $$ BEGIN CREATE ROLE rds_superuser NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
            conn.execute(f"CREATE ROLE {self.user} LOGIN CREATEROLE CREATEDB IN ROLE rds_superuser PASSWORD '{self.password}'")
            conn.execute(f"ALTER DATABASE {self.database} OWNER TO {self.user}")

    def connect(self, **other: Any) -> psycopg.Connection[Any]:
        return super().connect(**{"sslmode": "require", **other})


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[PostgresServer, _pki.Pair]]:
    """Lets nobody in without TLS; its certificate is for localhost."""
    now = dt.datetime.now(dt.UTC)
    authority = _pki.new_authority("tests", now)
    pair = _pki.issue(_pki.Wanted("postgres", "tests", "postgres", names=("localhost",), usages=("server",)), authority, now)
    server = create_server({"ssl": "on", "max_locks_per_transaction": "512", "fsync": "off"})
    data = server.directory / "data"
    files = {data / "server.key": pair.key, data / "server.crt": pair.certificate, data / "pg_hba.conf": HBA.encode()}
    for path, content in files.items():
        path.write_bytes(content)
        path.chmod(0o600)
        os.chown(path, data.stat().st_uid, data.stat().st_gid)
    try:
        server.start()
        yield server, authority
    finally:
        remove_server(server)


@pytest.fixture
def managed(secured: tuple[PostgresServer, _pki.Pair]) -> Managed:
    return Managed(*secured)


@pytest.fixture
def ansible(managed: Managed, tmp_path: Path) -> Ansible:
    (tmp_path / "ca.crt").write_bytes(managed.authority.certificate)
    return Ansible(managed, tmp_path)


def ask(site: Site, **options: Any) -> dict[str, Any]:
    login = {"login_host": "localhost", "login_port": site.server.port, "login_user": site.user, "login_password": site.password}
    return {"dcm.platform.guild_server_info": {**login, "login_db": site.database, "ssl_mode": "require", **options}}


def test_the_example_runs_as_documented(ansible: Ansible) -> None:
    tasks = documentation("guild_server_info", "EXAMPLES")
    result = ansible.run(tasks)[0]
    assert set(documentation("guild_server_info", "RETURN")) == set(result) - {
        "changed", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed", "warnings",
    }  # fmt: skip
    assert result["reached"]
    assert result["server"]["superuser"]


def test_a_managed_server_is_good_as_it_is(managed: Managed, ansible: Ansible) -> None:
    verified = {"ssl_mode": "verify-full", "ca_cert": str(ansible.folder / "ca.crt")}
    [result] = ansible.run([ask(managed, **verified, max_connections=100, networks=["127.0.0.0/8", "::1/128"])])
    assert result["problems"] == []
    assert result["warnings_found"] == []
    assert result["server"] | {"version": ""} == {
        "version": "", "user": managed.user, "superuser": False, "rds": True, "owner": managed.user, "tls": True,
    }  # fmt: skip
    assert result["citus"] == {"available": False, "loaded": False, "version": "", "preloaded": False}


def test_what_is_wrong_is_told_apart(managed: Managed, ansible: Ansible) -> None:
    with managed.server.connect() as conn:
        conn.execute(f"CREATE ROLE poor_{managed.number} LOGIN IN ROLE rds_superuser PASSWORD '{PASSWORD}'")
    own_ca, other_ca = str(ansible.folder / "ca.crt"), ssl.get_default_verify_paths().cafile or "/etc/ssl/cert.pem"
    wrong = {
        "nothing listens there": {"login_port": 1},
        "no such host name": {"login_host": "postgres.invalid"},
        "wrong user name or password": {"login_password": "guessed"},
        "the database is not there": {"login_db": "nothing"},
        "the server wants TLS": {"ssl_mode": "disable"},
        "its certificate is for another name": {"login_host": "127.0.0.1", "ssl_mode": "verify-full", "ca_cert": own_ca},
        "its certificate is not signed by the given CA": {"ssl_mode": "verify-full", "ca_cert": other_ca},
        "CREATEROLE, as the master user": {"login_user": f"poor_{managed.number}", "login_password": PASSWORD},
        "the pooler was planned for 500": {"max_connections": 500},
        "network policies would keep the pooler": {"networks": ["10.0.0.0/8"]},
    }
    results = ansible.run([{**ask(managed, **options), "failed_when": False} for options in wrong.values()])
    for words, result in zip(wrong, results, strict=True):
        assert words in result["msg"], result["msg"]
    assert f"belongs to {managed.user}, not to poor_{managed.number}" in results[7]["msg"]


def test_in_check_mode_a_server_that_is_not_there_is_a_warning(managed: Managed, ansible: Ansible) -> None:
    [result] = ansible.run([ask(managed, login_port=1, assume_empty=True)], "--check")
    assert not result["reached"]
    assert "nothing listens there" in result["warnings_found"][0]
    assert ansible.run([ask(managed, login_port=1, assume_empty=True)], fails=True)[0]["failed"]


@pytest.fixture
def operator(managed: Managed, kube_api: KubeApi, tmp_path: Path) -> Iterator[Operator]:  # noqa: F811
    made = Operator(managed, kube_api, tmp_path)
    values = {
        "platform_postgres_provider": "external",
        "platform_postgres_host": "localhost",
        "platform_postgres_ssl_mode": "verify-full",
        "platform_postgres_ca_secret": "postgres-ca",
        "platform_postgres_peers": [{"cidr": "127.0.0.0/8"}, {"cidr": "::1/128"}],
        "postgres_ca_file": str(tmp_path / "ca.crt"),
        "guild_data_guilds": [str(guild_id) for guild_id in managed.ids(2)],
    }
    (tmp_path / "ca.crt").write_bytes(managed.authority.certificate)
    (made.inventory / "group_vars" / "all" / "zzz_external.yml").write_text(yaml.safe_dump(values))
    yield made
    kube_api.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")


SERVER_ALONE = ("--tags", "postgres,guilds")


def test_an_external_server_from_the_first_check_to_guilds(operator: Operator, managed: Managed) -> None:
    operator.play("data", *SERVER_ALONE, "--check", "--diff")
    operator.make_cluster()
    operator.api.kubectl("delete", "secret", "dcm-service", "-n", operator.namespace)
    operator.play("data", *SERVER_ALONE, "--check", "--diff")
    output = operator.play("data", *SERVER_ALONE)
    assert "created 2" in output
    assert "changed=0" in operator.play("data", *SERVER_ALONE)
    assert "guilds: 2" in operator.play("guild_report")
    with managed.connect() as conn:
        assert conn.execute("SELECT bool_and(ssl) FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    assert managed.tables(managed.ids(1)[0])


def test_an_external_server_that_will_not_do_stops_the_run_first(operator: Operator, managed: Managed) -> None:
    operator.make_cluster()
    with managed.server.connect() as conn:
        conn.execute(f"ALTER ROLE {managed.user} NOCREATEROLE")
    said = operator.play("data", *SERVER_ALONE, fails=True)
    assert f"ALTER ROLE {managed.user} CREATEROLE" in " ".join(said.split())
    assert managed.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'dcm'") == [(0,)]
    operator.secret("postgres-admin", username=managed.user, password="guessed")
    assert "wrong user name or password" in " ".join(operator.play("data", *SERVER_ALONE, fails=True).split())
    operator.api.kubectl("delete", "secret", "postgres-admin", "-n", operator.namespace)
    assert "postgres-admin" in operator.play("data", *SERVER_ALONE, fails=True)
