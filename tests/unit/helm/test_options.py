# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options: how they become releases, and that documentation, role and code agree."""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_options import (
    ARGUMENT_SPEC,
    RELEASE_OPTIONS,
    build_releases,
    release_defaults,
)
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import Release

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = {"a.yml": b"x: {y: 1, z: 1}\n", "b.yml": b"x: {z: 2}\n", "list.yml": b"- 1\n"}


def build(**options: Any) -> list[Release]:
    return build_releases(options, FILES.__getitem__, lambda reference, _repository: f"/charts/{reference}")


def test_one_release() -> None:
    built = build(
        release_name="web",
        release_namespace="apps",
        chart_ref="web",
        values_files=["a.yml", "b.yml"],
        release_values=[{"x": {"y": 3}}, {"q": None}],
        timeout="2m",
    )
    assert built == [Release("web", "apps", chart_ref="/charts/web", values={"x": {"y": 3, "z": 2}, "q": None}, timeout=120)]


def test_entries_take_what_they_do_not_say_from_the_task() -> None:
    entries = [
        {"release_name": "a", "chart_ref": "a"},
        {"release_name": "b", "chart_ref": "b", "release_namespace": "other", "wait": True, "skip_crds": True},
    ]
    first, second = build(releases=entries, release_namespace="apps", wait=False, drift=True)
    assert (first.namespace, first.wait, first.drift, first.crds) == ("apps", False, True, "apply")
    assert (second.namespace, second.wait, second.drift, second.crds) == ("other", True, True, "skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "release_name is required"),
        ({"releases": [{"release_name": "a"}]}, r"releases\[0\]\.release_namespace is required"),
        ({"releases": [], "release_name": "a"}, "release_name and releases exclude each other"),
        ({"releases": [{"release_name": "a", "timeout": "soon"}], "release_namespace": "n"}, r"releases\[0\]\.timeout: 'soon'"),
        ({"release_name": "a", "release_namespace": "n", "values_files": ["list.yml"]}, "list.yml does not hold one YAML mapping"),
        ({"release_name": "a", "release_namespace": "n", "chart_digest": "x"}, "chart_digest: 'x' is not a sha256"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        build(**options)


def test_an_empty_list_is_nothing_to_do() -> None:
    assert build(releases=[]) == []


def documentation() -> dict[str, Any]:
    module = importlib.import_module("ansible_collections.dcm.platform.plugins.modules.helm_release")
    options: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)["options"]
    return options


def test_the_documentation_names_every_option_with_type_and_default() -> None:
    documented = documentation()
    assert list(documented) == [*RELEASE_OPTIONS, *[name for name in ARGUMENT_SPEC if name not in RELEASE_OPTIONS]]
    defaults = {**release_defaults(), "timeout": "5m", "skip_crds": False, "lock_timeout": None}
    for name, option in documented.items():
        spec = ARGUMENT_SPEC[name]
        for key in ("type", "aliases", "choices", "elements"):
            assert option.get(key) == spec.get(key), f"{name}.{key}"
        expected = spec.get("default", defaults.get(name)) or None
        assert (option.get("default") or None) == expected, name


def test_the_role_passes_the_defaults_of_the_module() -> None:
    documented = documentation()
    defaults = yaml.safe_load((ROOT / "roles/helm_release/defaults/main.yml").read_text())
    for name in ("timeout", "wait", "wait_strategy", "atomic", "retries", "drift", "parallel"):
        assert defaults[f"helm_release_{name}"] == documented[name]["default"], name
