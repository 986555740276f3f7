# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Vault beside one Kubernetes API for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._vault_seal import Handing
from ansible_collections.dcm.platform.plugins.module_utils._vault_server import Outcome, Server

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401
from tests.support.vault import VaultServer


def bring_up(server: VaultServer, handing: Handing, *, dry: bool = False, given: tuple[str, ...] = ()) -> Outcome:
    """What the role does after the chart."""
    shares = str(server.folder / "out" / "shares.json")
    return Server(server.place, "", 1, handing, shares, 300.0, dry).converge(given)


def developer(server: VaultServer) -> Handing:
    return Handing(key_file=str(server.folder / "out" / "unseal.json"))


@pytest.fixture(scope="module")
def vault(kube_api: KubeApi, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[VaultServer]:  # noqa: F811
    """Running, not initialised."""
    name = request.module.__name__.rsplit(".", 1)[-1].replace("_", "-")
    server = VaultServer(tmp_path_factory.mktemp("vault"), kube_api, name)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def open_vault(vault: VaultServer) -> VaultServer:
    """Initialised and unsealed, with the key in a file."""
    bring_up(vault, developer(vault))
    return vault
