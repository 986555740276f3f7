#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Issue all certificates of a cluster in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_pki
short_description: Issue and renew the certificates and kubeconfigs of a cluster
version_added: 0.1.0
description:
  - Keeps certificate authorities, the certificates they sign, a service account key, kubeconfigs and the key that encrypts Secrets
    at rest in one folder. Keys are ECDSA P-256 and mode 0600.
  - A certificate is issued again when it is missing, signed by another authority, names something else, or ends soon.
    Authorities and the two keys are never replaced.
options:
  path:
    description: The folder. Created with mode 0700.
    type: path
    required: true
  authorities:
    description: Names of the certificate authorities.
    type: list
    elements: str
    required: true
  certificates:
    description: The certificates to keep.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: File name without ending.
        type: str
        required: true
      authority:
        description: The authority that signs it.
        type: str
        required: true
      common_name:
        description: Common name of the subject; the user name where a client certificate is shown to Kubernetes.
        type: str
        required: true
      organization:
        description: Organization of the subject; the group in Kubernetes.
        type: str
        default: ""
      names:
        description: DNS names it is valid for.
        type: list
        elements: str
        default: []
      addresses:
        description: IP addresses it is valid for.
        type: list
        elements: str
        default: []
      usages:
        description: What it may be used for.
        type: list
        elements: str
        choices: [server, client]
        required: true
  kubeconfigs:
    description: Certificates that also get a kubeconfig, V(<name>.kubeconfig).
    type: list
    elements: str
    default: []
  server:
    description: URL of the API server for the kubeconfigs.
    type: str
    required: true
  cluster_name:
    description: Name of cluster, user and context in the kubeconfigs.
    type: str
    required: true
  authority:
    description: The authority of the API server, for the kubeconfigs.
    type: str
    default: ca
  renew_days:
    description: Renew a certificate that ends within so many days.
    type: int
    default: 60
attributes:
  check_mode:
    description: Names what would be issued.
    support: full
  diff_mode:
    description: Shows names and reasons, never keys.
    support: full
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Issue the certificates
  dcm.platform.cluster_pki:
    path: /var/lib/dcm/local/pki
    authorities: [ca]
    certificates:
      - {name: admin, authority: ca, common_name: admin, organization: "system:masters", usages: [client]}
    kubeconfigs: [admin]
    server: https://10.254.0.1:6443
    cluster_name: local
"""

RETURN = r"""
issued:
  description: What was issued and why.
  returned: always
  type: dict
  sample: {admin: missing}
expires:
  description: For every certificate when it ends, ISO 8601.
  returned: always
  type: dict
  sample: {admin: "2027-11-23T12:00:00+00:00"}
"""

import base64
import datetime as dt
import json
import os
import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.dcm.platform.plugins.module_utils import _files

try:
    from ansible_collections.dcm.platform.plugins.module_utils import _pki
except ImportError:
    _MISSING = traceback.format_exc()
else:
    _MISSING = ""

_ENCRYPTED = ["secrets"]


class Folder:
    """The PKI folder, with all changes held back in check mode."""

    def __init__(self, path: Path, dry: bool) -> None:
        self.path, self.dry = path, dry
        self.issued: dict[str, str] = {}

    def pair(self, name: str) -> _pki.Pair | None:
        """A key and certificate that are there."""
        key, certificate = self.path / f"{name}.key", self.path / f"{name}.crt"
        return _pki.Pair(key.read_bytes(), certificate.read_bytes()) if key.exists() and certificate.exists() else None

    def keep(self, name: str, content: bytes, why: str = "") -> None:
        """Write a file unless it is there with that content."""
        mode = 0o644 if name.endswith((".crt", ".pub")) else 0o600
        if _files.differs(self.path / name, content, mode):
            self.issued.setdefault(name.rsplit(".", 1)[0], why or "changed")
            if not self.dry:
                _files.write(self.path / name, content, mode)

    def keep_pair(self, name: str, pair: _pki.Pair, why: str) -> None:
        """Write a key, then its certificate: a death between the two is seen and mended by the next run."""
        self.keep(f"{name}.key", pair.key, why)
        self.keep(f"{name}.crt", pair.certificate, why)


def encryption_configuration() -> bytes:
    """Kubernetes' EncryptionConfiguration with a fresh key."""
    key = {"name": "key1", "secret": base64.b64encode(os.urandom(32)).decode()}
    resource = {"resources": _ENCRYPTED, "providers": [{"secretbox": {"keys": [key]}}, {"identity": {}}]}
    return json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [resource]}).encode()


def converge(folder: Folder, params: dict[str, Any], now: dt.datetime) -> dict[str, str]:
    """Bring the folder to what the parameters ask for; returns the ends of the certificates."""
    pairs: dict[str, _pki.Pair] = {}
    for name in params["authorities"]:
        pairs[name] = folder.pair(name) or _pki.new_authority(f"{params['cluster_name']}-{name}", now)
        folder.keep_pair(name, pairs[name], "missing")
    for options in params["certificates"]:
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        wanted = _pki.Wanted(**fields)
        current = folder.pair(wanted.name)
        why = _pki.why_issue(wanted, current, pairs[wanted.authority], now, params["renew_days"])
        pairs[wanted.name] = _pki.issue(wanted, pairs[wanted.authority], now) if why or current is None else current
        folder.keep_pair(wanted.name, pairs[wanted.name], why)
    for name in params["kubeconfigs"]:
        config = _pki.kubeconfig(params["server"], params["cluster_name"], pairs[params["authority"]].certificate, pairs[name])
        folder.keep(f"{name}.kubeconfig", json.dumps(config, indent=1).encode())
    key = folder.path / "service-account.key"
    secret = key.read_bytes() if key.exists() else _pki.new_key()
    folder.keep("service-account.key", secret, "missing")
    folder.keep("service-account.pub", _pki.public_key(secret), "missing")
    if not (folder.path / "encryption.json").exists():
        folder.keep("encryption.json", encryption_configuration(), "missing")
    return {name: _pki.expiry(pair.certificate) for name, pair in pairs.items()}


def main() -> None:
    certificate = {
        "name": {"type": "str", "required": True},
        "authority": {"type": "str", "required": True},
        "common_name": {"type": "str", "required": True},
        "organization": {"type": "str", "default": ""},
        "names": {"type": "list", "elements": "str", "default": []},
        "addresses": {"type": "list", "elements": "str", "default": []},
        "usages": {"type": "list", "elements": "str", "choices": ["server", "client"], "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "authorities": {"type": "list", "elements": "str", "required": True},
            "certificates": {"type": "list", "elements": "dict", "required": True, "options": certificate},
            "kubeconfigs": {"type": "list", "elements": "str", "default": []},
            "server": {"type": "str", "required": True},
            "cluster_name": {"type": "str", "required": True},
            "authority": {"type": "str", "default": "ca"},
            "renew_days": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if _MISSING:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=_MISSING)
    folder = Folder(Path(module.params["path"]), module.check_mode)
    if not module.check_mode:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    expires = converge(folder, module.params, dt.datetime.now(dt.UTC))
    reasons = "".join(f"{name}: {why}\n" for name, why in folder.issued.items())
    module.exit_json(changed=bool(folder.issued), issued=folder.issued, expires=expires, diff={"before": "", "after": reasons})


if __name__ == "__main__":
    main()
