# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a cluster: what has to be issued, and issuing it, in memory; files are the caller's affair.

Keys are ECDSA P-256. A certificate is issued anew when it is missing, was signed by another authority, names
something else than wanted, or ends within the renewal window.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365


@dataclass(frozen=True)
class Wanted:
    """A leaf certificate as it should be."""

    name: str
    authority: str
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, both PEM."""

    key: bytes
    certificate: bytes


def new_key() -> bytes:
    """A fresh private key, PEM (PKCS 8)."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def public_key(key: bytes) -> bytes:
    """The public half of a private key, PEM."""
    return _private(key).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def new_authority(common_name: str, now: dt.datetime) -> Pair:
    """A self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = _builder(name, name, key, now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(key), builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def issue(wanted: Wanted, authority: Pair, now: dt.datetime) -> Pair:
    """A leaf certificate with a fresh key."""
    signer = _private(authority.key)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(wanted), issuer.subject, key, now, CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([_USAGES[usage] for usage in wanted.usages]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    if alternatives := _alternatives(wanted):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Pair(_pem(key), builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def why_issue(wanted: Wanted, current: Pair | None, authority: Pair, now: dt.datetime, renew_days: int) -> str:
    """Why the certificate has to be issued (again); empty when the current one is as wanted."""
    if current is None:
        return "missing"
    certificate = x509.load_pem_x509_certificate(current.certificate)
    if _private(current.key).public_key() != certificate.public_key():
        return "its key is another one's"
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    except (InvalidSignature, ValueError):
        return "signed by another authority"
    if certificate.subject != _subject(wanted) or _found_alternatives(certificate) != set(_alternatives(wanted)):
        return "names changed"
    if certificate.not_valid_after_utc - now < dt.timedelta(days=renew_days):
        return f"ends {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def expiry(certificate: bytes) -> str:
    """When a certificate ends, ISO 8601."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.isoformat()


def kubeconfig(server: str, name: str, authority: bytes, pair: Pair) -> Mapping[str, object]:
    """A kubeconfig with the credentials inside, as data."""

    def inline(data: bytes) -> str:
        return b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": inline(authority)}}],
        "users": [{"name": name, "user": {"client-certificate-data": inline(pair.certificate), "client-key-data": inline(pair.key)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _subject(wanted: Wanted) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, wanted.organization)] if wanted.organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)])


def _alternatives(wanted: Wanted) -> list[x509.GeneralName]:
    addresses: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in wanted.addresses]
    return [*(x509.DNSName(name) for name in wanted.names), *addresses]


def _found_alternatives(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    # Valid from five minutes ago: clocks of guests and hosts differ a little.
    start = now - dt.timedelta(minutes=5)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + dt.timedelta(days=days))


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=authority, crl_sign=authority, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
