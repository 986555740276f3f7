# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Vault for tests: TLS from the platform's own authority, integrated storage in a folder, loopback only.

It stands beside a real Kubernetes API, whose service accounts log in. The program comes from the folder DCM_TEST_KUBE_BIN.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place, Vault, VaultError
from ansible_collections.dcm.platform.plugins.module_utils._vault_tls import Certificate, converge

from tests.support.kube_api import KubeApi, free_ports

SECONDS = 180


class VaultServer:
    """One server, its folder, and how it is reached."""

    def __init__(self, folder: Path, api: KubeApi, namespace: str) -> None:
        self.folder, self.api, self.namespace = folder, api, namespace
        self.port, self.cluster_port = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("data", "tls"):
            (folder / name).mkdir(parents=True)
        api.kubectl("create", "namespace", namespace)
        converge(str(api.kubeconfig), "", Certificate(namespace, "vault", "vault-tls", "vault-ca", [namespace]), False, False)
        secret = json.loads(api.kubectl("-n", namespace, "get", "secret", "vault-tls", "-o", "json"))["data"]
        for name, value in secret.items():
            (folder / "tls" / name).write_bytes(base64.b64decode(value))

    @property
    def place(self) -> Place:
        return Place(
            url=f"https://127.0.0.1:{self.port}",
            kubeconfig=str(self.api.kubeconfig),
            ca_file=str(self.folder / "tls" / "ca.crt"),
            login_account=f"{self.namespace}/dcm-vault-admin",
        )

    @property
    def options(self) -> dict[str, Any]:
        """The connection options of the plugins."""
        place = self.place
        return {"url": place.url, "kubeconfig": place.kubeconfig, "ca_file": place.ca_file, "login_account": place.login_account}

    def plain(self) -> Vault:
        """Without a token."""
        return Vault(self.place.url, self.place.ca_file)

    def start(self) -> None:
        plugins = Path(os.environ["DCM_TEST_KUBE_BIN"])
        listener = {
            "address": f"127.0.0.1:{self.port}",
            "cluster_address": f"127.0.0.1:{self.cluster_port}",
            "tls_cert_file": str(self.folder / "tls" / "tls.crt"),
            "tls_key_file": str(self.folder / "tls" / "tls.key"),
        }
        config = {
            "disable_mlock": True,
            "api_addr": self.place.url,
            "cluster_addr": f"https://127.0.0.1:{self.cluster_port}",
            "plugin_directory": str(plugins.resolve()),
            "listener": [{"tcp": listener}],
            "storage": {"raft": {"path": str(self.folder / "data"), "node_id": "test"}},
        }
        (self.folder / "vault.json").write_text(json.dumps(config))
        with (self.folder / "log").open("ab") as log:
            command = [str(plugins / "vault"), "server", f"-config={self.folder / 'vault.json'}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.plain().request("get", "sys/seal-status")
                return
            except VaultError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]
