# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a machine can carry an embedded cluster: judged from facts, so that every lack is named at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    """What was found on the machine."""

    uid: int = 0
    filesystems: frozenset[str] = frozenset()
    controllers: frozenset[str] = frozenset()
    missing_kernel: Mapping[str, str] = field(default_factory=dict)
    missing_commands: frozenset[str] = frozenset()
    memory_mib: int = 0
    disk_mib: Mapping[str, int] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    installable: bool = False


@dataclass(frozen=True)
class Wants:
    """What the cluster needs."""

    name: str
    index: int
    link: str
    packages: Mapping[str, str]
    memory_mib: int
    disk_mib: int
    networks: Sequence[str]
    install_packages: bool
    running: bool


_CONTROLLERS = {"cpu", "memory", "pids", "cpuset"}
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def problems(facts: Facts, wants: Wants) -> list[str]:
    """Everything that stands in the way, each with what to do about it."""
    found = _wrong_inputs(wants)
    if facts.uid != 0:
        found.append(f"needs root, runs as uid {facts.uid}: run it with sudo, or use platform_cluster_provider=existing")
    if "overlay" not in facts.filesystems:
        found.append("the kernel has no overlay file system: modprobe overlay")
    if lacking := sorted(_CONTROLLERS - facts.controllers):
        found.append(f"control group controllers missing: {', '.join(lacking)}; mount them, or boot with cgroup_enable={','.join(lacking)}")
    found += [f"the kernel cannot make {what}: {why}" for what, why in facts.missing_kernel.items()]
    if facts.missing_commands and not (wants.install_packages and facts.installable):
        packages = sorted({wants.packages[command] for command in facts.missing_commands})
        found.append(f"not installed: {', '.join(sorted(facts.missing_commands))}; run: apt-get install {' '.join(packages)}")
    if not wants.running:
        found += _lacking_room(facts, wants)
        found += _taken_networks(facts, wants)
    return found


def _wrong_inputs(wants: Wants) -> list[str]:
    found = []
    if not 0 <= wants.index <= 250:
        found.append(f"embedded_cluster_index is {wants.index}, but has to be from 0 to 250")
    if not _NAME.fullmatch(wants.name):
        found.append(f"embedded_cluster_name is {wants.name!r}, but has to be a DNS label of at most 32 characters (a-z, 0-9, -)")
    return found


def _lacking_room(facts: Facts, wants: Wants) -> list[str]:
    found = []
    if facts.memory_mib < wants.memory_mib:
        lack = f"{facts.memory_mib} MiB available, {wants.memory_mib} wanted"
        found.append(f"memory: {lack} (embedded_cluster_memory_minimum); end other programs")
    for folder, free in facts.disk_mib.items():
        if free < wants.disk_mib:
            lack = f"{free} MiB free at {folder}, {wants.disk_mib} wanted"
            found.append(f"disk: {lack} (embedded_cluster_disk_minimum); free some, or move the folder")
    return found


def _taken_networks(facts: Facts, wants: Wants) -> list[str]:
    found = []
    for network in map(ipaddress.ip_network, wants.networks):
        for route, device in facts.routes.items():
            if device != wants.link and network.overlaps(ipaddress.ip_network(route, strict=False)):
                found.append(f"network {network} is routed to {device} ({route}): choose another embedded_cluster_index than {wants.index}")
    return found
