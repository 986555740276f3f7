# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Initialising and unsealing the real server: once, again, after a restart, after a kill, with operators' shares."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import VaultError, session
from ansible_collections.dcm.platform.plugins.module_utils._vault_seal import Handing

from tests.integration.vault.conftest import bring_up, developer
from tests.support.kube_api import KubeApi, kube_api  # noqa: F401
from tests.support.vault import VaultServer


def roots(server: VaultServer) -> list[str]:
    """Accessors of root tokens."""
    with session(server.place) as vault:
        found = [
            (name, vault.write("auth/token/lookup-accessor", {"accessor": name})["data"]) for name in vault.list("auth/token/accessors")
        ]
    return [name for name, token in found if token["policies"] == ["root"]]


def test_a_developer_gets_an_open_vault(vault: VaultServer) -> None:
    predicted = bring_up(vault, developer(vault), dry=True)
    assert predicted.actions[:2] == ["initialise", "unseal"]
    assert vault.plain().request("get", "sys/init") == {"initialized": False}
    done = bring_up(vault, developer(vault))
    assert done.actions[0] == "initialise"
    assert done.sealed == []
    key_file = Path(done.shares_file)
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert roots(vault) == []
    assert "hvs." not in key_file.read_text()


def test_a_second_run_does_nothing(vault: VaultServer) -> None:
    assert bring_up(vault, developer(vault)).actions == []


def test_a_restart_seals_and_the_next_run_unseals(vault: VaultServer) -> None:
    vault.stop()
    vault.start()
    assert bring_up(vault, developer(vault), dry=True).actions == ["unseal"]
    assert bring_up(vault, developer(vault)).actions == ["unseal"]
    assert bring_up(vault, developer(vault)).actions == []


def test_keys_that_others_can_read_are_refused(vault: VaultServer) -> None:
    key_file = Path(developer(vault).key_file)
    key_file.chmod(0o644)
    with pytest.raises(PlatformError, match="can be read by others: chmod 600"):
        bring_up(vault, developer(vault))
    key_file.chmod(0o600)


def test_a_way_in_that_was_lost_is_made_again_of_the_key(vault: VaultServer) -> None:
    """A run that was killed after initialising leaves a root token and no way in; so does a cluster with new keys."""
    with session(vault.place) as admin:
        admin.delete("auth/jwt/role/dcm-admin")
    assert bring_up(vault, developer(vault), dry=True).actions == ["let the administrator's service account in"]
    assert bring_up(vault, developer(vault)).actions == ["let the administrator's service account in"]
    assert roots(vault) == []


def test_only_the_administrator_is_let_in(vault: VaultServer) -> None:
    vault.api.kubectl("-n", vault.namespace, "create", "serviceaccount", "somebody")
    other = dataclasses.replace(vault.place, login_account=f"{vault.namespace}/somebody")
    with pytest.raises(VaultError, match="auth/jwt/login"), session(other):
        pass


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Two people with an OpenPGP key each, in key rings of their own."""
    found = {}
    for name in ("ada", "grace"):
        home = tmp_path_factory.mktemp(name)
        home.chmod(0o700)
        gpg(home, "--passphrase", "", "--quick-generate-key", f"{name}@dcm.example", "rsa2048", "encrypt,sign", "never")
        found[name] = home
    yield found
    for home in found.values():
        subprocess.run(["gpgconf", "--kill", "all"], env={**os.environ, "GNUPGHOME": str(home)}, check=False)


def gpg(home: Path, *arguments: str, given: bytes = b"") -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def test_operators_get_encrypted_shares(kube_api: KubeApi, operators: dict[str, Path], tmp_path: Path) -> None:  # noqa: F811
    server = VaultServer(tmp_path, kube_api, "vault-operators")
    server.start()
    try:
        handing = Handing({name: gpg(home, "--armor", "--export").decode() for name, home in operators.items()}, threshold=2)
        handing.check("production")
        done = bring_up(server, handing)
        assert done.actions == ["initialise"]
        assert done.sealed == [server.place.url]
        document = json.loads(Path(done.shares_file).read_text())
        shares = {
            entry["operator"]: gpg(operators[entry["operator"]], "--decrypt", given=base64.b64decode(entry["share"])).decode()
            for entry in document["shares"]
        }
        assert not any(share in Path(done.shares_file).read_text() for share in shares.values())
        assert bring_up(server, handing).sealed == [server.place.url]
        with pytest.raises(PlatformError, match="1 key shares are not enough, Vault needs 2"):
            bring_up(server, handing, given=(shares["ada"],))
        opened = bring_up(server, handing, given=tuple(shares.values()))
        assert opened.actions == ["unseal", "let the administrator's service account in"]
        assert roots(server) == []
        assert bring_up(server, handing).actions == []
    finally:
        server.stop()


def test_keys_of_another_vault_are_not_overwritten(kube_api: KubeApi, tmp_path: Path) -> None:  # noqa: F811
    server = VaultServer(tmp_path, kube_api, "vault-empty")
    server.start()
    try:
        Path(developer(server).key_file).parent.mkdir()
        Path(developer(server).key_file).write_text('{"keys": ["x"]}')
        Path(developer(server).key_file).chmod(0o600)
        with pytest.raises(PlatformError, match="has the keys of another one"):
            bring_up(server, developer(server))
    finally:
        server.stop()
