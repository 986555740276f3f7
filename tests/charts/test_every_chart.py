# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for every first-party chart, by the list of folders."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.charts.chart_readme import table
from tests.charts.charting import API_CLIENTS, CHARTS, CLUSTER_WIDE, LEAST, OPERATED, Refused, helm, render, workload, workloads

APPLICATIONS = sorted(LEAST)
WITH_PODS = sorted(set(LEAST) - OPERATED)


def test_every_chart_is_tested() -> None:
    charts = {path.parent.name: yaml.safe_load(path.read_text()) for path in CHARTS.glob("*/Chart.yaml")}
    assert sorted(name for name, chart in charts.items() if chart["type"] == "application") == APPLICATIONS
    assert {name: chart["name"] for name, chart in charts.items()} == {name: name for name in charts}


def test_library_is_one_and_the_same() -> None:
    for chart in APPLICATIONS:
        assert (CHARTS / chart / "charts" / "dcm-library").resolve() == CHARTS / "dcm-library"
        declared = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["dependencies"]
        library = yaml.safe_load((CHARTS / "dcm-library" / "Chart.yaml").read_text())
        assert [(entry["name"], entry["version"]) for entry in declared] == [(library["name"], library["version"])]


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_lint(chart: str) -> None:
    out = helm("lint", "--strict", str(CHARTS / chart), values=LEAST[chart])
    assert "0 chart(s) failed" in out


@pytest.mark.parametrize("chart", WITH_PODS)
def test_restricted_pod_security(chart: str) -> None:
    for entry in workloads(render(chart)):
        check_restricted(entry["spec"]["template"]["spec"], chart in API_CLIENTS)


def check_restricted(pod: dict[str, Any], token: bool) -> None:
    assert pod["automountServiceAccountToken"] is token
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@pytest.mark.parametrize("chart", WITH_PODS)
def test_selectors_meet_the_pods(chart: str) -> None:
    values = {"labels": {"team": "data", "app.kubernetes.io/name": "someone-else", "app.kubernetes.io/instance": "no"}}
    objects = render(chart, values, release="the-one")
    pods = workload(objects)["spec"]["template"]["metadata"]["labels"]
    assert pods["team"] == "data"
    assert pods["app.kubernetes.io/part-of"] == "dcm"
    selectors = [
        workload(objects)["spec"]["selector"]["matchLabels"],
        objects["Service", "the-one"]["spec"]["selector"],
        objects["NetworkPolicy", "the-one"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector == {"app.kubernetes.io/name": "the-one", "app.kubernetes.io/instance": "the-one"}
        assert selector.items() <= pods.items()


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_all_objects_are_labelled_and_placed(chart: str) -> None:
    for (kind, _), entry in render(chart, release="the-one").items():
        assert entry["metadata"].get("namespace") == (None if kind in CLUSTER_WIDE else "dcm")
        labels = entry["metadata"]["labels"]
        assert labels["helm.sh/chart"].startswith(f"{chart}-")
        assert {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component", "part-of", "managed-by")} <= labels.keys()


@pytest.mark.parametrize("chart", WITH_PODS)
def test_nothing_is_allowed_that_is_not_named(chart: str) -> None:
    policy = render(chart, {"networkPolicy": {"dns": {"enabled": False}}})["NetworkPolicy", "gateway"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert policy["egress"] == []


@pytest.mark.parametrize("chart", APPLICATIONS)
@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"image": {"tag": ""}}, "/image"),
        ({"image": {"repository": "Upper Case"}}, "/image/repository"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"imagee": {}}, "imagee"),
        ({"labels": {"team": 7}}, "/labels/team"),
        ({"labels": {"-team": "x"}}, "/labels"),
        ({"resources": {"limits": {"memory": None}}}, "/resources/limits"),
        ({"resources": {"requests": {"cpu": "much"}}}, "/resources/requests/cpu"),
        ({"user": {"uid": 0}}, "/user/uid"),
        ({"networkPolicy": {"ingress": [{"from": [], "ports": [1]}]}}, "/networkPolicy/ingress/0/from"),
        (
            {"networkPolicy": {"ingress": [{"from": [{"cidr": "10.0.0.0/8", "name": "x"}], "ports": [1]}]}},
            "/networkPolicy/ingress/0/from/0",
        ),
        ({"networkPolicy": {"egress": [{"to": [{"name": "x"}], "ports": [70000]}]}}, "/networkPolicy/egress/0/ports/0"),
        ({"serviceAccount": {"automountToken": "no"}}, "/serviceAccount"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_values_are_refused_with_their_path(chart: str, wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        render(chart, wrong)
    assert path in str(refused.value)


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_readme_has_every_value(chart: str) -> None:
    text = (CHARTS / chart / "README.md").read_text()
    assert table(CHARTS / chart) in text, f"the table is out of date: python -m tests.charts.chart_readme {chart}"


@pytest.mark.parametrize("chart", WITH_PODS)
@pytest.mark.parametrize("token", [True, False])
def test_a_pod_with_a_token_of_the_api_says_so(chart: str, token: bool) -> None:
    """Role admission refuses it otherwise."""
    template = workload(render(chart, {"serviceAccount": {"automountToken": token}}))["spec"]["template"]
    assert template["spec"]["automountServiceAccountToken"] is token
    assert template["metadata"]["labels"].get("dcm.platform/api-access") == ("true" if token else None)
