# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of Vault, what is there, and the steps between."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_compare import HIDDEN, fingerprint, matches, same
from ansible_collections.dcm.platform.plugins.module_utils._vault_plan import (
    State,
    Step,
    check,
    collection_path,
    collections,
    plan,
    policy_text,
)

KV = {"type": "kv", "description": "", "options": {"version": "2"}, "config": {"max_lease_ttl": 2764800}}
JWT = {"type": "jwt", "accessor": "auth_jwt_12"}
DATABASE = {
    "type": "database",
    "connections": {"main": {"plugin_name": "postgresql-database-plugin", "username": "vault", "password": "geheim-17"}},
}


def steps(tree: dict[str, Any], state: State | None = None, *prune: str) -> dict[str, Step]:
    check(tree)
    return {step.label: step for step in plan(tree, state or State(), list(prune))}


@pytest.mark.parametrize(
    ("wanted", "found", "equal"),
    [
        ("1h", 3600, True),
        ("1h30m", "5400", True),
        ("87600h", 315360000, True),
        (3600, "1h", True),
        ("1h", 3601, False),
        (["a", "b"], "b, a", True),
        ("a,b", ["a", "b"], True),
        (["a"], ["a", "b"], False),
        ([], None, True),
        ("", None, True),
        (False, None, True),
        (True, None, False),
        (True, "true", True),
        ({"version": "2"}, {"version": 2}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"claim": ["x"]}, {"claim": "x"}, True),
        ("text\n", "text", True),
        ("text", "other", False),
    ],
)
def test_same(wanted: Any, found: Any, equal: bool) -> None:
    assert same(wanted, found) is equal


def test_fingerprints_tell_secrets_apart_and_nothing_else() -> None:
    mark = fingerprint("geheim-17")
    assert matches("geheim-17", mark)
    assert not matches("geheim-18", mark)
    assert not matches("geheim-17", None)
    assert not matches("geheim-17", "nonsense")
    assert fingerprint("geheim-17") != mark
    assert "geheim" not in mark


def test_a_mount_is_made_tuned_and_left_alone() -> None:
    tree = {"mounts": {"dcm": {"type": "kv", "options": {"version": "2"}, "tune": {"max_lease_ttl": "768h"}}}}
    made = steps(tree)["sys/mounts/dcm"]
    assert made.action == "created"
    assert made.requests == (("post", "sys/mounts/dcm", {"type": "kv", "options": {"version": "2"}, "config": {"max_lease_ttl": "768h"}}),)
    assert not steps(tree, State(mounts={"dcm": KV}))
    tuned = steps(tree, State(mounts={"dcm": KV | {"config": {"max_lease_ttl": 60}}}))["sys/mounts/dcm"]
    assert (tuned.action, tuned.before, tuned.after) == ("updated", {"max_lease_ttl": 60}, {"max_lease_ttl": "768h"})
    assert tuned.requests[0][1] == "sys/mounts/dcm/tune"


def test_a_mount_of_another_type_is_an_error() -> None:
    with pytest.raises(PlatformError, match=r"sys/mounts/dcm has type kv, not transit: that cannot be changed"):
        steps({"mounts": {"dcm": {"type": "transit"}}}, State(mounts={"dcm": KV}))


def test_a_login_method_keeps_its_configuration_apart_from_its_mount() -> None:
    tree = {"auth": {"jwt": {"type": "jwt", "config": {"bound_issuer": "https://c"}, "roles": {"r": {"user_claim": "sub"}}}}}
    found = steps(tree)
    assert found["sys/auth/jwt"].requests[0][2] == {"type": "jwt"}
    assert set(found) == {"sys/auth/jwt", "auth/jwt/config", "auth/jwt/role/r"}
    there = State(
        auth={"jwt": JWT}, fields={"auth/jwt/config": {"bound_issuer": "https://c"}, "auth/jwt/role/r": {"user_claim": "sub", "x": 1}}
    )
    assert not steps(tree, there)


def test_secrets_are_compared_by_fingerprint_and_not_shown() -> None:
    tree = {"mounts": {"database": DATABASE}}
    made = steps(tree)["database/config/main"]
    assert made.after["password"] == HIDDEN
    assert "geheim" not in repr(made)
    assert made.requests[0][2]["password"] == "geheim-17"
    (mark,) = made.fingerprints.values()
    details = {"plugin_name": "postgresql-database-plugin", "connection_details": {"username": "vault"}}
    there = State(mounts={"database": {"type": "database"}}, fields={"database/config/main": details})
    assert not steps(tree, dataclasses.replace(there, fingerprints={"database/config/main#password": mark}))
    other = dataclasses.replace(there, fingerprints={"database/config/main#password": fingerprint("old")})
    changed = steps(tree, other)["database/config/main"]
    assert (changed.action, changed.before, changed.after) == ("updated", {}, {"password": HIDDEN})


