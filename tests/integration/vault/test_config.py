# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of the real server as data: check, create, repeat, update, repeat, prune; and secrets that stay hidden."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils import _vault_secrets
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import VaultError, log_in, reach, session
from ansible_collections.dcm.platform.plugins.module_utils._vault_config import converge
from cryptography import x509

from tests.support.postgres import PostgresServer, running_postgres
from tests.support.vault import VaultServer

ROOT = Path(__file__).resolve().parents[3]
MARKS = "dcm/platform/fingerprints"
PASSWORD = "planted-userpass-4711"


def tree() -> dict[str, Any]:
    """One of everything."""
    issuer = {"ttl": "1000h", "key_type": "ec", "key_bits": 256}
    return {
        "mounts": {
            "dcm": {"type": "kv", "description": "Secrets", "options": {"version": "2"}, "settings": {"max_versions": 5}},
            "dcm-transit": {
                "type": "transit",
                "keys": {"site": {"type": "aes256-gcm96", "deletion_allowed": False, "auto_rotate_period": "720h"}},
            },
            "pki": {
                "type": "pki",
                "tune": {"max_lease_ttl": "2000h"},
                "issuer": {**issuer, "issuer_name": "root-1", "common_name": "Test Root"},
                "urls": {"issuing_certificates": ["https://vault.example/v1/pki/ca"]},
            },
            "pki_int": {
                "type": "pki",
                "tune": {"max_lease_ttl": "1500h"},
                "issuer": {**issuer, "ttl": "900h", "issuer_name": "int-1", "common_name": "Test Intermediate", "signed_by": "pki"},
                "crl": {"auto_rebuild": True, "expiry": "72h"},
                "roles": {"web": {"allowed_domains": ["example.org"], "allow_subdomains": True, "max_ttl": "24h", "key_type": "ec"}},
            },
        },
        "auth": {
            "jwt": {
                "type": "jwt",
                "config": {"from_cluster": True},
                "roles": {
                    "reader": {
                        "role_type": "jwt",
                        "user_claim": "sub",
                        "bound_audiences": ["vault"],
                        "bound_claims": {"/kubernetes.io/namespace": "NAMESPACE", "/kubernetes.io/serviceaccount/name": ["reader"]},
                        "token_policies": ["reader"],
                        "token_ttl": "10m",
                    }
                },
            },
            "approle": {"type": "approle", "roles": {"ci": {"token_policies": ["reader"], "secret_id_ttl": "1h"}}},
            "userpass": {"type": "userpass", "users": {"ada": {"password": PASSWORD, "token_policies": ["guild"]}}},
        },
        "policies": {
            "reader": {"dcm/data/shared/*": ["read"]},
            "guild": {"dcm/data/guilds/$(identity.entity.aliases.[userpass].name)/*": ["read"]},
        },
        "audit": {"file": {"type": "file", "options": {"file_path": "stdout"}}},
        "entities": {"guild-1100000000000000001": {"metadata": {"guild": "1100000000000000001"}, "policies": ["reader"]}},
    }


def wanted(server: VaultServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(tree()).replace("NAMESPACE", server.namespace))
    return found


def run(server: VaultServer, config: dict[str, Any], *prune: str, dry: bool = False) -> dict[str, str]:
    return {step.label: step.action for step in converge(server.place, config, list(prune), MARKS, dry)}


