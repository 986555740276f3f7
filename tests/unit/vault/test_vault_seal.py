# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets the keys of Vault, and in which form."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._cluster_issuer import public_key
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_seal import Handing, Status, decode_root, servers_to_unseal
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = base64.b64encode(b"\x99\x01\x0d key material").decode()
ARMOURED = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: X\n\n{KEY}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
TWO = {"ada": KEY, "grace": ARMOURED}


def test_shares_are_encrypted_to_operators_and_so_is_the_root_token() -> None:
    handing = Handing(TWO, threshold=2)
    handing.check("production")
    assert handing.request(False) == {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": [KEY, KEY], "root_token_pgp_key": KEY}
    document = handing.document({"keys_base64": ["a", "b"], "root_token": "hvs.x"}, False)
    assert document["shares"] == [{"operator": "ada", "share": "a"}, {"operator": "grace", "share": "b"}]
    assert "hvs" not in str(document)


def test_a_server_that_unseals_itself_has_recovery_keys_and_its_root_token_is_used_at_once() -> None:
    assert Handing(TWO, threshold=2).request(True) == {"recovery_shares": 2, "recovery_threshold": 2, "recovery_pgp_keys": [KEY, KEY]}
    assert Handing(TWO, threshold=2).document({"recovery_keys_base64": ["a", "b"]}, True)["purpose"] == "recovery"


def test_a_developer_has_one_key_in_a_file() -> None:
    handing = Handing(key_file="/x/unseal.json")
    handing.check("local")
    assert handing.request(False) == {"secret_shares": 1, "secret_threshold": 1}
    assert handing.document({"keys_base64": ["k"]}, False)["keys"] == ["k"]


@pytest.mark.parametrize(
    ("handing", "environment", "message"),
    [
        (Handing(), "production", "nobody would get the keys"),
        (Handing(key_file="/x"), "staging", "for local and dev alone, not for staging"),
        (Handing(TWO, 2, "/x"), "local", "operators and key_file are both given"),
        (Handing(TWO, 1), "production", "threshold 1 of 2 shares"),
        (Handing(TWO, 3), "production", "threshold 3 of 2 shares"),
        (Handing({"ada": "not a key!"}), "production", "the key of operator ada is no OpenPGP public key"),
        (Handing({"ada": base64.b64encode(b"\x95private").decode()}), "production", "the key of operator ada is no OpenPGP public key"),
        (Handing({"ada": ""}), "production", "the key of operator ada"),
    ],
)
def test_what_could_give_keys_away_or_lose_them_is_refused(handing: Handing, environment: str, message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        handing.check(environment)


def test_keys_go_to_servers_that_wait_for_them() -> None:
    found = [Status("a", True, True), Status("b", True, False), Status("c", False, True), Status("d", True, True, "awskms")]
    assert [status.name for status in servers_to_unseal(found)] == ["a"]


def test_a_root_token_is_put_together_of_its_halves() -> None:
    token, otp = "hvs.CAESIJ", "0123456789"
    encoded = base64.b64encode(bytes(left ^ right for left, right in zip(token.encode(), otp.encode(), strict=True))).decode().rstrip("=")
    assert decode_root(encoded, otp) == token


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def test_keys_of_the_cluster_become_pem() -> None:
    curve: Any = ec.generate_private_key(ec.SECP256R1()).public_key()
    numbers = curve.public_numbers()
    key = {"kty": "EC", "crv": "P-256", "x": _number(numbers.x), "y": _number(numbers.y)}
    assert public_key(key) == curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()
    plain: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    assert "BEGIN PUBLIC KEY" in public_key({"kty": "RSA", "n": _number(plain.public_numbers().n), "e": _number(65537)})
    with pytest.raises(PlatformError, match="a key of kind OKP Ed25519"):
        public_key({"kty": "OKP", "crv": "Ed25519"})
