# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubeconfigs are merged as kubectl does it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._kubeconfig import merge, minify


def config(name: str, **cluster: str) -> dict[str, Any]:
    return {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **cluster}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "x"}}],
        "users": [{"name": name, "user": {"token": name}}],
    }


def test_the_first_file_wins() -> None:
    merged = merge(
        {"/a/config": config("one"), "/b/config": {**config("two"), "contexts": [*config("two")["contexts"], *config("one")["contexts"]]}}
    )
    assert merged["current-context"] == "one"
    assert [entry["name"] for entry in merged["contexts"]] == ["one", "two"]


def test_one_context_with_what_it_names() -> None:
    small = minify(merge({"/a/config": config("one"), "/b/config": config("two")}), "two", "x")
    assert small["current-context"] == "two"
    assert [small[kind][0]["name"] for kind in ("clusters", "contexts", "users")] == ["two", "two", "two"]
    assert small["contexts"][0]["context"]["namespace"] == "x"


def test_files_are_read_from_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"ca")
    path = str(tmp_path / "config")
    small = minify(merge({path: config("one", **{"certificate-authority": "ca.crt"})}), "", path)
    assert small["clusters"][0]["cluster"] == {"server": "https://one", "certificate-authority-data": base64.b64encode(b"ca").decode()}


@pytest.mark.parametrize(
    ("files", "context", "message"),
    [
        ({"/a": "text"}, "", "/a is not a kubeconfig"),
        ({"/a": {}}, "", "no context that is current; there are: none"),
        ({"/a": config("one")}, "two", "no context 'two'; there are: one"),
        ({"/a": {**config("one"), "users": None}}, "", "no user 'one'; there are: none"),
        ({"/a": config("one", **{"certificate-authority": "/nowhere"})}, "", "/nowhere, which cannot be read: No such file"),
    ],
)
def test_what_is_missing_is_named(files: dict[str, Any], context: str, message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        minify(merge(files), context, "/a")