def test_life_of_a_configuration(open_vault: VaultServer) -> None:
    config = wanted(open_vault)
    predicted = run(open_vault, config, dry=True)
    with session(open_vault.place) as vault:
        assert vault.list("dcm/metadata/") == []
        assert "dcm/" not in (vault.read("sys/mounts") or {})
    assert run(open_vault, config) == predicted
    assert {
        "sys/mounts/dcm",
        "sys/auth/approle",
        "pki_int/issuer/int-1",
        "policy guild",
        "sys/audit/file",
        "auth/userpass/users/ada",
    } <= set(predicted)
    assert run(open_vault, config, dry=True) == {}
    assert run(open_vault, config) == {}

    changed = copy.deepcopy(config)
    changed["mounts"]["dcm"]["settings"]["max_versions"] = 7
    changed["mounts"]["pki_int"]["roles"]["web"]["max_ttl"] = "25h"
    changed["mounts"]["pki"]["tune"]["max_lease_ttl"] = "2001h"
    changed["auth"]["userpass"]["users"]["ada"]["password"] = f"{PASSWORD}-new"
    changed["policies"]["reader"]["dcm/data/more"] = ["list"]
    expected = {
        "dcm/config": "updated",
        "pki_int/roles/web": "updated",
        "sys/mounts/pki": "updated",
        "auth/userpass/users/ada": "updated",
        "policy reader": "updated",
    }
    assert run(open_vault, changed, dry=True) == expected
    assert run(open_vault, changed) == expected
    assert run(open_vault, changed) == {}
    with reach(open_vault.place) as plain:
        assert plain.write("auth/userpass/login/ada", {"password": f"{PASSWORD}-new"})["auth"]["client_token"]
        with pytest.raises(VaultError, match="auth/userpass/login/ada"):
            plain.write("auth/userpass/login/ada", {"password": PASSWORD})

    del changed["auth"]["approle"]["roles"]["ci"], changed["policies"]["guild"], changed["audit"]["file"]
    assert run(open_vault, changed) == {}
    expected = {"auth/approle/role/ci": "removed", "policy guild": "removed", "sys/audit/file": "removed"}
    assert run(open_vault, changed, "roles", "policies", "audit", dry=True) == expected
    assert run(open_vault, changed, "roles", "policies", "audit") == expected
    assert run(open_vault, changed, "roles", "policies", "audit", "auth", "mounts") == {}
    assert run(open_vault, config)  # all of it again, for the tests below


def test_the_intermediate_is_signed_by_the_root_and_signs(open_vault: VaultServer) -> None:
    with session(open_vault.place) as vault:
        issued = vault.write("pki_int/issue/web", {"common_name": "www.example.org", "ttl": "1h"})["data"]
        root = str((vault.read("pki/cert/ca") or {})["certificate"])
    leaf = x509.load_pem_x509_certificate(issued["certificate"].encode())
    middle = x509.load_pem_x509_certificate(issued["issuing_ca"].encode())
    leaf.verify_directly_issued_by(middle)
    middle.verify_directly_issued_by(x509.load_pem_x509_certificate(root.encode()))


def test_a_new_name_makes_a_new_authority_and_the_old_one_stays_valid(open_vault: VaultServer) -> None:
    config = wanted(open_vault)
    config["mounts"]["pki_int"]["issuer"]["issuer_name"] = "int-2"
    assert run(open_vault, config) == {"pki_int/issuer/int-2": "created"}
    with session(open_vault.place) as vault:
        issued = vault.write("pki_int/issue/web", {"common_name": "www.example.org", "ttl": "1h"})["data"]
        second = str((vault.read("pki_int/issuer/int-2") or {})["certificate"])
        assert (vault.read("pki_int/issuer/int-1") or {})["certificate"] != second
    assert issued["issuing_ca"].strip() == second.strip()


def test_service_accounts_read_what_their_role_lets_them(open_vault: VaultServer) -> None:
    run(open_vault, wanted(open_vault))
    account = f"{open_vault.namespace}/reader"
    open_vault.api.kubectl("-n", open_vault.namespace, "create", "serviceaccount", "reader")
    with session(open_vault.place) as vault:
        vault.write("dcm/data/shared/x", {"data": {"value": "1"}})
        vault.write("dcm/data/other/x", {"data": {"value": "2"}})
    place = dataclasses.replace(open_vault.place, login_account=account, login_role="reader")
    with reach(place) as vault:
        log_in(place, vault)
        assert (vault.read("dcm/data/shared/x") or {})["data"] == {"value": "1"}
        with pytest.raises(VaultError, match="permission denied"):
            vault.read("dcm/data/other/x")


def test_one_policy_keeps_guilds_apart(open_vault: VaultServer) -> None:
    run(open_vault, wanted(open_vault))
    with session(open_vault.place) as vault:
        vault.write("dcm/data/guilds/ada/x", {"data": {"value": "mine"}})
        vault.write("dcm/data/guilds/grace/x", {"data": {"value": "not mine"}})
    with reach(open_vault.place) as vault:
        vault.token = vault.write("auth/userpass/login/ada", {"password": PASSWORD})["auth"]["client_token"]
        assert (vault.read("dcm/data/guilds/ada/x") or {})["data"] == {"value": "mine"}
        with pytest.raises(VaultError, match="permission denied"):
            vault.read("dcm/data/guilds/grace/x")


