# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine as users meet it: through ansible-playbook, with lists of releases, with other ways to log in, with wrong input."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import json
import pathlib
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi, KubeError
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig

from tests.integration.helm.conftest import ROOT, Site

PLANTED = "planted-2b1f9e77"
SECRET_TEMPLATE = """\
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: {{ .Values.db.password | quote }} }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {line: "connect {{ .Values.db.password }}", colour: {{ .Values.colour }} }
"""
WAITING = """\
apiVersion: batch/v1
kind: Job
metadata: {name: "{{ .Release.Name }}-wait", annotations: {helm.sh/hook: pre-install}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: dcm.example/none:1}]}}}
"""


def entries(site: Site, chart: pathlib.Path, *names: str, **options: Any) -> dict[str, Any]:
    return {
        "release_namespace": site.namespace,
        "create_namespace": True,
        "wait": False,
        "releases": [{"name": name, "chart_ref": str(chart), **options} for name in names],
    }


def test_check_run_repeat_with_the_documented_keys(site: Site) -> None:
    options = entries(site, site.chart(), "one", "two")
    results = []
    for arguments in (["--check", "--diff"], [], []):
        done = site.playbook(options, *arguments)
        assert done.returncode == 0, done.stdout
        results.append(site.result())
    checked, converged, repeated = results
    assert [result["changed"] for result in results] == [True, True, False]
    assert checked["releases"]["one"]["objects"] == ["+ ConfigMap one"]
    module = importlib.import_module("ansible_collections.dcm.platform.plugins.modules.helm_release")
    documented = yaml.safe_load(module.RETURN)["releases"]["contains"]
    for result in results:
        assert set(result["releases"]["one"]) == set(documented)
    for key in ("changed", "status", "revision", "chart", "action"):
        assert checked["releases"]["one"][key] == converged["releases"]["one"][key]
    assert repeated["releases"]["two"]["action"] == "none"


