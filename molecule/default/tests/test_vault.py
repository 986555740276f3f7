# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vault is killed and comes back sealed: services go on with what they have, and the guarded playbook opens it again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from testinfra.host import Host

ROOT = Path(__file__).parents[3]
INVENTORY = ROOT / "molecule/default/inventories/local"
STATE = "/var/lib/dcm/molecule"
KUBECTL = f"{STATE}/bin/kubectl --kubeconfig {STATE}/kubeconfig"


def play(name: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"playbooks/{name}.yml", "-i", str(INVENTORY)]
    command += ["-e", json.dumps({"unseal_shares": "", **variables})]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def sealed(host: Host) -> bool:
    done = host.run(f"{KUBECTL} -n vault exec vault-0 -- /bin/vault status -format=json")
    return bool(json.loads(done.stdout)["sealed"])


def test_services_go_on_without_vault_until_it_is_unsealed(host: Host) -> None:
    assert not sealed(host)
    host.check_output(f"{KUBECTL} -n vault delete pod vault-0")
    host.check_output(f"{KUBECTL} -n vault wait pod/vault-0 --for=create --timeout=60s")
    host.check_output(f"{KUBECTL} -n vault wait pod/vault-0 --for=condition=Ready --timeout=120s")
    assert sealed(host)
    gateway = host.check_output(f"{KUBECTL} -n dcm-services get service gateway -o jsonpath={{.spec.clusterIP}}")
    assert host.run(f"curl --silent --fail http://{gateway}:9090/readyz").rc == 0
    pods = json.loads(host.check_output(f"{KUBECTL} -n dcm-services get pods -o json"))["items"]
    assert all(status["ready"] for pod in pods for status in pod["status"]["containerStatuses"])
    done = play("vault_unseal")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "changed=1" in done.stdout
    assert not sealed(host)
    assert play("vault_unseal").stdout.count("changed=0") == 1


def test_the_key_is_in_no_other_file_and_no_secret_of_services_is_in_kubernetes(host: Host, tmp_path: Path) -> None:
    key_file = host.file(f"{STATE}/vault/unseal.json")
    assert key_file.mode == 0o600
    [key] = json.loads(key_file.content_string)["keys"]
    words = tmp_path / "words"
    words.write_text(key)
    found = host.run(
        f"grep --recursive --files-with-matches --fixed-strings --file {words} {STATE} --exclude-dir=containerd"
    ).stdout.split()
    assert found == [f"{STATE}/vault/unseal.json"]
    secrets = json.loads(host.check_output(f"{KUBECTL} -n dcm-services get secrets -o json"))["items"]
    assert not [secret["metadata"]["name"] for secret in secrets if secret["type"] == "Opaque"]
