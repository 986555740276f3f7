# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who signs the tokens of a cluster's service accounts: the issuer's name and its public keys."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@dataclass(frozen=True)
class ClusterIssuer:
    """The name that tokens bear, and the keys (PEM) that they are checked with."""

    url: str
    keys: list[str]


def cluster_issuer(api: KubeApi) -> ClusterIssuer:
    """As the API server publishes them. Asked for over its own connection: nobody else can answer."""
    about = api.get("/.well-known/openid-configuration") or {}
    keys = api.request("GET", "/openid/v1/jwks", accept="application/jwk-set+json").get("keys") or []
    if not about.get("issuer") or not keys:
        raise PlatformError("the API server publishes no keys of service accounts (/openid/v1/jwks); Vault could not check their tokens")
    return ClusterIssuer(str(about["issuer"]), sorted(public_key(key) for key in keys))


def public_key(key: Mapping[str, Any]) -> str:
    """A JSON Web Key as PEM."""
    made: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    if key.get("kty") == "EC" and key.get("crv") in CURVES:
        made = ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), CURVES[key["crv"]]).public_key()
    elif key.get("kty") == "RSA":
        made = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
    else:
        raise PlatformError(
            f"the API server signs with a key of kind {key.get('kty')} {key.get('crv', '')}, which this version does not know"
        )
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