@contextlib.contextmanager
def watched_commands() -> Iterator[set[str]]:
    """The command lines and environments of every process that runs meanwhile, as far as they can be caught."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            for path in pathlib.Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add((path / name).read_bytes().decode(errors="replace"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("arguments", [["--check", "--diff"], ["--diff"]])
def test_a_planted_secret_is_nowhere(site: Site, arguments: list[str]) -> None:
    chart = site.chart(templates={"a.yaml": SECRET_TEMPLATE})
    (site.folder / "secret.yml").write_text(yaml.safe_dump({"db": {"password": PLANTED}}))
    options = entries(site, chart, "leak", values_files=[str(site.folder / "secret.yml")], values={"again": {"password": PLANTED}})
    with watched_commands() as commands:
        done = site.playbook(options, "-vvv", *arguments)
    assert done.returncode == 0, done.stdout
    assert any(f"--namespace={site.namespace}" in command for command in commands)
    assert not any(PLANTED in command for command in commands)
    assert PLANTED not in done.stdout + done.stderr
    assert "(masked " in done.stdout
    assert "colour: green" in done.stdout
    left = [
        path
        for path in site.folder.rglob("*")
        if path.is_file() and path.name not in {"secret.yml", "play.yml"} and PLANTED in path.read_text(errors="replace")
    ]
    assert left == []


def test_an_error_of_helm_does_not_tell_the_secret(site: Site) -> None:
    template = '{{ fail (printf "bad value %s" .Values.db.password) }}'
    outcome = site.run(site.release("tells", site.chart(templates={"a.yaml": template}), values={"db": {"password": PLANTED}}))["tells"]
    assert "bad value (masked " in outcome.msg
    assert PLANTED not in outcome.msg


def test_one_failure_stops_its_dependents_only(site: Site) -> None:
    chart, broken = site.chart(), site.chart("broken", templates={"a.yaml": '{{ fail "on purpose" }}'})
    outcomes = site.run(
        site.release("base", broken),
        site.release("above", chart, depends_on=("base",)),
        site.release("top", chart, depends_on=("above",)),
        site.release("beside", chart),
    )
    assert {key: outcome.status for key, outcome in outcomes.items()} == {
        "base": "failed",
        "above": "skipped",
        "top": "skipped",
        "beside": "deployed",
    }
    assert "on purpose" in outcomes["base"].msg
    assert "depends on base, which failed" in outcomes["above"].msg
    assert site.names("configmap") == {"beside"}


def test_a_failed_task_reports_every_release(site: Site) -> None:
    options = entries(site, site.chart(templates={"a.yaml": '{{ fail "on purpose" }}'}), "first", "second")
    done = site.playbook(options)
    assert done.returncode != 0
    for name in ("first", "second"):
        assert f"release '{name}' in namespace '{site.namespace}': install failed" in done.stdout
    assert "Traceback" not in done.stdout


def test_dependencies_are_kept_and_the_rest_runs_side_by_side(site: Site) -> None:
    """Each first-level release waits 3 s for a hook that never ends: together they take about as long as one."""
    slow = site.chart("slow", templates={"a.yaml": WAITING})
    wanted = [site.release(f"side-{number}", slow, timeout=3, atomic=False) for number in range(4)]
    started = time.monotonic()
    outcomes = site.run(*wanted, parallel=4)
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}
    assert time.monotonic() - started < 9
    chart = site.chart()
    chain = [site.release("c3", chart, depends_on=("c2",)), site.release("c2", chart, depends_on=("c1",)), site.release("c1", chart)]
    site.run(*chain)
    born = {
        name: site.kube().release_document(site.namespace, site.records(name)[-1])["info"]["first_deployed"] for name in ("c1", "c2", "c3")
    }
    assert born["c1"] < born["c2"] < born["c3"]
    removed = site.run(*[dataclasses.replace(release, state="absent") for release in chain])
    assert all(outcome.status == "absent" for outcome in removed.values())


def test_a_circle_is_named_before_anything_is_done(site: Site) -> None:
    chart = site.chart()
    with pytest.raises(PlatformError, match="depends_on goes in a circle: ") as caught:
        site.run(site.release("a", chart, depends_on=("b",)), site.release("b", chart, depends_on=("a",)))
    assert str(caught.value).count("'") == 0
    assert "->" in str(caught.value)
    assert site.names("secret") == set()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"binary_path": "/nowhere/helm"}, ["binary_path", "/nowhere/helm"]),
        ({"kubeconfig": "/nowhere/kubeconfig"}, ["/nowhere/kubeconfig"]),
        ({"context": "elsewhere"}, ["'elsewhere'", "there: test"]),
        ({"release_values": "text"}, ["release_values", "found str"]),
        ({"timeout": "soon"}, ["timeout", "'soon'"]),
        ({"wait_strategy": "magic"}, ["wait_strategy", "magic"]),
        ({"chart_ref": "./no-such-chart"}, ["chart_ref", "./no-such-chart"]),
        ({"chart_version_typo": "1"}, ["chart_version_typo"]),
        ({"parallel": 0}, ["parallel", "0"]),
    ],
)
def test_wrong_input_is_one_clear_message(site: Site, change: dict[str, Any], words: list[str]) -> None:
    options = {"name": "wrong", "namespace": site.namespace, "chart_ref": str(site.chart()), **change}
    done = site.playbook(options)
    assert done.returncode != 0
    shown = " ".join((done.stdout + done.stderr).split())
    for word in words:
        assert word in shown
    assert "Traceback" not in done.stdout + done.stderr
    assert site.names("secret") == set()


@pytest.mark.parametrize(("binary", "objects"), [("", ["+ ConfigMap early"]), ("/nowhere/helm", [])])
def test_check_mode_before_there_is_a_cluster_predicts_an_empty_one(site: Site, binary: str, objects: list[str]) -> None:
    options = {
        "name": "early",
        "namespace": site.namespace,
        "chart_ref": str(site.chart()),
        "kubeconfig": str(site.folder / "none"),
        "binary_path": binary or site.helm,
    }
    done = site.playbook(options, "--check", "--diff")
    assert done.returncode == 0, done.stdout
    outcome = site.result()["releases"]["early"]
    assert (outcome["action"], outcome["revision"], outcome["objects"]) == ("install", 1, objects)
    assert "predicting for an empty cluster" in done.stdout + done.stderr
    assert site.playbook(options).returncode != 0


def test_nothing_to_do_takes_a_moment_and_starts_no_helm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = site.chart()
    wanted = [site.release(f"noop-{number}", chart) for number in range(20)]
    site.run(*wanted)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    started = time.monotonic()
    outcomes = site.run(*wanted)
    seconds = time.monotonic() - started
    assert not any(outcome.changed for outcome in outcomes.values())
    assert seconds < 1.0


# -- ways to log in -----------------------------------------------------------------------------------------------------


def read_only_token(site: Site) -> str:
    """A token of an account that may read and write in the test's namespace alone."""
    site.api.kubectl("create", "namespace", site.namespace)
    site.api.kubectl("create", "serviceaccount", "deployer", f"--namespace={site.namespace}")
    site.api.kubectl(
        "create",
        "rolebinding",
        "deployer",
        "--clusterrole=admin",
        f"--serviceaccount={site.namespace}:deployer",
        f"--namespace={site.namespace}",
    )
    return site.api.kubectl("create", "token", "deployer", f"--namespace={site.namespace}").strip()


