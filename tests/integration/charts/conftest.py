# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chart repositories on this machine, a registry, and a lock over what is in them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tests.support.kube_api import Authority, free_ports, kube_bin

ROOT = pathlib.Path(__file__).resolve().parents[3]
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}
spec:
  containers:
    - name: main
      image: {{ .Values.image | quote }}
      args: ["--reloader=registry.example/reloader:v2"]
"""


def program(name: str) -> str:
    """One of the programs of the tests."""
    path = kube_bin() / name
    if not shutil.which(path):
        raise RuntimeError(f"there is no {name} in {path.parent}; `make test-binaries` builds it")
    return str(path)


@dataclass
class Registry:
    """A registry without TLS, on this machine."""

    port: int
    crane: str

    @property
    def url(self) -> str:
        return f"oci://127.0.0.1:{self.port}/charts"

    def push_image(self, name: str, folder: pathlib.Path) -> str:
        """An image of one small file; returns its full name."""
        reference = f"127.0.0.1:{self.port}/{name}"
        (folder / "hello").write_text("hello")
        subprocess.run(["tar", "--create", "--file", str(folder / "layer.tar"), "--directory", str(folder), "hello"], check=True)
        command = [self.crane, "append", "--new_layer", str(folder / "layer.tar"), "--new_tag", reference]
        subprocess.run(command, check=True, capture_output=True)
        return reference

    def tags(self, name: str) -> list[str]:
        command = [self.crane, "ls", f"127.0.0.1:{self.port}/{name}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """crane's own registry: empty at first, in memory."""
    (port,) = free_ports(1)
    crane = program("crane")
    server = subprocess.Popen(
        [crane, "registry", "serve", "--address", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _attempt in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    yield Registry(port, crane)
    server.terminate()
    server.wait()


@dataclass
class Site:
    """A chart repository over HTTP with a lock file for it, and playbooks that are run against them."""

    folder: pathlib.Path
    url: str
    helm: str
    authority: pathlib.Path
    asked: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Our programs, and the certificate authority of the repository as the only one that counts."""
        tools = f"{pathlib.Path(self.helm).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": tools, "SSL_CERT_FILE": str(self.authority), "XDG_CACHE_HOME": str(self.folder / "cache")}

    @property
    def lock(self) -> pathlib.Path:
        return self.folder / "lock.yml"

    def add(self, name: str, version: str = "1.0.0", image: str = "registry.example/web:1", app_version: str = "7") -> pathlib.Path:
        """Package a chart and put it into the repository."""
        chart = self.folder / "source" / name
        (chart / "templates").mkdir(parents=True, exist_ok=True)
        (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": name, "version": version, "appVersion": app_version}))
        (chart / "values.yaml").write_text(yaml.safe_dump({"image": image}))
        (chart / "templates/pod.yaml").write_text(POD)
        served = self.folder / "served"
        subprocess.run([self.helm, "package", str(chart), "--destination", str(served)], check=True, capture_output=True)
        subprocess.run([self.helm, "repo", "index", str(served), "--url", self.url], check=True, capture_output=True)
        return served / f"{name}-{version}.tgz"

    def write_lock(self, *names: str, **changes: Any) -> None:
        """A lock with a comment at each entry, as people write them."""
        lines = ["---", "# The charts.", "charts:"]
        for name in names:
            entry = {
                "repository": self.url,
                "chart": name,
                "version": "1.0.0",
                "sha256": "null",
                "app_version": '"0"',
                "licence": "MIT",
                "namespace": name,
                **changes.get(name, {}),
            }
            lines += [f"  # About {name}.", f"  {name}:", *(f"    {key}: {value}" for key, value in entry.items()), ""]
        self.lock.write_text("\n".join(lines[:-1]) + "\n")

    def charts(self) -> dict[str, dict[str, Any]]:
        return dict(yaml.safe_load(self.lock.read_text())["charts"])

    def task(self, module: str, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        """One task as users write it; what it returned is in result.json."""
        result = {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(self.folder / "result.json"), "mode": "0600"}}
        given = {"lock_file": str(self.lock), "binary_path": self.helm, **options}
        call = {f"dcm.platform.{module}": given, "register": "result", "ignore_errors": True}
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [call, {**result, "check_mode": False, "diff": False}],
        }
        path = self.folder / "play.yml"
        path.write_text(yaml.safe_dump([play]))
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path), *arguments]
        done = subprocess.run([*prefix, *command], cwd=ROOT, capture_output=True, text=True, check=False, env=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def result(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return document

    def playbook(self, name: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """One of our playbooks that need no inventory."""
        given = {"charts_lock_file": str(self.lock), "charts_helm_binary": self.helm, **variables}
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{name}.yml", "-e", json.dumps(given)]
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=self.environment)


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Site]:
    """An empty chart repository that speaks TLS; every request is noted."""
    (tmp_path / "served").mkdir()
    authority = Authority(tmp_path / "pki")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server", "localhost", server=True))
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *arguments: Any) -> None:
            asked.append(str(arguments[0]))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "served")))
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(tmp_path, f"https://127.0.0.1:{server.server_port}", program("helm"), authority.path, asked)
    server.shutdown()
    thread.join()
    server.server_close()
