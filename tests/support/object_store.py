# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An S3-compatible store over TLS on the loopback: moto's server, and in front of it a certificate of an authority of its own.

moto's own TLS ends connections without saying so, which pgBackRest takes for an attack.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SECONDS = 60


@dataclass(frozen=True)
class ObjectStore:
    """Where it listens, who signed its certificate, and a way to look inside."""

    port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        requests.put(f"{self.url}/{name}", verify=str(self.authority), timeout=10).raise_for_status()

    def holds(self, name: str) -> str:
        answer = requests.get(f"{self.url}/{name}?list-type=2", verify=str(self.authority), timeout=10)
        answer.raise_for_status()
        return answer.text


def _certify(folder: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, for the loopback address; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "object store of a test")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "ca.crt", folder / "store.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*pem))
    return paths


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Front:
    """Ends TLS and hands on what comes, until it is closed."""

    def __init__(self, certificate: Path, key: Path, behind: int) -> None:
        self.behind, self.port = behind, _free_port()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate, key)
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),), daemon=True)
        self.thread.start()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._client, "127.0.0.1", self.port, ssl=self.context):
            await self.stop.wait()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.behind)
            upload = asyncio.ensure_future(self._pump(reader, back_writer))
            await self._pump(back_reader, writer)
            upload.cancel()
            back_writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
            target.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[ObjectStore]:
    """For the length of a with block; what is stored is kept in memory."""
    certificate, key = _certify(folder)
    behind = _free_port()
    program = str(Path(sys.executable).parent / "moto_server")
    with (
        (folder / "store.log").open("wb") as log,
        subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(behind)], stdout=log, stderr=log) as server,
    ):
        front = _Front(certificate, key, behind)
        try:
            store = ObjectStore(front.port, certificate)
            _wait(store, server)
            yield store
        finally:
            front.close()
            server.terminate()


def _wait(store: ObjectStore, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while True:
        assert server.poll() is None, "the object store ended"
        try:
            requests.get(store.url, verify=str(store.authority), timeout=5)
            return
        except (requests.ConnectionError, requests.Timeout):
            assert time.monotonic() < end, "the object store does not answer"
            time.sleep(0.2)
