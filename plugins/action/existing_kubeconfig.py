# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: leaves the kubeconfig of a cluster that exists where the platform expects it, if the cluster lets us in."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._kubeconfig import merge, minify

ARGUMENTS = {
    "source": {"type": "str", "required": True},
    "context": {"type": "str", "default": ""},
    "dest": {"type": "path", "required": True},
    "programs": {"type": "list", "elements": "str", "default": []},
    "programs_dir": {"type": "path"},
}


class ActionModule(ActionBase):
    """Reads, asks the cluster, writes."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        try:
            links = wanted_links(arguments["programs"], arguments["programs_dir"])
            done = provide(arguments["source"], arguments["context"], arguments["dest"], check_mode=bool(self._task.check_mode))
            if not self._task.check_mode:
                link(links)
            return {**result, **done, "changed": done["changed"] or bool(links)}
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}


def provide(source: str, context: str, dest: str, check_mode: bool) -> dict[str, Any]:
    """Write the context's own kubeconfig, if that differs from what is there."""
    from ansible_collections.dcm.platform.plugins.module_utils._guard_kube import Cluster
    from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeError

    wanted = minify(read(source), context, source)
    text = yaml.safe_dump(wanted, sort_keys=False)
    target = Path(dest)
    current = target.read_text(encoding="utf-8") if target.exists() else None
    same = current == text and target.stat().st_mode & 0o777 == 0o600
    server, name = wanted["clusters"][0]["cluster"].get("server", "no server"), wanted["current-context"]
    candidate = scratch(text)
    try:
        uid = Cluster(str(candidate), "").uid()
    except KubeError as error:
        raise PlatformError(f"the cluster of context '{name}' in {source} ({server}) does not let us in: {error}") from error
    finally:
        candidate.unlink()
    if not same and not check_mode:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch(text, target.parent).replace(target)
    return {"changed": not same, "dest": dest, "context": name, "server": server, "cluster_uid": uid}


def wanted_links(programs: list[str], folder: str | None) -> dict[Path, str]:
    """Links that are missing or lead elsewhere: the programs of the search path, where the other roles expect them."""
    found = {name: shutil.which(name) for name in programs}
    missing = [name for name, path in found.items() if not path]
    if missing:
        raise PlatformError(f"{' and '.join(missing)} not found in PATH ({os.environ.get('PATH', '')}): install what is missing")
    links = {Path(folder or ".") / name: str(path) for name, path in found.items()}
    return {link: path for link, path in links.items() if not link.is_symlink() or str(link.readlink()) != path}


def link(links: dict[Path, str]) -> None:
    for place, path in links.items():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(path)


def read(source: str) -> dict[str, Any]:
    """Read one kubeconfig, or several that are merged."""
    paths = [Path(part).expanduser() for part in source.split(os.pathsep) if part]
    there = [path for path in paths if path.is_file()]
    if not there:
        raise PlatformError(f"there is no kubeconfig at {source}: set existing_cluster_source, or KUBECONFIG")
    try:
        return merge({str(path): yaml.safe_load(path.read_text(encoding="utf-8")) for path in there})
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"kubeconfig {source} cannot be read: {' '.join(str(error).split())[:300]}") from error


def scratch(text: str, folder: Path | None = None) -> Path:
    """Write a new file that only its owner reads."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".kubeconfig-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
