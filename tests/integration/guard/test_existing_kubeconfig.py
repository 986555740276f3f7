# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Provider existing, with a real API server."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

ROOT = pathlib.Path(__file__).parents[3]


def take(source: str, folder: pathlib.Path, *options: str, context: str = "") -> subprocess.CompletedProcess[str]:
    arguments = f"source={source} context={context} dest={folder}/site/kubeconfig"
    ansible = str(pathlib.Path(sys.executable).parent / "ansible")
    return subprocess.run(
        [ansible, "localhost", "-m", "dcm.platform.existing_kubeconfig", "-a", arguments, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def changed(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("changed: true" in done.stdout) is not ("changed: false" in done.stdout)
    return "changed: true" in done.stdout


def spread(api: KubeApi, folder: pathlib.Path) -> pathlib.Path:
    """The kubeconfig of the API server as tools like minikube write it: certificates in files named by relative paths, several contexts."""
    config = yaml.safe_load(api.kubeconfig.read_text())
    for part, key in (("clusters", "certificate-authority"), ("users", "client-certificate"), ("users", "client-key")):
        entry = config[part][0][part[:-1]]
        (folder / key).write_bytes(base64.b64decode(entry.pop(f"{key}-data")))
        entry[key] = key
    dead = {"name": "dead", "cluster": {"server": "https://127.0.0.1:9"}}
    config["clusters"].append(dead)
    config["contexts"].append({"name": "dead", "context": {"cluster": "dead", "user": "test"}})
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_one_context_stands_alone(tmp_path: pathlib.Path, kube_api: KubeApi) -> None:  # noqa: F811
    source = spread(kube_api, tmp_path)
    target = tmp_path / "site" / "kubeconfig"
    assert changed(take(str(source), tmp_path, "--check"))
    assert not target.exists()
    assert changed(take(str(source), tmp_path))
    assert not changed(take(str(source), tmp_path))
    assert not changed(take(str(source), tmp_path, "--check"))
    assert target.stat().st_mode & 0o777 == 0o600
    assert [entry["name"] for entry in yaml.safe_load(target.read_text())["contexts"]] == ["test"]
    for key in ("certificate-authority", "client-certificate", "client-key"):
        (tmp_path / key).unlink()
    kubectl = [str(kube_api.bin / "kubectl"), f"--kubeconfig={target}", "get", "namespace", "kube-system"]
    assert subprocess.run(kubectl, check=False, capture_output=True).returncode == 0


def test_a_widened_mode_is_put_right(tmp_path: pathlib.Path, kube_api: KubeApi) -> None:  # noqa: F811
    take(str(kube_api.kubeconfig), tmp_path)
    target = tmp_path / "site" / "kubeconfig"
    target.chmod(0o644)
    assert changed(take(str(kube_api.kubeconfig), tmp_path))
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("dead", "the cluster of context 'dead' in .* does not let us in: .* does not answer"),
        ("nowhere", "has no context 'nowhere'; there are: test, dead. Choose one with existing_cluster_context"),
    ],
)
def test_what_is_refused(tmp_path: pathlib.Path, kube_api: KubeApi, context: str, message: str) -> None:  # noqa: F811
    done = take(str(spread(kube_api, tmp_path)), tmp_path, context=context)
    assert done.returncode != 0
    assert re.search(message, done.stdout), done.stdout
    assert not (tmp_path / "site").exists()


def test_a_token_that_is_not_accepted_is_told(tmp_path: pathlib.Path, kube_api: KubeApi) -> None:  # noqa: F811
    source = kube_api.write_kubeconfig(tmp_path / "stale", {"token": "expired"})
    done = take(str(source), tmp_path)
    assert done.returncode != 0
    assert "Check the user of the kubeconfig" in " ".join(done.stdout.split())
    assert "expired" not in done.stdout


def test_no_kubeconfig_is_told(tmp_path: pathlib.Path) -> None:
    assert "there is no kubeconfig at" in take(f"{tmp_path}/none", tmp_path).stdout


def test_a_missing_program_is_named(tmp_path: pathlib.Path, kube_api: KubeApi) -> None:  # noqa: F811
    arguments = {
        "source": str(kube_api.kubeconfig),
        "dest": f"{tmp_path}/site/kubeconfig",
        "programs": ["no-such-helm"],
        "programs_dir": str(tmp_path),
    }
    done = take("", tmp_path, "-a", json.dumps(arguments))
    assert "no-such-helm not found in PATH" in done.stdout
