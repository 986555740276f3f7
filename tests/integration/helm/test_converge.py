# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install, repeat, upgrade, fail, remove: against a real API server with a real helm."""

from __future__ import annotations

import dataclasses
import hashlib
import time

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

from tests.integration.helm.conftest import Site

SCHEMA = '{"type": "object", "properties": {"colour": {"type": "string"}}}'
BAD_JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: dcm.example/none:1}]
"""


def test_life_of_a_release(site: Site) -> None:
    chart = site.chart()
    wanted = site.release("life", chart, values={"colour": "blue"})

    first = site.run(wanted)["life"]
    assert (first.changed, first.action, first.status, first.revision) == (True, "install", "deployed", 1)
    assert (first.chart, first.app_version) == ("demo-1.0.0", "7")
    assert site.get("configmap", "life")["data"] == {"colour": "blue"}

    again = site.run(wanted)["life"]
    assert (again.changed, again.action, again.status, again.revision) == (False, "none", "deployed", 1)

    second = site.run(dataclasses.replace(wanted, values={"colour": "red"}))["life"]
    assert (second.changed, second.action, second.revision) == (True, "upgrade", 2)
    assert site.get("configmap", "life")["data"] == {"colour": "red"}

    gone = site.run(site.release("life", state="absent"))["life"]
    assert (gone.changed, gone.action, gone.status) == (True, "uninstall", "absent")
    assert site.names("configmap") == set()
    assert not site.run(site.release("life", state="absent"))["life"].changed


def test_an_edited_template_without_a_new_version_is_seen(site: Site) -> None:
    chart = site.chart()
    site.run(site.release("edit", chart))
    (chart / "templates" / "config.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n")
    assert site.run(site.release("edit", chart))["edit"].action == "upgrade"
    assert site.names("configmap") == {"other"}


def test_null_removes_a_default_of_the_chart(site: Site) -> None:
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keys}\ndata:\n{{ toYaml .Values.data | indent 2 }}\n"
    chart = site.chart(templates={"a.yaml": template}, files={"values.yaml": "data: {kept: a, dropped: b}\n"})
    site.run(site.release("nulls", chart, values={"data": {"dropped": None}}))
    assert site.get("configmap", "keys")["data"] == {"kept": "a"}


def test_what_someone_else_did_by_hand_is_not_taken_for_ours(site: Site) -> None:
    """Helm copies our labels to revisions that others make; the digest must not count there."""
    import subprocess

    chart = site.chart()
    site.run(site.release("hand", chart))
    command = [
        site.helm,
        "upgrade",
        "hand",
        str(chart),
        "--set",
        "colour=by-hand",
        "-n",
        site.namespace,
        "--kubeconfig",
        str(site.api.kubeconfig),
    ]
    subprocess.run(command, check=True, capture_output=True)
    outcome = site.run(site.release("hand", chart))["hand"]
    assert (outcome.changed, outcome.revision) == (True, 3)
    assert site.get("configmap", "hand")["data"] == {"colour": "green"}


def test_a_digest_that_differs_stops_before_anything_changes(site: Site) -> None:
    chart = site.package(site.chart())
    actual = hashlib.sha256(chart.read_bytes()).hexdigest()
    good = site.release("good", chart, chart_digest=actual)
    bad = site.release("bad", chart, chart_digest="0" * 64)
    with pytest.raises(PlatformError) as caught:
        site.run(good, bad)
    assert actual in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert str(chart) in str(caught.value)
    assert site.names("secret") == set()
    assert site.run(good)["good"].changed


def test_a_value_that_the_schema_refuses_is_named_by_its_path(site: Site) -> None:
    chart = site.chart(files={"values.schema.json": SCHEMA})
    outcome = site.run(site.release("schema", chart, values={"colour": 3}))["schema"]
    assert outcome.status == "failed"
    assert "/colour" in outcome.msg
    assert f"release 'schema' in namespace '{site.namespace}'" in outcome.msg
    assert "What to do:" in outcome.msg
    assert site.names("secret") == set()


def test_a_failed_first_install_is_removed_and_the_next_run_installs(site: Site) -> None:
    chart = site.chart(templates={"hook.yaml": BAD_JOB, "config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"})
    outcome = site.run(site.release("hooked", chart, timeout=2))["hooked"]
    assert outcome.status == "failed"
    assert "Not ready: Job hooked-hook 0/1" in outcome.msg
    assert "removed again" in outcome.msg
    assert site.records("hooked") == []
    (chart / "templates" / "hook.yaml").unlink()
    assert site.run(site.release("hooked", chart))["hooked"].status == "deployed"


def test_a_failed_upgrade_is_rolled_back_if_atomic_and_upgraded_later_if_not(site: Site) -> None:
    chart = site.chart(templates={"hook.yaml": '{{- if eq .Values.colour "bad" }}\n' + BAD_JOB + "{{- end }}\n", "config.yaml": CONFIG})
    site.run(site.release("atomic", chart, values={"colour": "one"}))
    outcome = site.run(site.release("atomic", chart, values={"colour": "bad"}, timeout=2))["atomic"]
    assert "rolled back to revision 1" in outcome.msg
    assert [record.status for record in site.records("atomic")] == ["superseded", "failed", "deployed"]
    assert site.get("configmap", "atomic")["data"] == {"colour": "one"}

    outcome = site.run(site.release("atomic", chart, values={"colour": "bad"}, timeout=2, atomic=False))["atomic"]
    assert "Nothing was rolled back" in outcome.msg
    assert site.records("atomic")[-1].status == "failed"
    outcome = site.run(site.release("atomic", chart, values={"colour": "two"}))["atomic"]
    assert (outcome.action, outcome.status) == ("upgrade", "deployed")
    assert "is failed" in outcome.reason


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: atomic}\ndata: {colour: {{ .Values.colour | quote }} }\n"


def test_pods_that_do_not_get_ready_are_explained(site: Site) -> None:
    """No node runs here, so a Deployment never gets ready; its pods are refused by the namespace's Pod Security level."""
    site.api.kubectl("create", "namespace", site.namespace)
    site.api.kubectl("label", "namespace", site.namespace, "pod-security.kubernetes.io/enforce=restricted")
    chart = site.chart(templates={"web.yaml": DEPLOYMENT})
    outcome = site.run(site.release("web", chart, wait=True, wait_strategy="legacy", timeout=6, atomic=False))["web"]
    assert "Not ready: Deployment web 0/2: FailedCreate" in outcome.msg
    assert "violates PodSecurity" in outcome.msg
    assert any(line.startswith("helm_release: web ready 0/1") and "waiting for Deployment web 0/2" in line for line in site.said)


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: dcm.example/none:1}]
"""


def test_check_mode_changes_nothing_and_says_what_the_run_then_does(site: Site) -> None:
    chart = site.chart(files={"crds/things.yaml": CRD}, templates={"a.yaml": CONFIG, "b.yaml": THING})
    plan = [site.release("atomic", chart, values={"colour": "one"}), site.release("second", chart, namespace=f"{site.namespace}")]
    plan[1] = dataclasses.replace(site.release("second", site.chart("other")), depends_on=("atomic",))
    before = site.snapshot()
    predicted = site.run(*plan, check=True)
    assert site.snapshot() == before
    assert "things" not in site.api.kubectl("get", "crd", "--output=name")
    done = site.run(*plan, diff=True)
    for key, outcome in done.items():
        told = predicted[key]
        assert (told.changed, told.action, told.status, told.revision, told.objects) == (
            outcome.changed,
            outcome.action,
            outcome.status,
            outcome.revision,
            outcome.objects,
        )
    changed = [dataclasses.replace(plan[0], values={"colour": "two"}), plan[1]]
    before = site.snapshot()
    predicted = site.run(*changed, check=True)
    assert site.snapshot() == before
    assert predicted["atomic"].objects == ["~ ConfigMap atomic"]
    assert not predicted["second"].changed
    assert site.run(*changed)["atomic"].revision == predicted["atomic"].revision


THING = "apiVersion: test.dcm.example/v1\nkind: Thing\nmetadata: {name: a}\nspec: {size: 1}\n"
CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.test.dcm.example}
spec:
  group: test.dcm.example
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}}}}
"""


