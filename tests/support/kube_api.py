# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Kubernetes API for tests: etcd, kube-apiserver and kube-controller-manager on free local ports.

There is no node, so pods never run; everything else (admission, RBAC, garbage collection, server-side apply) is the real thing.
The programs come from the directory that the environment variable DCM_TEST_KUBE_BIN names (multi-call links or plain binaries).

    with KubeApi(tmp_path) as api:
        run(["kubectl", "--kubeconfig", api.kubeconfig, "get", "namespaces"])
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.client
import ipaddress
import os
import pathlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
SERVICE_RANGE = "10.253.0.0/24"


def kube_bin() -> pathlib.Path:
    """The directory with the Kubernetes programs, or an error that says how to get one."""
    folder = os.environ.get("DCM_TEST_KUBE_BIN", "")
    missing = [name for name in PROGRAMS if not folder or not os.access(pathlib.Path(folder, name), os.X_OK)]
    if missing:
        raise RuntimeError(
            f"DCM_TEST_KUBE_BIN={folder!r} does not hold {', '.join(missing)}. "
            "Point it at a folder with the programs of the embedded cluster (they are built by `make up`)."
        )
    return pathlib.Path(folder)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now; all are held open together so that they differ."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in held:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in held]


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dcm-test-ca")])
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.path = self._store("ca", self._key, self._certificate)[0]

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _store(self, stem: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> tuple[pathlib.Path, pathlib.Path]:
        cert_path, key_path = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(key_path, key)
        return cert_path, key_path

    def issue(self, stem: str, common_name: str, group: str = "", server: bool = False) -> tuple[pathlib.Path, pathlib.Path]:
        """Issue a client certificate, or a server certificate for 127.0.0.1; returns the certificate's and the key's path."""
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(x509.Name(attributes), key.public_key()).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return self._store(stem, key, builder.sign(self._key, hashes.SHA256()))


def write_key(path: pathlib.Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )


class KubeApi:
    """One API server with its etcd and controllers; a context manager."""

    def __init__(self, folder: pathlib.Path, controllers: str = "*") -> None:
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bin = kube_bin()
        self.controllers = controllers
        self.kubeconfig = self.folder / "kubeconfig"
        self.url = ""
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the three programs and wait until the API is ready."""
        self.authority = Authority(self.folder / "pki")
        etcd_client, etcd_peer, port = free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        self.client_certificate = self.authority.issue("admin", "dcm-test-admin", "system:masters")
        self._write_kubeconfig()
        self._start_etcd(etcd_client, etcd_peer)
        self._start_api_server(port, etcd_client)
        self._wait_ready(port)
        self._start_controllers()

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.bin / program), *arguments], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        self._processes.append((program, process))

    def _start_etcd(self, client: int, peer: int) -> None:
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )

    def _start_api_server(self, port: int, etcd: int) -> None:
        server_cert, server_key = self.authority.issue("server", "kube-apiserver", server=True)
        self.account_key = self.folder / "pki" / "service-account.key"
        write_key(self.account_key, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        self._spawn(
            "kube-apiserver",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={port}",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=RBAC",
            f"--client-ca-file={self.authority.path}",
            f"--tls-cert-file={server_cert}",
            f"--tls-private-key-file={server_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.account_key}",
            f"--service-account-signing-key-file={self.account_key}",
        )

    def _start_controllers(self) -> None:
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.account_key}",
            f"--root-ca-file={self.authority.path}",
            f"--controllers={self.controllers}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            "--secure-port=0",
        )

    def _wait_ready(self, port: int, bound: float = 60.0) -> None:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(*map(str, self.client_certificate))
        end = time.monotonic() + bound
        while time.monotonic() < end:
            for program, process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{program} ended with status {process.returncode}:\n{self.log_tail(program)}")
            try:
                connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                connection.close()
            time.sleep(0.2)
        raise RuntimeError(f"the API server was not ready within {bound:.0f} s:\n{self.log_tail('kube-apiserver')}")

    def log_tail(self, program: str, lines: int = 15) -> str:
        """The last lines that a program logged."""
        return "\n".join((self.folder / f"{program}.log").read_text(errors="replace").splitlines()[-lines:])

    def _write_kubeconfig(self) -> None:
        certificate, key = self.client_certificate
        self.write_kubeconfig(
            self.kubeconfig,
            {
                "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
                "client-key-data": base64.b64encode(key.read_bytes()).decode(),
            },
        )

    def write_kubeconfig(self, path: pathlib.Path, user: dict[str, object]) -> pathlib.Path:
        """Write a kubeconfig for this API with the given way to authenticate."""
        cluster = {"server": self.url, "certificate-authority-data": base64.b64encode(self.authority.path.read_bytes()).decode()}
        path.touch(mode=0o600)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it printed."""
        command = [str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def stop(self) -> None:
        """Stop the programs, last started first."""
        while self._processes:
            _program, process = self._processes.pop()
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def kube_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    """A real API server for the whole test session; each test uses namespaces of its own."""
    with KubeApi(tmp_path_factory.mktemp("kube-api")) as api:
        yield api
