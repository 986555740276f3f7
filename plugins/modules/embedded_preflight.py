#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the machine before anything on it is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: embedded_preflight
short_description: Name everything that keeps this machine from carrying an embedded cluster
version_added: 0.1.0
description:
  - Looks at rights, kernel, control groups, memory, disk, networks and commands, changes nothing, and fails with one message that
    names all that is missing and what to do about it.
options:
  name:
    description: Name of the instance.
    type: str
    required: true
  index:
    description: Number of the instance.
    type: int
    required: true
  link:
    description: Name of the instance's own network link, whose routes do not count as taken.
    type: str
    required: true
  pid_file:
    description: Process id file of the instance. While it runs, memory, disk and networks are not asked for again.
    type: path
    required: true
  packages:
    description: Debian package by the command (or absolute path) that shows that it is installed.
    type: dict
    required: true
  install_packages:
    description: Whether missing packages will be installed, and so are no obstacle.
    type: bool
    default: true
  memory_minimum:
    description: Memory that must be available, in MiB.
    type: int
    required: true
  disk_minimum:
    description: Disk that must be free below each of O(folders), in MiB.
    type: int
    required: true
  folders:
    description: Folders that will grow. They need not exist yet.
    type: list
    elements: path
    required: true
  networks:
    description: Networks (CIDR) that the instance will use.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Changes nothing in either mode.
    support: full
  diff_mode:
    description: Nothing to show.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Look at the machine
  dcm.platform.embedded_preflight:
    name: local
    index: 0
    link: dcm0
    pid_file: /run/dcm/local/node.pid
    packages: {nft: nftables}
    memory_minimum: 3072
    disk_minimum: 12288
    folders: [/var/lib/dcm/local]
    networks: [10.254.0.0/24]
"""

RETURN = r"""
packages:
  description: Debian packages that have to be installed.
  returned: success
  type: list
  elements: str
  sample: [nftables]
running:
  description: Whether the instance runs.
  returned: success
  type: bool
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils._preflight import Facts, Wants, problems

# Tried in a network namespace that ends with the command, so that the machine stays as it is.
_KERNEL_TRIALS = {
    "veth links": ("ip", "ip link add name try0 type veth peer name try1"),
    "nftables rules": ("nft", "echo 'table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }' | nft -f -"),
}


def is_running(pid_file: Path) -> bool:
    """Whether the process that a file names is alive."""
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def controllers() -> frozenset[str]:
    """Control group controllers that can be used, of either version."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return frozenset(unified.read_text().split())
    return frozenset(path.name for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir())


def missing_commands(packages: dict[str, str]) -> frozenset[str]:
    """Commands and absolute paths that are not there."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return frozenset(c for c in packages if not (Path(c).exists() if c.startswith("/") else shutil.which(c, path=search)))


def missing_kernel(missing: frozenset[str]) -> dict[str, str]:
    """What the kernel refuses to make; a thing whose tool is not installed yet cannot be tried."""
    found: dict[str, str] = {}
    unshare = shutil.which("unshare")
    if os.geteuid() or not unshare:
        return found
    for what, (tool, script) in _KERNEL_TRIALS.items():
        if tool in missing:
            continue
        trial = subprocess.run([unshare, "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
        if trial.returncode:
            found[what] = trial.stderr.strip() or f"exit {trial.returncode}"
    return found


def available_memory() -> int:
    """Memory that can be had without swapping, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) // 1024


def free_disk(folder: str) -> int:
    """Free disk at the nearest folder that exists, in MiB."""
    path = Path(folder)
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 2**20


def routes() -> dict[str, str]:
    """Routed networks and their links; the default route takes nothing away."""
    ip = shutil.which("ip")
    if not ip:
        return {}
    table = json.loads(subprocess.run([ip, "-json", "-4", "route"], capture_output=True, text=True, check=True).stdout or "[]")
    return {route["dst"]: route.get("dev", "?") for route in table if route["dst"] != "default"}


ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "index": {"type": "int", "required": True},
    "link": {"type": "str", "required": True},
    "pid_file": {"type": "path", "required": True},
    "packages": {"type": "dict", "required": True},
    "install_packages": {"type": "bool", "default": True},
    "memory_minimum": {"type": "int", "required": True},
    "disk_minimum": {"type": "int", "required": True},
    "folders": {"type": "list", "elements": "path", "required": True},
    "networks": {"type": "list", "elements": "str", "required": True},
}


def gather(params: dict[str, Any]) -> Facts:
    """Look at the machine."""
    missing = missing_commands(params["packages"])
    return Facts(
        uid=os.geteuid(),
        filesystems=frozenset(line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()),
        controllers=controllers(),
        missing_kernel=missing_kernel(missing),
        missing_commands=missing,
        memory_mib=available_memory(),
        disk_mib={folder: free_disk(folder) for folder in params["folders"]},
        routes=routes(),
        installable=shutil.which("apt-get") is not None,
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    running = is_running(Path(params["pid_file"]))
    wants = Wants(
        name=params["name"],
        index=params["index"],
        link=params["link"],
        packages=params["packages"],
        memory_mib=params["memory_minimum"],
        disk_mib=params["disk_minimum"],
        networks=params["networks"],
        install_packages=params["install_packages"],
        running=running,
    )
    facts = gather(params)
    if found := problems(facts, wants):
        module.fail_json(msg="This machine cannot carry the embedded cluster yet; nothing was changed:\n- " + "\n- ".join(found))
    module.exit_json(changed=False, packages=sorted({params["packages"][command] for command in facts.missing_commands}), running=running)


if __name__ == "__main__":
    main()
