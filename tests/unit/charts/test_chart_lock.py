# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The chart lock: its form, where charts come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import (
    ChartSource,
    LockedChart,
    digest_problem,
    read_lock,
    read_source,
    release_of,
)
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_options import RELEASE_OPTIONS

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "0f" * 32
HTTPS = LockedChart("web", "https://charts.example/stable", "web", "1.2.3", DIGEST, "7", "MIT", "web")
OCI = LockedChart("mesh", "oci://registry.example/charts", "base", "v2.0.0", "", "2", "MIT", "mesh")
ENTRY = {
    "repository": "https://charts.example",
    "chart": "web",
    "version": "1.2.3",
    "sha256": None,
    "app_version": "7",
    "licence": "Apache-2.0 AND MIT",
    "namespace": "web",
}


def lock(**entries: Any) -> str:
    return yaml.safe_dump({"charts": entries}, sort_keys=False)


def test_the_lock_of_the_collection() -> None:
    charts = read_lock((ROOT / "charts/lock.yml").read_text(encoding="utf-8"))
    assert {"traefik", "cert-manager", "vault", "openbao", "kube-prometheus-stack"} <= set(charts)
    assert not [chart.name for chart in charts.values() if "bitnami" in chart.repository]


def test_entries_in_their_order() -> None:
    charts = read_lock(lock(web=ENTRY, base={**ENTRY, "chart": "base", "sha256": DIGEST}))
    assert list(charts) == ["web", "base"]
    assert charts["web"].sha256 == ""
    assert charts["base"].package == "base-1.2.3.tgz"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "1.2"}, "web: version: '1.2' is not one whole version"),
        ({"version": 1.2}, "web: version: 1.2 is not one whole version; write it in quotes"),
        ({"version": "~1.2.3"}, "is not one whole version"),
        ({"sha256": "12"}, "web: sha256: '12' is not null or"),
        ({"sha256": DIGEST.upper()}, "is not null or"),
        ({"repository": "http://charts.example"}, "is not an https:// or oci://"),
        ({"repository": "https://charts.example/"}, "is not an https:// or oci://"),
        ({"chart": "../web"}, "is not the name of a chart"),
        ({"namespace": "Web"}, "is not the name of a namespace"),
        ({"licence": ""}, "is not an SPDX expression"),
        ({"colour": "green"}, "web: has to have exactly"),
    ],
)
def test_a_bad_entry_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PlatformError, match=r"charts/lock\.yml does not fit") as caught:
        read_lock(lock(web={**ENTRY, **change}))
    assert said in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(PlatformError) as caught:
        read_lock(lock(web={**ENTRY, "version": "1", "sha256": "1"}, other={}))
    assert str(caught.value).count("\n  - ") == 3


@pytest.mark.parametrize("text", ["", "charts: []", "charts: {}", "[1"])
def test_no_lock(text: str) -> None:
    with pytest.raises(PlatformError, match=r"the\.lock"):
        read_lock(text, "the.lock")


def test_two_charts_with_one_package_are_refused() -> None:
    with pytest.raises(PlatformError, match=r"web-1\.2\.3\.tgz would be two charts"):
        read_lock(lock(web=ENTRY, other={**ENTRY, "repository": "https://other.example"}))


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ({"type": "upstream"}, ChartSource()),
        ({"type": "upstream", "url": None, "path": None, "plain_http": None}, ChartSource()),
        ({"type": "mirror", "url": "oci://mirror.example/charts/"}, ChartSource("mirror", "oci://mirror.example/charts")),
        ({"type": "mirror", "url": "http://localhost:1", "plain_http": True}, ChartSource("mirror", "http://localhost:1", "", True)),
        ({"type": "folder", "path": "/srv/charts"}, ChartSource("folder", "", "/srv/charts")),
    ],
)
def test_sources(value: dict[str, Any], source: ChartSource) -> None:
    assert read_source(value) == source


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "write {type: upstream}"),
        ("upstream", "write {type: upstream}"),
        ({"type": "git"}, "write {type: upstream}"),
        ({"type": "mirror"}, "of type mirror has to say url"),
        ({"type": "folder", "url": "https://a.example"}, "of type folder has to say path"),
        ({"type": "folder", "path": "charts"}, "'charts' has to be an absolute path"),
        ({"type": "folder", "path": "/srv", "url": "https://a.example"}, "of type folder does not know url"),
        ({"type": "mirror", "url": "ftp://a.example"}, "is neither an https:// nor an oci:// address"),
        ({"type": "upstream", "url": "https://a.example"}, "of type upstream does not know url"),
    ],
)
def test_a_bad_source_is_named(value: Any, said: str) -> None:
    with pytest.raises(PlatformError) as caught:
        read_source(value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("chart", "source", "release"),
    [
        (
            HTTPS,
            ChartSource(),
            {"chart_ref": "web", "chart_repo_url": "https://charts.example/stable", "chart_version": "1.2.3", "chart_digest": DIGEST},
        ),
        (OCI, ChartSource(), {"chart_ref": "oci://registry.example/charts/base", "chart_version": "v2.0.0"}),
        (
            OCI,
            ChartSource("mirror", "https://mirror.example"),
            {"chart_ref": "base", "chart_repo_url": "https://mirror.example", "chart_version": "v2.0.0"},
        ),
        (
            HTTPS,
            ChartSource("mirror", "oci://mirror.example/all", "", True),
            {"chart_ref": "oci://mirror.example/all/web", "chart_version": "1.2.3", "chart_digest": DIGEST, "plain_http": True},
        ),
        (
            HTTPS,
            ChartSource("folder", "", "/srv/charts/"),
            {"chart_ref": "/srv/charts/web-1.2.3.tgz", "chart_version": "1.2.3", "chart_digest": DIGEST},
        ),
    ],
)
def test_releases(chart: LockedChart, source: ChartSource, release: dict[str, Any]) -> None:
    found = release_of(chart, source)
    assert found == {"name": chart.name, "namespace": chart.namespace, **release}
    known = {name for option, spec in RELEASE_OPTIONS.items() for name in (option, *spec.get("aliases", []))}
    assert set(found) <= known


@pytest.mark.parametrize(
    ("profile", "environment", "refused"),
    [("full", "production", True), ("full", "staging", True), ("full", "dev", False), ("full", "local", False), ("lite", "staging", False)],
)
def test_a_chart_of_unknown_content(profile: str, environment: str, refused: bool) -> None:
    text, stopped = digest_problem(OCI, profile, environment)
    assert stopped is refused
    assert text.startswith("chart mesh v2.0.0 has no sha256 in charts/lock.yml")
    assert "`ansible-playbook playbooks/charts_lock.yml` fills it in" in text
    assert digest_problem(HTTPS, profile, environment) == ("", False)
