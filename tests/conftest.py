# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all tests share. The clone is importable as ansible_collections.dcm.platform through `pythonpath` in pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> None:
    """An Ansible or Kubernetes setting of the person who runs the tests must not change what they test."""
    for name in list(os.environ):
        if name.startswith(("ANSIBLE_", "K8S_AUTH_", "PG")) or name == "KUBECONFIG":
            del os.environ[name]
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
