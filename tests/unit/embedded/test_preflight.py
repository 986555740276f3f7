# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said of a machine, and that all of it is said at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._preflight import Facts, Wants, problems

GOOD = Facts(
    filesystems=frozenset({"overlay", "ext4"}),
    controllers=frozenset({"cpu", "memory", "pids", "cpuset", "io"}),
    memory_mib=8192,
    disk_mib={"/var/lib": 50_000},
    routes={"192.0.2.0/24": "eth0", "10.254.3.0/24": "dcm3"},
    installable=True,
)
WANTS = Wants(
    name="local",
    index=0,
    link="dcm0",
    packages={"nft": "nftables", "runc": "runc"},
    memory_mib=3072,
    disk_mib=12_288,
    networks=["10.254.0.0/24", "10.252.0.0/24"],
    install_packages=True,
    running=False,
)


def test_a_good_machine_has_no_problem() -> None:
    assert problems(GOOD, WANTS) == []


@pytest.mark.parametrize(
    ("facts", "wants", "says"),
    [
        ({"uid": 1000}, {}, "needs root, runs as uid 1000"),
        ({"filesystems": frozenset({"ext4"})}, {}, "no overlay file system"),
        ({"controllers": frozenset({"cpu", "cpuset", "pids"})}, {}, "controllers missing: memory"),
        ({"missing_kernel": {"veth links": "Operation not supported"}}, {}, "cannot make veth links: Operation not supported"),
        ({"missing_commands": frozenset({"nft"})}, {"install_packages": False}, "apt-get install nftables"),
        ({"missing_commands": frozenset({"runc"}), "installable": False}, {}, "not installed: runc"),
        ({"memory_mib": 100}, {}, "memory: 100 MiB available, 3072 wanted"),
        ({"disk_mib": {"/var/lib": 7}}, {}, "disk: 7 MiB free at /var/lib, 12288 wanted"),
        ({"routes": {"10.252.0.0/16": "tun0"}}, {}, "network 10.252.0.0/24 is routed to tun0"),
        ({}, {"index": 251}, "embedded_cluster_index is 251"),
        ({}, {"name": "Local_1"}, "embedded_cluster_name is 'Local_1'"),
        ({}, {"name": "a" * 33}, "at most 32 characters"),
    ],
)
def test_each_lack_is_named(facts: dict[str, object], wants: dict[str, object], says: str) -> None:
    (found,) = problems(replace(GOOD, **facts), replace(WANTS, **wants))  # type: ignore[arg-type]
    assert says in found


def test_all_lacks_are_named_together() -> None:
    assert len(problems(replace(GOOD, uid=1000, memory_mib=1, filesystems=frozenset()), WANTS)) == 3


def test_what_will_be_installed_is_no_lack() -> None:
    assert problems(replace(GOOD, missing_commands=frozenset({"nft", "runc"})), WANTS) == []


def test_a_running_instance_has_its_memory_and_networks() -> None:
    taken = replace(GOOD, memory_mib=10, disk_mib={"/": 1}, routes={"10.252.0.0/24": "dcm0"})
    assert problems(taken, replace(WANTS, running=True)) == []


def test_own_routes_are_not_taken_by_another() -> None:
    assert problems(replace(GOOD, routes={"10.252.0.0/24": "dcm0"}), WANTS) == []