def test_secrets_are_generated_once_and_copied(open_vault: VaultServer) -> None:
    run(open_vault, wanted(open_vault))
    open_vault.api.kubectl("-n", open_vault.namespace, "create", "secret", "generic", "redis", "--from-literal=password=planted-redis-1")
    entries: list[dict[str, Any]] = [
        {"path": "credentials/key", "generate": {"value": {"length": 64}}},
        {"path": "credentials/redis", "from_secrets": {"value": f"{open_vault.namespace}/redis/password"}},
    ]

    def provide(dry: bool = False) -> list[str]:
        return [change.path for change in _vault_secrets.converge(open_vault.place, "dcm", entries, dry)]

    assert provide(dry=True) == ["credentials/key", "credentials/redis"]
    assert provide() == ["credentials/key", "credentials/redis"]
    before = _vault_secrets.read_field(open_vault.place, "dcm", "credentials/key", "value")
    assert provide() == []
    assert len(before) == 64
    assert _vault_secrets.read_field(open_vault.place, "dcm", "credentials/redis", "value") == "planted-redis-1"
    entries.append({"path": "credentials/none", "required": ["value"]})
    with pytest.raises(PlatformError, match="credentials/none has no field value"):
        provide()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        with server.connect() as connection:
            connection.execute("CREATE ROLE vault LOGIN CREATEROLE PASSWORD 'planted-database-9'")
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'first'")
            connection.execute("GRANT app TO vault WITH ADMIN OPTION")
        yield server


def test_database_logins(open_vault: VaultServer, postgres: PostgresServer) -> None:
    program = Path(os.environ["DCM_TEST_KUBE_BIN"], "vault-postgresql").resolve()
    with session(open_vault.place) as vault:
        body = {"sha256": hashlib.sha256(program.read_bytes()).hexdigest(), "command": program.name}
        vault.write("sys/plugins/catalog/database/dcm-postgresql", body)
    connection = {
        "plugin_name": "dcm-postgresql",
        "allowed_roles": ["app", "lease"],
        "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{postgres.host}:{postgres.port}/postgres",
        "username": "vault",
        "password": "planted-database-9",
    }
    statement = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
    mount = {
        "type": "database",
        "connections": {"main": connection},
        "roles": {"lease": {"db_name": "main", "creation_statements": [statement], "default_ttl": "5m", "max_ttl": "10m"}},
        "static_roles": {"app": {"db_name": "main", "username": "app", "rotation_period": "24h"}},
    }
    config = {"mounts": {"dcm": wanted(open_vault)["mounts"]["dcm"], "database": mount}}
    assert len(run(open_vault, config)) == 4
    assert run(open_vault, config) == {}
    with session(open_vault.place) as vault:
        lease = (vault.read("database/creds/lease")) or {}
        fixed = (vault.read("database/static-creds/app")) or {}
    for login in (lease, fixed):
        with postgres.connect(user=login["username"], password=login["password"]) as connected:
            assert connected.execute("SELECT current_user").fetchone() == (login["username"],)


def test_no_secret_is_in_the_output_of_ansible(open_vault: VaultServer, tmp_path: Path) -> None:
    """As a playbook, with all that -vvv and --diff show."""
    config = wanted(open_vault)
    config["auth"]["userpass"]["users"]["grace"] = {"password": "planted-userpass-0815"}
    secrets = [{"path": "credentials/token", "values": {"value": "planted-token-0816"}}]
    tasks = [
        {
            "name": "Configure",
            "dcm.platform.vault_config": {**open_vault.options, "config": config, "fingerprints": MARKS},
            "register": "a",
        },
        {"name": "Provide", "dcm.platform.vault_secrets": {**open_vault.options, "secrets": secrets}, "register": "b"},
        {"name": "Show", "ansible.builtin.debug": {"msg": ["{{ a }}", "{{ b }}"]}},
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
    outputs = []
    for arguments in (["--check", "--diff"], ["--diff"], ["--diff"]):
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-vvv", *arguments, str(playbook)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        outputs.append(done.stdout + done.stderr)
    assert [("changed=2" in output, "changed=0" in output) for output in outputs] == [(True, False), (True, False), (False, True)]
    assert "auth/userpass/users/grace" in outputs[0]
    keys = json.loads((open_vault.folder / "out" / "unseal.json").read_text())["keys"]
    planted = ["planted-", "hvs.", *keys]
    assert not [word for word in planted if any(word in output for output in outputs)]