def test_a_key_is_made_with_what_is_fixed_and_tuned_elsewhere() -> None:
    tree = {
        "mounts": {
            "t": {"type": "transit", "keys": {"site": {"type": "aes256-gcm96", "deletion_allowed": False, "auto_rotate_period": "720h"}}}
        }
    }
    paths = [path for _method, path, _body in steps(tree)["t/keys/site"].requests]
    assert paths == ["t/keys/site", "t/keys/site/config"]
    found = {"type": "aes256-gcm96", "deletion_allowed": False, "auto_rotate_period": 3600}
    state = State(mounts={"t": {"type": "transit"}}, fields={"t/keys/site": found})
    changed = steps(tree, state)["t/keys/site"]
    assert changed.requests == (("post", "t/keys/site/config", {"deletion_allowed": False, "auto_rotate_period": "720h"}),)
    with pytest.raises(PlatformError, match="t/keys/site has type 'ed25519', not 'aes256-gcm96'"):
        steps(tree, dataclasses.replace(state, fields={"t/keys/site": found | {"type": "ed25519"}}))


def test_authorities_are_made_once_the_root_first() -> None:
    issuer = {"common_name": "x", "ttl": "1h"}
    mounts = {
        "a_int": {"type": "pki", "issuer": issuer | {"issuer_name": "int", "signed_by": "root"}},
        "root": {"type": "pki", "issuer": issuer | {"issuer_name": "root-1"}},
    }
    found = [step.label for step in plan({"mounts": mounts}, State(), []) if step.issuer]
    assert found == ["root/issuer/root-1", "a_int/issuer/int"]
    there = State(mounts={name: {"type": "pki"} for name in mounts}, issuers={"root": ["root-1"], "a_int": ["int"]})
    assert not steps({"mounts": mounts}, there)
    mounts["root"]["issuer"]["issuer_name"] = "root-2"
    assert list(steps({"mounts": mounts}, there)) == ["root/issuer/root-2"]
    with pytest.raises(PlatformError, match=r"signed_by nobody, which is no mount"):
        plan({"mounts": {"a": {"type": "pki", "issuer": issuer | {"issuer_name": "i", "signed_by": "nobody"}}}}, State(), [])


def test_policies_are_text_and_know_accessors() -> None:
    policy = {"dcm/data/$(identity.entity.aliases.[jwt].metadata.name)/*": ["read", "list"]}
    text = policy_text(policy, {"jwt": JWT})
    assert text == 'path "dcm/data/{{identity.entity.aliases.auth_jwt_12.metadata.name}}/*" {\n  capabilities = ["read", "list"]\n}'
    tree = {"policies": {"p": policy}}
    assert not steps(tree, State(auth={"jwt": JWT}, policies={"p": text + "\n"}))
    assert steps(tree, State(auth={"jwt": JWT}, policies={"p": "old"}))["policy p"].before == {"policy": "old"}


def test_an_audit_device_that_differs_is_replaced() -> None:
    tree = {"audit": {"stdout": {"type": "file", "options": {"file_path": "stdout"}}}}
    assert steps(tree)["sys/audit/stdout"].action == "created"
    there = {"type": "file", "description": "", "options": {"file_path": "stdout"}}
    assert not steps(tree, State(audit={"stdout": there}))
    replaced = steps(tree, State(audit={"stdout": there | {"options": {"file_path": "/tmp/x"}}}))["sys/audit/stdout"]  # noqa: S108 - a name
    assert [method for method, _path, _body in replaced.requests] == ["delete", "post"]


def test_only_what_is_asked_for_is_removed() -> None:
    tree = {"auth": {"jwt": {"type": "jwt", "roles": {"kept": {"user_claim": "sub"}}}}, "policies": {"kept": "x"}}
    state = State(
        mounts={"old": {"type": "kv"}, "sys": {"type": "system"}, "cubbyhole": {"type": "cubbyhole"}},
        auth={"jwt": JWT, "token": {"type": "token"}, "old": {"type": "userpass"}},
        policies={"kept": "x", "old": "y", "root": "", "default": "z", "dcm-admin": "a"},
        fields={"auth/jwt/role/kept": {"user_claim": "sub"}},
        names={"auth/jwt/role": ["kept", "old", "dcm-admin"]},
    )
    assert not steps(tree, state)
    assert list(steps(tree, state, "roles")) == ["auth/jwt/role/old"]
    assert list(steps(tree, state, "policies")) == ["policy old"]
    assert list(steps(tree, state, "mounts", "auth")) == ["sys/auth/old", "sys/mounts/old"]
    assert [collection_path(kind, mount) for kind, mount, _names in collections(tree, ["roles"])] == ["auth/jwt/role"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"secrets": {}}, "config has secrets; it may have audit, auth, entities, mounts, policies"),
        ({"mounts": {"/dcm": {"type": "kv"}}}, "config.mounts: '/dcm' is no name"),
        ({"mounts": {"dcm": {}}}, r"config.mounts.dcm names no type"),
        ({"mounts": {"dcm": {"type": "kv", "keys": {}}}}, r"config.mounts.dcm has keys; with type kv it may have"),
        ({"auth": {"jwt": {"type": "jwt", "roles": {"r": "sub"}}}}, r"config.auth.jwt.roles holds something that is no set of fields"),
    ],
)
def test_mistakes_are_named(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        check(tree)
