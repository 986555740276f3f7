# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates that OpenSSL's rules accept, issued again exactly when they have to be."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _pki
from ansible_collections.dcm.platform.plugins.modules import cluster_pki
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
WANTED = _pki.Wanted("server", "ca", "server", "", ("server.example",), ("10.254.0.1",), ("server",))


@pytest.fixture(scope="module")
def authority() -> _pki.Pair:
    return _pki.new_authority("test-ca", NOW)


def test_a_certificate_verifies_against_its_authority(authority: _pki.Pair) -> None:
    pair = _pki.issue(WANTED, authority, NOW)
    store = Store([x509.load_pem_x509_certificate(authority.certificate)])
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("server.example"))
    verifier.verify(x509.load_pem_x509_certificate(pair.certificate), [])


def test_a_good_certificate_stays(authority: _pki.Pair) -> None:
    assert _pki.why_issue(WANTED, _pki.issue(WANTED, authority, NOW), authority, NOW, 60) == ""


@pytest.mark.parametrize(
    ("change", "days", "why"),
    [
        ({"common_name": "other"}, 0, "names changed"),
        ({"names": ("server.example", "more.example")}, 0, "names changed"),
        ({"addresses": ()}, 0, "names changed"),
        ({}, 306, "ends 2027-11-23"),
        ({}, 400, "ends 2027-11-23"),
    ],
)
def test_why_it_is_issued_again(authority: _pki.Pair, change: dict[str, Any], days: int, why: str) -> None:
    pair = _pki.issue(WANTED, authority, NOW)
    wanted = _pki.Wanted(**{**WANTED.__dict__, **change})
    assert _pki.why_issue(wanted, pair, authority, NOW + dt.timedelta(days=days), 60) == why


def test_another_authority_and_another_key_are_seen(authority: _pki.Pair) -> None:
    pair = _pki.issue(WANTED, _pki.new_authority("other-ca", NOW), NOW)
    assert _pki.why_issue(WANTED, pair, authority, NOW, 60) == "signed by another authority"
    mixed = _pki.Pair(_pki.new_key(), _pki.issue(WANTED, authority, NOW).certificate)
    assert _pki.why_issue(WANTED, mixed, authority, NOW, 60) == "its key is another one's"
    assert _pki.why_issue(WANTED, None, authority, NOW, 60) == "missing"


def params() -> dict[str, Any]:
    leaf = {"name": "admin", "authority": "ca", "common_name": "admin", "organization": "system:masters", "names": [], "addresses": []}
    return {
        "authorities": ["ca"],
        "certificates": [{**leaf, "usages": ["client"]}],
        "kubeconfigs": ["admin"],
        "server": "https://10.254.0.1:6443",
        "cluster_name": "local",
        "authority": "ca",
        "renew_days": 60,
    }


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    first = cluster_pki.Folder(tmp_path, dry=False)
    cluster_pki.converge(first, params(), NOW)
    assert set(first.issued) == {"ca", "admin", "service-account", "encryption"}
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert all(mode == 0o600 for name, mode in modes.items() if not name.endswith((".crt", ".pub")))
    kubeconfig = json.loads((tmp_path / "admin.kubeconfig").read_text())
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://10.254.0.1:6443"
    again = cluster_pki.Folder(tmp_path, dry=False)
    cluster_pki.converge(again, params(), NOW)
    assert again.issued == {}


def test_a_renewal_keeps_authority_and_keys_of_the_cluster(tmp_path: Path) -> None:
    cluster_pki.converge(cluster_pki.Folder(tmp_path, dry=False), params(), NOW)
    kept = {name: (tmp_path / name).read_bytes() for name in ("ca.crt", "ca.key", "service-account.key", "encryption.json")}
    later = cluster_pki.Folder(tmp_path, dry=False)
    cluster_pki.converge(later, params(), NOW + dt.timedelta(days=330))
    assert set(later.issued) == {"admin"}
    assert kept == {name: (tmp_path / name).read_bytes() for name in kept}


def test_check_mode_names_the_same_and_writes_nothing(tmp_path: Path) -> None:
    folder = cluster_pki.Folder(tmp_path / "pki", dry=True)
    cluster_pki.converge(folder, params(), NOW)
    assert set(folder.issued) == {"ca", "admin", "service-account", "encryption"}
    assert not (tmp_path / "pki").exists()


def test_a_death_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    cluster_pki.converge(cluster_pki.Folder(tmp_path, dry=False), params(), NOW)
    (tmp_path / "admin.key").write_bytes(_pki.new_key())
    folder = cluster_pki.Folder(tmp_path, dry=False)
    cluster_pki.converge(folder, params(), NOW)
    assert folder.issued["admin"] == "its key is another one's"