@pytest.mark.parametrize("kind", ["token", "tokenFile", "exec", "files"])
def test_ways_to_log_in(site: Site, kind: str) -> None:
    token = read_only_token(site)
    token_file = site.folder / "token"
    token_file.write_text(token)
    plugin = site.folder / "login"
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    plugin.write_text(
        f"#!{sys.executable}\nimport os\nassert 'ExecCredential' in os.environ['KUBERNETES_EXEC_INFO']\nprint('''{json.dumps(status)}''')\n"
    )
    plugin.chmod(stat.S_IRWXU)
    certificate, key = site.api.client_certificate
    users: dict[str, dict[str, object]] = {
        "token": {"token": token},
        "tokenFile": {"tokenFile": "token"},
        "exec": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}},
        "files": {"client-certificate": str(certificate), "client-key": str(key)},
    }
    kubeconfig = site.api.write_kubeconfig(site.folder / "kubeconfig", users[kind])
    options = {"name": "login", "namespace": site.namespace, "chart_ref": str(site.chart()), "kubeconfig": str(kubeconfig), "wait": False}
    for changed in (True, False):
        done = site.playbook(options)
        assert done.returncode == 0, done.stdout
        assert site.result()["changed"] is changed


def test_a_login_that_fails_says_so(site: Site) -> None:
    kubeconfig = site.api.write_kubeconfig(site.folder / "kubeconfig", {"token": "wrong"})
    with pytest.raises(KubeError, match="Check the user of the kubeconfig"):
        ReleaseApi(read_kubeconfig(str(kubeconfig))).release_history([("a", "b")])
    broken = site.api.write_kubeconfig(site.folder / "broken", {"exec": {"command": "/nowhere/login"}})
    with pytest.raises(PlatformError, match="the credential plugin '/nowhere/login' failed"):
        KubeApi(read_kubeconfig(str(broken)))


def test_a_server_that_is_not_there(site: Site) -> None:
    document = yaml.safe_load(site.api.kubeconfig.read_text())
    document["clusters"][0]["cluster"] = {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": base64.b64encode(site.api.authority.path.read_bytes()).decode(),
    }
    path = site.folder / "away"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(KubeError, match=r"https://127\.0\.0\.1:1 does not answer"):
        KubeApi(read_kubeconfig(str(path))).get("/version")


def test_the_examples_run_as_they_stand(site: Site) -> None:
    module = importlib.import_module("ansible_collections.dcm.platform.plugins.modules.helm_release")
    play = {
        "name": "Examples",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"chart_folder": str(site.chart())},
        "module_defaults": {"dcm.platform.helm_release": {"kubeconfig": str(site.api.kubeconfig), "binary_path": site.helm}},
        "tasks": yaml.safe_load(module.EXAMPLES),
    }
    path = site.folder / "examples.yml"
    path.write_text(yaml.safe_dump([play]))
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=180)
        assert "failed=0" in done.stdout, done.stdout
        assert "changed=3" in done.stdout
    finally:
        site.api.kubectl("delete", "namespace", "dcm-services", "--ignore-not-found", "--wait=false")


# -- the role -----------------------------------------------------------------------------------------------------------


def test_the_role(site: Site) -> None:
    chart = site.chart()
    inputs = {
        "platform_kubeconfig": str(site.api.kubeconfig),
        "platform_kube_context": "",
        "platform_helm_binary": site.helm,
        "platform_cache_dir": str(site.folder / "cache"),
        "helm_release_wait": False,
    }
    one = {
        "helm_release_spec": {"name": "role", "namespace": site.namespace, "chart_ref": str(chart)},
        "helm_release_values": [{"colour": "a"}, {"colour": "b"}],
    }
    many = {"helm_release_specs": [{"name": "role", "namespace": site.namespace, "chart_ref": str(chart), "values": {"colour": "b"}}]}
    for case, recap in ((one, "changed=1"), (many, "changed=0"), ({**one, **many}, "failed=1")):
        role = {"name": "Converge", "ansible.builtin.include_role": {"name": "dcm.platform.helm_release"}, "vars": case}
        play = {"name": "Test", "hosts": "localhost", "connection": "local", "gather_facts": False, "vars": inputs, "tasks": [role]}
        path = site.folder / "role.yml"
        path.write_text(yaml.safe_dump([play]))
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
        assert recap in done.stdout, done.stdout
    assert site.get("configmap", "role")["data"] == {"colour": "b"}
