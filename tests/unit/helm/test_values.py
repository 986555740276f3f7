# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables for values, manifests and masks."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import (
    Masker,
    comparable,
    is_secret_name,
    load_yaml,
    manifest_objects,
    merge_layers,
    object_changes,
    plain,
    value_layers,
)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], {}),
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": {"x": 1, "y": 1}}, {"a": {"y": 2}}], {"a": {"x": 1, "y": 2}}),
        ([{"a": [1, 2]}, {"a": [3]}], {"a": [3]}),
        ([{"a": {"x": 1}}, {"a": None}], {"a": None}),
        ([{"a": None}, {"a": {"x": 1}}], {"a": {"x": 1}}),
        ([{"a": {"x": 1}}, {"a": "text"}], {"a": "text"}),
        ([{"a": "text"}, {"a": {"x": {"y": 1}}}], {"a": {"x": {"y": 1}}}),
    ],
)
def test_layers(layers: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    untouched = repr(layers)
    assert merge_layers(layers) == expected
    assert repr(layers) == untouched


def test_value_layers_refuse_other_types() -> None:
    assert value_layers({"a": 1}, "values") == [{"a": 1}]
    assert value_layers([{"a": 1}, None, {}], "values") == [{"a": 1}]
    for wrong, named in (("text", "found str"), ([{"a": 1}, "text"], r"values\[1\]"), (3, "found int")):
        with pytest.raises(PlatformError, match=named):
            value_layers(wrong, "values")


def test_plain_gives_json_types() -> None:
    class Tagged(str):
        __slots__ = ()

    result = plain({Tagged("a"): (Tagged("b"), 1, True, None)})
    assert result == {"a": ["b", 1, True, None]}
    assert type(result["a"][0]) is str
    assert type(result["a"][2]) is bool


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", "1e3"),
        ("=", "="),
        ("10", 10),
        ("0x10", 16),
        ("1.5", 1.5),
        ("on", True),
        ("~", None),
        ("010", 8),
    ],
)
def test_yaml_is_read_as_kubernetes_reads_it(text: str, value: Any) -> None:
    assert load_yaml(f"a: {text}") == [{"a": value}]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("api_key", True),
        ("clientSecret", True),
        ("TOKEN", True),
        ("passphrase", True),
        ("secretName", False),
        ("name", False),
        ("automountServiceAccountTokenPath", False),
        ("keyboard", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


PLANTED = "planted-7f3a9c"
SECRETS = [
    {"kind": "Secret", "data": {"any": PLANTED}, "stringData": {"other": PLANTED}},
    {"kind": "Pod", "spec": {"containers": [{"env": [{"name": "DB_PASSWORD", "value": PLANTED}]}]}},
    {"kind": "ConfigMap", "data": {"app.conf": f"user: a\npassword: {PLANTED}\nport = 1\n"}},
    {"kind": "ConfigMap", "data": {"url": f"postgres://user:{PLANTED}@host/db"}},
    {"kind": "Pod", "spec": {"adminToken": PLANTED}},
    {"kind": "ConfigMap", "data": {"key": f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----"}},
]


@pytest.mark.parametrize("document", SECRETS)
def test_secrets_are_masked_wherever_they_stand(document: dict[str, Any]) -> None:
    shown = yaml.safe_dump(Masker().object(document))
    assert PLANTED not in shown
    assert "(masked " in shown


def test_secret_values_are_masked_where_a_template_put_them() -> None:
    masker = Masker([{"auth": {"password": PLANTED}}])
    assert PLANTED not in masker.text(f"at '/x': got {PLANTED}, want number")
    masker.learn({"oldToken": "former-secret"})
    assert "former-secret" not in str(masker.object({"kind": "Pod", "args": ["--x=former-secret"]}))


def test_the_name_of_a_secret_object_is_no_secret() -> None:
    masker = Masker([{"secrets": {"name": "dcm-service", "password": "planted-value"}}])
    assert masker.text("namespace dcm-services: planted-value").startswith("namespace dcm-services: (masked ")


def test_a_mask_shows_change_but_cannot_be_guessed() -> None:
    masker = Masker()
    assert masker.token("a") == masker.token("a") != masker.token("b")
    assert Masker().token("a") != masker.token("a")


def test_what_is_no_secret_is_shown() -> None:
    document = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"colour": "blue", "n": 3}}
    assert Masker().object(document) == document


MANIFEST = """
---
# Source: a
kind: ConfigMap
metadata: {name: a}
---
kind: List
items:
  - {kind: Secret, metadata: {name: s}}
---
"""


def test_manifests_are_taken_apart() -> None:
    assert [item["metadata"]["name"] for item in manifest_objects(MANIFEST)] == ["a", "s"]
    assert manifest_objects("") == []


def test_changes_between_manifests() -> None:
    def config(name: str, value: str) -> dict[str, Any]:
        return {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}}

    changes = object_changes(
        [config("a", "1"), config("b", "1"), config("c", "1")], [config("b", "2"), config("c", "1"), config("d", "1")], "ns", Masker()
    )
    assert [(change["object"], change["change"]) for change in changes] == [
        ("ConfigMap a", "remove"),
        ("ConfigMap b", "change"),
        ("ConfigMap d", "add"),
    ]
    assert "v: '2'" in changes[1]["after"]


def test_what_the_server_writes_is_not_compared() -> None:
    live = {"kind": "A", "status": {"x": 1}, "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "managedFields": []}}
    assert comparable(live) == {"kind": "A", "metadata": {"name": "a"}}
