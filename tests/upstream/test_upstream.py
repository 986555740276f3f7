# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real upstream charts with the values of our roles, against a real API server. There is no node: pods are accepted, not run.

Runs on demand: `make test-upstream CHARTS=<folder>`, with a folder that playbooks/charts_mirror.yml makes.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import read_lock
from ansible_collections.dcm.platform.plugins.module_utils._helm_chart import chart_files, crd_objects
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import load_yaml, merge_layers

from tests.repo.tree import ROOT
from tests.support import kube_api as support
from tests.upstream.roles import asked, evaluate

kube_api = support.kube_api
FOLDER = pathlib.Path(os.environ.get("DCM_TEST_CHARTS", "/nonexistent"))
# Packages that were made from sources have another digest than the published ones.
UNVERIFIED = os.environ.get("DCM_TEST_CHARTS_UNVERIFIED") == "1"
APPLY = ("apply", "--server-side", "--force-conflicts", "--filename=-")
LOCK = read_lock((ROOT / "charts/lock.yml").read_text(encoding="utf-8"))
PACKAGES = sorted(name for name, chart in LOCK.items() if (FOLDER / chart.package).is_file())
ROLES = sorted(asked())
# What a chart does not render or pass without, in words of its own values, and the chart whose definitions it needs.
VALUES: dict[str, dict[str, Any]] = {
    "cert-manager": {"crds": {"enabled": True}},
    "opentelemetry-collector": {"mode": "deployment", "image": {"repository": "otel/opentelemetry-collector-k8s"}},
}
NEEDS = {"plugin-barman-cloud": "cert-manager"}


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By role, its releases, with the variables of inventories/local, profile full, and the folder as the source of charts."""
    folder = tmp_path_factory.mktemp("ours")
    inventory = ROOT / "inventories/local/group_vars/all"
    known = {name: value for path in sorted(inventory.glob("*.yml")) for name, value in yaml.safe_load(path.read_text()).items()}
    source = {"type": "folder", "path": str(FOLDER)}
    paths = {"platform_state_dir": str(folder), "playbook_dir": str(ROOT / "playbooks")}
    site = {**known, **paths, "platform_profile": "full", "platform_environment": "local", "platform_chart_source": source}
    return evaluate(folder, site)


def prioritise(api: support.KubeApi) -> None:
    """What the roles of the baseline leave behind and pods refer to."""
    for name in ("dcm-platform", "dcm-data", "dcm-services"):
        api.kubectl("create", "priorityclass", name, "--value=1000")


@pytest.fixture(scope="session", autouse=True)
def priorities(kube_api: support.KubeApi) -> None:
    prioritise(kube_api)


def render(kube_api: support.KubeApi, release: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a chart, hooks and definitions included, as for this API server."""
    values = merge_layers(release.get("values") or [])
    version = json.loads(kube_api.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    command = [str(support.kube_bin() / "helm"), "template", release["name"], release["chart_ref"]]
    command += [f"--namespace={release['namespace']}", "--values=-", f"--kube-version={version}"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{release['name']}: {done.stderr}"
    rendered = [item for item in load_yaml(done.stdout) if isinstance(item, dict)]
    return [*crd_objects(chart_files(release["chart_ref"]), values), *rendered]


def define(kube_api: support.KubeApi, objects: list[dict[str, Any]]) -> None:
    """Apply the definitions among these objects."""
    definitions = [item for item in objects if item["kind"] == "CustomResourceDefinition"]
    if definitions:
        kube_api.kubectl(*APPLY, stdin=yaml.safe_dump_all(definitions))
        names = [f"crd/{item['metadata']['name']}" for item in definitions]
        kube_api.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


def refused(kube_api: support.KubeApi, release: dict[str, Any]) -> list[str]:
    """Definitions are applied, then every other object is asked for in a dry run; what the API server says against it."""
    objects = render(kube_api, release)
    define(kube_api, objects)
    namespace = release["namespace"]
    kube_api.kubectl(*APPLY, stdin=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
    others = [item for item in objects if item["kind"] != "CustomResourceDefinition"]
    elsewhere = [item for item in others if item["metadata"].get("namespace", namespace) != namespace]
    here = [item for item in others if item not in elsewhere]
    problems = []
    for items, where in ((here, [f"--namespace={namespace}"]), (elsewhere, [])):
        try:
            kube_api.kubectl(*APPLY, "--dry-run=server", *where, stdin=yaml.safe_dump_all(items)) if items else None
        except RuntimeError as error:
            problems.append(f"{release['name']}: {error}")
    return problems


def own(name: str) -> dict[str, Any]:
    """The release of a chart with its own values."""
    return {
        "name": name,
        "namespace": LOCK[name].namespace,
        "chart_ref": str(FOLDER / LOCK[name].package),
        "values": [VALUES.get(name, {})],
    }


def test_there_are_charts() -> None:
    assert PACKAGES, f"{FOLDER} holds no package of charts/lock.yml"
    missing = sorted(set(LOCK) - set(PACKAGES))
    print(f"{len(PACKAGES)} of {len(LOCK)} locked charts are in {FOLDER}; not there: {', '.join(missing) or 'none'}")


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_asks_for_passes_the_api_server(role: str, ours: dict[str, list[dict[str, Any]]], kube_api: support.KubeApi) -> None:
    assert ours[role], f"role {role} names a locked chart, but hands none to helm_release in profile full"
    assert not [problem for release in ours[role] for problem in refused(kube_api, release)]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_chart_renders_and_passes_with_its_own_values(name: str, kube_api: support.KubeApi) -> None:
    """That the lock names a package which this Kubernetes takes, whether a role is there already or not."""
    if name in NEEDS:
        define(kube_api, render(kube_api, own(NEEDS[name])))
    assert not refused(kube_api, own(name))


@pytest.fixture
def fresh_api(tmp_path: pathlib.Path) -> Iterator[support.KubeApi]:
    """An API server of its own: Helm takes no definitions that somebody else applied."""
    with support.KubeApi(tmp_path / "kube-api") as api:
        prioritise(api)
        yield api


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_charts_install(
    role: str, ours: dict[str, list[dict[str, Any]]], fresh_api: support.KubeApi, tmp_path: pathlib.Path
) -> None:
    """By our module, without waiting for pods: there are no images here. A second run changes nothing."""
    # A role's own wish to wait, and for a namespace that is there, does not hold here.
    here = {"wait": False, "atomic": False, "create_namespace": True}
    releases = [
        {name: value for name, value in release.items() if name != "chart_digest" or not UNVERIFIED} | here for release in ours[role]
    ]
    options = {"kubeconfig": str(fresh_api.kubeconfig), "binary_path": str(support.kube_bin() / "helm"), "disable_hook": True}
    task = {"dcm.platform.helm_release": {**options, "releases": releases, "chart_cache": str(tmp_path / "cache")}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    path = tmp_path / "install.yml"
    path.write_text(yaml.safe_dump([play]))
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)]
    for expected in ("changed=1", "changed=0"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