def test_definitions_are_applied_on_upgrades_too_and_kept(site: Site) -> None:
    chart = site.chart(files={"crds/things.yaml": CRD}, templates={"b.yaml": THING})
    first = site.run(site.release("defs", chart), diff=True)["defs"]
    assert "+ CustomResourceDefinition things.test.dcm.example" in first.objects
    (chart / "crds" / "things.yaml").write_text(CRD.replace("size: {type: integer}", "size: {type: integer}, colour: {type: string}"))
    (chart / "templates" / "b.yaml").write_text(THING.replace("size: 1", "size: 1, colour: blue"))
    second = site.run(site.release("defs", chart), diff=True)["defs"]
    assert second.status == "deployed", second.msg
    assert second.objects == ["~ CustomResourceDefinition things.test.dcm.example", "~ Thing a"]
    assert site.get("thing", "a")["spec"] == {"size": 1, "colour": "blue"}
    managers = {entry["manager"] for entry in site.get("crd", "things.test.dcm.example")["metadata"].get("managedFields", [])}
    assert managers == set() or "dcm-platform" in managers

    site.run(site.release("defs", state="absent"))
    assert "things.test.dcm.example" in site.api.kubectl("get", "crd")
    site.run(site.release("defs", chart))
    site.run(site.release("defs", state="absent", keep_crds=False))
    end = time.monotonic() + 20
    while "things.test.dcm.example" in site.api.kubectl("get", "crd"):
        assert time.monotonic() < end
        time.sleep(0.2)


