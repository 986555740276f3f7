# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a kubeconfig to a TLS context and a token: client certificates, tokens, token files and exec plugins."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import load_yaml

Json = dict[str, Any]


@dataclass(frozen=True)
class Login:
    """One context of a kubeconfig."""

    path: str
    server: str
    cluster: Json
    user: Json
    folder: Path


def read_kubeconfig(path: str, context: str = "") -> Login:
    """Pick a context of a kubeconfig file."""
    try:
        documents = load_yaml(Path(path).read_bytes())
    except OSError as error:
        raise PlatformError(
            f"kubeconfig {path} cannot be read: {error.strerror}. Set kubeconfig (platform_kubeconfig) to a readable file."
        ) from error
    config: Json = documents[0] if documents and isinstance(documents[0], dict) else {}
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", name, path).get("context") or {}
    cluster = _named(config, "clusters", str(chosen.get("cluster", "")), path).get("cluster") or {}
    user = _named(config, "users", str(chosen.get("user", "")), path).get("user") or {} if chosen.get("user") else {}
    return Login(path, str(cluster.get("server", "")), cluster, user, Path(path).absolute().parent)


def _named(config: Json, section: str, name: str, path: str) -> Json:
    entries: list[Json] = config.get(section) or []
    for entry in entries:
        if entry.get("name") == name:
            return entry
    known = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    raise PlatformError(
        f"kubeconfig {path}: {section} has no {name!r} (there: {known}). Set context (platform_kube_context) to one of them."
    )


def authenticate(login: Login) -> tuple[ssl.SSLContext, str]:
    """The TLS context and the token with which the API server is spoken to."""
    try:
        user = {**login.user, **(_exec_credential(login, login.user["exec"]) if "exec" in login.user else {})}
        return _tls_context(login, user), _read_token(login, user)
    except (OSError, ValueError) as error:
        raise PlatformError(
            f"kubeconfig {login.path}: its certificates or token cannot be used: {error}. Write a new kubeconfig."
        ) from error


def _tls_context(login: Login, user: Json) -> ssl.SSLContext:
    authority = login.cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=_path(login, login.cluster.get("certificate-authority")), cadata=base64.b64decode(authority).decode() if authority else None
    )
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the API's own clients do not ask for it; old clusters' CAs fail it
    if login.cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _as_file(login, user, "client-certificate") as certificate, _as_file(login, user, "client-key") as key:
        if certificate:
            context.load_cert_chain(certificate, key)
    return context


def _path(login: Login, name: str | None) -> str | None:
    return str(login.folder / Path(name).expanduser()) if name else None


def _read_token(login: Login, user: Json) -> str:
    if user.get("tokenFile"):
        return Path(str(_path(login, user["tokenFile"]))).read_text(encoding="utf-8").strip()
    return str(user.get("token") or "")


@contextlib.contextmanager
def _as_file(login: Login, user: Json, name: str) -> Iterator[str | None]:
    """A PEM file: the TLS library reads keys from files only. Embedded ones get a file that only we can read, and that is removed."""
    if not user.get(f"{name}-data"):
        yield _path(login, user.get(name))
        return
    descriptor, path = tempfile.mkstemp(prefix="kube-login-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.b64decode(user[f"{name}-data"]))
        yield path
    finally:
        Path(path).unlink()


def _exec_credential(login: Login, plugin: Json) -> Json:
    """What a client-go credential plugin adds to the user, run as kubectl runs it."""
    command = str(plugin.get("command"))
    command = str(_path(login, command)) if "/" in command else command
    arguments = [command, *map(str, plugin.get("args") or [])]
    environment = {**os.environ, **{item["name"]: item["value"] for item in plugin.get("env") or []}}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(_exec_question(login, plugin))
    try:
        done = subprocess.run(arguments, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=True, timeout=60)
        status: Json = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        detail = (getattr(error, "stderr", None) or str(error).encode()).decode(errors="replace").strip()[-400:]
        hint = str(plugin.get("installHint") or "Run it by hand; perhaps you have to log in again.")
        raise PlatformError(f"kubeconfig {login.path}: the credential plugin {command!r} failed: {detail}. {hint}") from error
    pairs = (("client-certificate", "clientCertificateData"), ("client-key", "clientKeyData"))
    encoded = {f"{target}-data": base64.b64encode(status[source].encode()).decode() for target, source in pairs if status.get(source)}
    return {**encoded, **({"token": status["token"]} if status.get("token") else {})}


def _exec_question(login: Login, plugin: Json) -> Json:
    spec: Json = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {"server": login.server, "certificate-authority-data": login.cluster.get("certificate-authority-data", "")}
    return {"apiVersion": plugin.get("apiVersion") or "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": spec}
