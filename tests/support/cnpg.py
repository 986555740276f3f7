# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the Go modules of CloudNativePG carry beside their code: definitions of their kinds, and the manifest of the operator's release."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

MODULE = Path(__file__).resolve().parents[2] / "embedded" / "cnpg"
OPERATOR, PLUGIN = "github.com/cloudnative-pg/cloudnative-pg", "github.com/cloudnative-pg/plugin-barman-cloud"


@functools.cache
def folder(module: str) -> Path:
    """The unpacked module, in the version that go.mod locks; downloaded where it is missing."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    done = subprocess.run([go, "mod", "download", "-json", module], cwd=MODULE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} cannot be had: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def definitions() -> list[dict[str, Any]]:
    """CustomResourceDefinitions of operator and plugin."""
    paths = [path for module in (OPERATOR, PLUGIN) for path in sorted((folder(module) / "config" / "crd" / "bases").glob("*.yaml"))]
    return [document for path in paths for document in yaml.safe_load_all(path.read_text()) if document]


def release() -> list[dict[str, Any]]:
    """Everything that installs the operator, as its authors publish it."""
    version = folder(OPERATOR).name.partition("@v")[2]
    text = (folder(OPERATOR) / "releases" / f"cnpg-{version}.yaml").read_text()
    return [document for document in yaml.safe_load_all(text) if document]