CLAIMS = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside}
"""


@pytest.mark.parametrize(("keep", "left"), [(True, {"data"}), (False, set())])
def test_claims_outlive_the_release_unless_told_otherwise(site: Site, keep: bool, left: set[str]) -> None:
    chart = site.chart(templates={"a.yaml": CLAIMS})
    site.run(site.release("claims", chart))
    outcome = site.run(site.release("claims", state="absent", keep_pvcs=keep), diff=True)["claims"]
    assert outcome.status == "absent", outcome.msg
    assert ("- PersistentVolumeClaim data" in outcome.objects) is not keep
    claims = {
        name
        for name in site.names("persistentvolumeclaim")
        if not site.get("persistentvolumeclaim", name)["metadata"].get("deletionTimestamp")
    }
    assert claims == left
    assert site.names("configmap") == set()


def test_drift_is_found_and_repaired(site: Site) -> None:
    chart = site.chart(
        templates={"a.yaml": CONFIG, "s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: open-sesame}\n"}
    )
    wanted = site.release("atomic", chart, drift=True)
    site.run(wanted)
    assert not site.run(wanted)["atomic"].changed
    site.api.kubectl(
        "patch", "configmap", "atomic", f"--namespace={site.namespace}", "--type=merge", "--patch", '{"data": {"colour": "pink"}}'
    )
    site.api.kubectl("delete", "secret", "s", f"--namespace={site.namespace}")

    assert not site.run(dataclasses.replace(wanted, drift=False))["atomic"].changed
    before = site.snapshot()
    told = site.run(wanted, check=True, diff=True)["atomic"]
    assert site.snapshot() == before
    assert (told.action, told.objects) == ("repair", ["~ ConfigMap atomic", "+ Secret s"])
    assert "open-sesame" not in str(told.diff)
    done = site.run(wanted)["atomic"]
    assert (done.changed, done.revision) == (True, 1)
    assert site.get("configmap", "atomic")["data"] == {"colour": "green"}
    assert site.get("secret", "s")["metadata"]["annotations"]["meta.helm.sh/release-name"] == "atomic"
    assert not site.run(wanted)["atomic"].changed
