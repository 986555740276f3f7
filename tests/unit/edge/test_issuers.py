# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Issuers as data, and what cert-manager gets to see."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._issuers import issuer_objects

ACME = {"kind": "acme", "server": "https://acme.example/directory", "email": "ops@example.org"}
VAULT = {"kind": "vault", "server": "https://vault.vault.svc:8200", "path": "pki/sign/dcm", "role": "cert-manager"}


def made(**issuers: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["kind"], item["metadata"]["name"]): item for item in issuer_objects(issuers, "cm")}


def test_a_private_authority_signs_itself_first() -> None:
    objects = made(ca={"kind": "private_ca", "common_name": "Ours"})
    assert objects["ClusterIssuer", "ca-root"]["spec"] == {"selfSigned": {}}
    authority = objects["Certificate", "ca"]
    assert authority["metadata"]["namespace"] == "cm"
    assert (authority["spec"]["isCA"], authority["spec"]["commonName"]) == (True, "Ours")
    assert authority["spec"]["issuerRef"]["name"] == "ca-root"
    assert objects["ClusterIssuer", "ca"]["spec"] == {"ca": {"secretName": "ca"}}


def test_http01_goes_through_our_ingress() -> None:
    dns = {"dns01": {"route53": {}}, "selector": {"dnsZones": ["example.org"]}}
    spec = made(le={**ACME, "solvers": [{"http01": {}}, dns]})["ClusterIssuer", "le"]["spec"]["acme"]
    assert spec["solvers"] == [{"http01": {"ingress": {"ingressClassName": "traefik"}}}, dns]
    assert spec["privateKeySecretRef"] == {"name": "le-account"}


def test_vault_is_logged_in_to_as_a_service_account() -> None:
    objects = made(pki={**VAULT, "auth_path": "/v1/auth/jwt", "audiences": ["vault"], "ca_secret": {"name": "vault-ca", "key": "ca.crt"}})
    spec = objects["ClusterIssuer", "pki"]["spec"]["vault"]
    login = {"name": "pki-issuer", "audiences": ["vault"]}
    assert spec["auth"]["kubernetes"] == {"mountPath": "/v1/auth/jwt", "role": "cert-manager", "serviceAccountRef": login}
    assert spec["caBundleSecretRef"] == {"name": "vault-ca", "key": "ca.crt"}
    [rule] = objects["Role", "pki-issuer"]["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (["serviceaccounts/token"], ["pki-issuer"], ["create"])
    assert objects["RoleBinding", "pki-issuer"]["subjects"] == [{"kind": "ServiceAccount", "name": "cert-manager", "namespace": "cm"}]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"kind": "magic"}, "private_ca, acme, vault"),
        ({}, "kind None"),
        ({"kind": "private_ca", "email": "x"}, "email is not known"),
        ({**ACME, "email": "", "solvers": [{"http01": {}}]}, "needs email"),
        ({**ACME, "solvers": []}, "needs solvers"),
        ({**ACME, "solvers": [{"http01": {}, "dns01": {}}]}, "either http01 or dns01"),
        ({**VAULT, "path": ""}, "needs path"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PlatformError, match=complaint) as error:
        made(odd=given)
    assert "issuer odd" in str(error.value)
