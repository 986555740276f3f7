# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Network policies on an instance, by real traffic: every pod tries every port of every pod, and exactly what a policy allows passes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from .conftest import SETTINGS, SITE, STATE, Instance, eventually

ENFORCER = "network-policy-enforcer"
NETNS = f"dcm-{SITE}"
TABLE = ["ip", "dcm_network_policy"]
# Pods by name: namespace, label app, and the number of the port that is called "web".
PODS = {
    "server": ("np-red", "server", 8080),
    "friend": ("np-red", "client", 8080),
    "client": ("np-blue", "client", 8080),
    "other": ("np-blue", "other", 8081),
}
PORTS = [("tcp", 8080), ("tcp", 8081), ("tcp", 8090), ("udp", 9000)]

# Answers on every port; the name of the pod is the answer.
SERVER = """
import os, socket, threading
def tcp(port):
    listener = socket.create_server(("", port))
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=talk, args=(peer,), daemon=True).start()
def talk(peer):
    with peer:
        while data := peer.recv(100):
            peer.sendall(data)
def udp(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    while True:
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
for kind, port in PORTS:
    threading.Thread(target={"tcp": tcp, "udp": udp}[kind], args=(port,)).start()
""".replace("PORTS", json.dumps(PORTS))

# Tries each of the flows that it is given, and prints those that got an answer.
CLIENT = """
import concurrent.futures, json, socket, sys
def attempt(flow):
    host, kind, port = flow
    for _ in range(1 if kind == "tcp" else 2):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as own:
            own.settimeout(1)
            try:
                own.connect((host, port))
                own.send(b"x")
                if own.recv(10) == b"x":
                    return True
            except OSError:
                pass
    return False
flows = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(attempt, flows))))
"""


class Flow(NamedTuple):
    """A connection that somebody tries."""

    source: str
    target: str
    kind: str
    port: int


ALL = {Flow(source, target, kind, port) for source in PODS for target in PODS for kind, port in PORTS}
Allowed = Callable[[Flow], bool]


def everything(_flow: Flow) -> bool:
    return True


def red(name: str) -> bool:
    return PODS[name][0] == "np-red"


def selector(app: str) -> dict[str, Any]:
    return {"matchLabels": {"app": app}}


def policy(name: str, namespace: str = "np-red", app: str = "", **spec: Any) -> dict[str, Any]:
    """A policy for the pods of an app, or for all of the namespace; it acts in the directions that it has rules for."""
    types = [kind.capitalize() for kind in ("ingress", "egress") if kind in spec]
    body = {"podSelector": selector(app) if app else {}, "policyTypes": types, **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def deny(namespace: str = "np-red") -> dict[str, Any]:
    return policy("default-deny", namespace, ingress=[], egress=[])


def port(number: int | str, protocol: str = "TCP", **more: int) -> dict[str, Any]:
    return {"port": number, "protocol": protocol, **more}


class World:
    """An instance with the pods."""

    def __init__(self, instance: Instance, image: str) -> None:
        self.instance, self.image = instance, image
        self.addresses: dict[str, str] = {}

    def apply(self, *objects: dict[str, Any]) -> None:
        for thing in objects:
            self.kubectl("apply", "-f", "-", stdin=json.dumps(thing))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", "--request-timeout=60s", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def start(self, name: str) -> None:
        """Make one of the pods; it is there when it is ready, by a probe of the node's."""
        namespace, app, web = PODS[name]
        ports = [{"name": "web", "containerPort": web}, {"name": "echo", "containerPort": 9000, "protocol": "UDP"}]
        probe = {"tcpSocket": {"port": 8090}, "periodSeconds": 1, "failureThreshold": 3}
        self.apply(self.pod(name, namespace, app, SERVER, ports=ports, readinessProbe=probe))
        self.kubectl("wait", f"--namespace={namespace}", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")
        self.addresses[name] = self.kubectl("get", f"--namespace={namespace}", "pod", name, "-o", "jsonpath={.status.podIP}")

    def pod(self, name: str, namespace: str, app: str, script: str, **container: Any) -> dict[str, Any]:
        main = {"name": "main", "image": self.image, "command": ["/usr/bin/python3", "-c", script], **container}
        spec = {"containers": [main], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}}, "spec": spec}

    def tries(self, source: str, flows: list[tuple[str, str, int]]) -> list[bool]:
        """Which of (address, protocol, port) answer to a pod."""
        command = ["exec", f"--namespace={PODS[source][0]}", source, "--", "/usr/bin/python3", "-c", CLIENT, json.dumps(flows)]
        answers: list[bool] = json.loads(self.kubectl(*command))
        return answers

    def passing(self) -> set[Flow]:
        """All flows that pass."""

        def of(source: str) -> set[Flow]:
            mine = sorted(flow for flow in ALL if flow.source == source)
            answers = self.tries(source, [(self.addresses[flow.target], flow.kind, flow.port) for flow in mine])
            return {flow for flow, answer in zip(mine, answers, strict=True) if answer}

        with ThreadPoolExecutor(len(PODS)) as pool:
            return set().union(*pool.map(of, PODS))

    def assert_exactly(self, allowed: Allowed) -> None:
        """What passes is what is allowed; a policy has a moment to come into force."""
        wanted = {flow for flow in ALL if flow.source == flow.target or allowed(flow)}
        found: set[Flow] = set()
        for _attempt in range(3):
            found = self.passing()
            if found == wanted:
                return
            time.sleep(0.5)
        assert (sorted(found - wanted), sorted(wanted - found)) == ([], []), "(too much, too little)"

    def supervisor(self, *arguments: str) -> None:
        control = Path(sys.executable).parent / "supervisorctl"
        subprocess.run([control, "-c", STATE / "config/supervisor.conf", *arguments], check=True, capture_output=True)

    def nft(self, *arguments: str) -> str:
        command = ["ip", "netns", "exec", NETNS, "nft", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The pods on an instance with an image that has Python."""
    instance = Instance(tmp_path_factory.mktemp("netpol"))
    instance.converge(embedded_cluster_state="absent")
    instance.converge(embedded_cluster_images=[*SETTINGS["embedded_cluster_images"], "service"])
    ctr = [str(STATE / "bin/ctr"), "--address", f"/run/dcm/{SITE}/containerd.sock", "--namespace", "k8s.io", "images", "ls", "-q"]
    names = subprocess.run(ctr, capture_output=True, text=True, check=True).stdout.split()
    made = World(instance, next(name for name in names if name.startswith("dcm.example/service:")))
    for namespace, team in (("np-red", "red"), ("np-blue", "blue")):
        made.kubectl("create", "namespace", namespace)
        made.kubectl("label", "namespace", namespace, f"team={team}")
    assert eventually(lambda: "default" in made.kubectl("get", "serviceaccounts", "-n", "np-blue", "-o", "name"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(made.start, PODS))
    yield made
    instance.converge(embedded_cluster_state="absent")


@pytest.fixture(autouse=True)
def no_policies(world: World) -> Iterator[None]:
    """Each test has its own."""
    yield
    for namespace in ("np-red", "np-blue"):
        world.kubectl("delete", "networkpolicy", "--all", f"--namespace={namespace}")


def test_without_policies_everything_passes(world: World) -> None:
    world.assert_exactly(everything)


def to_server(flow: Flow) -> bool:
    return flow.target == "server"


CLIENTS = {"podSelector": selector("client")}
BLUE = {"namespaceSelector": {"matchLabels": {"team": "blue"}}}
ANYWHERE: dict[str, Any] = {"namespaceSelector": {}}
BLUE_CLIENT = BLUE | CLIENTS
NOT_OTHER = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["other"]}]}}

# By name: the policies, and which flows they let through.
CASES: dict[str, tuple[list[dict[str, Any]], Allowed]] = {
    "nothing in or out of a namespace": ([deny()], lambda f: not red(f.source) and not red(f.target)),
    "nothing in": ([policy("p", ingress=[])], lambda f: not red(f.target)),
    "nothing out": ([policy("p", egress=[])], lambda f: not red(f.source)),
    "everything in": ([deny(), policy("p", ingress=[{}])], lambda f: not red(f.source)),
    "one port from pods of the own namespace": (
        [policy("p", app="server", ingress=[{"from": [CLIENTS], "ports": [port(8080)]}])],
        lambda f: not to_server(f) or (f.source == "friend" and f.port == 8080),
    ),
    "all pods of the own namespace": (
        [policy("p", app="server", ingress=[{"from": [{"podSelector": {}}]}])],
        lambda f: not to_server(f) or red(f.source),
    ),
    "all pods of another namespace": (
        [policy("p", app="server", ingress=[{"from": [BLUE]}])],
        lambda f: not to_server(f) or not red(f.source),
    ),
    "some pods of another namespace": (
        [policy("p", app="server", ingress=[{"from": [BLUE_CLIENT]}])],
        lambda f: not to_server(f) or f.source == "client",
    ),
    "either peer": (
        [policy("p", app="server", ingress=[{"from": [BLUE, CLIENTS]}])],
        everything,
    ),
    "pods by an expression, anywhere": (
        [policy("p", app="server", ingress=[{"from": [ANYWHERE | NOT_OTHER]}])],
        lambda f: not to_server(f) or f.source != "other",
    ),
    "one protocol": (
        [policy("p", app="server", ingress=[{"ports": [{"protocol": "UDP"}]}])],
        lambda f: not to_server(f) or f.kind == "udp",
    ),
    "a range of ports": (
        [policy("p", app="server", ingress=[{"ports": [port(8080, endPort=8081), port(9000, "UDP")]}])],
        lambda f: not to_server(f) or f.port != 8090,
    ),
    "overlapping ports": (
        [policy("p", app="server", ingress=[{"ports": [port(8080), port(8080, endPort=8085), port(8081)]}])],
        lambda f: not to_server(f) or f.port in (8080, 8081),
    ),
    "a port by name, into pods that number it differently": (
        [policy("p", "np-blue", ingress=[{"ports": [port("web"), port("echo", "UDP")]}])],
        lambda f: red(f.target) or f.kind == "udp" or f.port == PODS[f.target][2],
    ),
    "a port by name, out to pods that number it differently": (
        [policy("p", app="client", egress=[{"to": [ANYWHERE], "ports": [port("web")]}])],
        lambda f: f.source != "friend" or (f.kind, f.port) == ("tcp", PODS[f.target][2]),
    ),
    "out to some pods": (
        [policy("p", app="client", egress=[{"to": [BLUE_CLIENT], "ports": [port(8090)]}])],
        lambda f: f.source != "friend" or (f.target, f.port) == ("client", 8090),
    ),
    "two policies add up": (
        [
            policy("one", app="server", ingress=[{"from": [CLIENTS], "ports": [port(8080)]}]),
            policy("two", app="server", ingress=[{"from": [BLUE], "ports": [port(8081)]}, {"ports": [port(9000, "UDP")]}]),
        ],
        lambda f: not to_server(f) or f.kind == "udp" or f.port == (8080 if f.source == "friend" else 8081),
    ),
    "what may go out must be let in": (
        [policy("in", app="server", ingress=[{"from": [BLUE]}]), policy("out", app="client", egress=[{"ports": [port(8080)]}])],
        lambda f: (f.source != "friend" or f.port == 8080) and (not to_server(f) or not red(f.source)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_exactly_what_is_allowed_passes(world: World, name: str) -> None:
    policies, allowed = CASES[name]
    world.apply(*policies)
    world.assert_exactly(allowed)


def test_address_blocks_and_exceptions(world: World) -> None:
    network = "10.252.201.0/24"
    own = {name: f"{address}/32" for name, address in world.addresses.items()}
    world.apply(
        policy("in", app="server", ingress=[{"from": [{"ipBlock": {"cidr": network, "except": [own["other"]]}}]}]),
        policy("out", app="client", egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [own["other"], own["client"]]}}]}]),
        policy("out", "np-blue", app="client", egress=[{"to": [{"ipBlock": {"cidr": own["server"]}}], "ports": [port(8081)]}]),
    )
    world.assert_exactly(
        lambda f: (
            (not to_server(f) or f.source != "other")
            and (f.source != "friend" or f.target == "server")
            and (f.source != "client" or (to_server(f) and f.port == 8081))
        )
    )


def test_labels_that_change_count_at_once(world: World) -> None:
    world.apply(policy("p", app="server", ingress=[{"from": [BLUE]}]))
    world.assert_exactly(lambda f: not to_server(f) or not red(f.source))
    world.kubectl("label", "namespace", "np-blue", "team=green", "--overwrite")
    world.kubectl("label", "pod", "other", "-n", "np-blue", "app=server", "--overwrite")
    try:
        world.assert_exactly(lambda f: not to_server(f))
    finally:
        world.kubectl("label", "namespace", "np-blue", "team=blue", "--overwrite")
        world.kubectl("label", "pod", "other", "-n", "np-blue", "app=other", "--overwrite")


def test_a_service_leads_to_what_the_pod_allows(world: World) -> None:
    spec = {
        "selector": {"app": "server"},
        "ports": [{"name": "web", "port": 80, "targetPort": 8080}, {"name": "more", "port": 81, "targetPort": 8081}],
    }
    world.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": "np-red"}, "spec": spec})
    address = world.kubectl("get", "service", "-n", "np-red", "server", "-o", "jsonpath={.spec.clusterIP}")
    flows = [(address, "tcp", 80), (address, "tcp", 81)]
    assert eventually(lambda: world.tries("client", flows) == [True, True])
    world.apply(deny(), policy("p", app="server", ingress=[{"from": [BLUE], "ports": [port(8080)]}]))
    assert eventually(lambda: world.tries("client", flows) == [True, False])
    assert world.tries("friend", flows) == [False, False]
    assert world.tries("server", flows) == [True, True], "a pod reaches itself"


def test_the_api_server_is_reached_by_who_may(world: World) -> None:
    """Its ClusterIP leads to the node: policies see the node's address."""
    script = "import socket; socket.create_connection(('10.253.201.1', 443), timeout=2)"

    def reaches() -> bool:
        with contextlib.suppress(AssertionError):
            world.kubectl("exec", "-n", "np-red", "server", "--", "/usr/bin/python3", "-c", script)
            return True
        return False

    assert reaches()
    world.apply(deny())
    assert eventually(lambda: not reaches())
    world.apply(policy("api", app="server", egress=[{"to": [{"ipBlock": {"cidr": "10.254.201.1/32"}}], "ports": [port(6443)]}]))
    assert eventually(reaches)


def test_the_node_and_its_machine_reach_every_pod(world: World) -> None:
    world.apply(deny())
    world.assert_exactly(lambda f: not red(f.source) and not red(f.target))
    with socket.create_connection((world.addresses["server"], 8080), timeout=2):
        pass
    time.sleep(4)  # longer than three probes
    states = [pod["status"]["conditions"] for pod in world.instance.pods() if pod["metadata"]["namespace"] == "np-red"]
    assert all(item["status"] == "True" for conditions in states for item in conditions if item["type"] == "Ready")


def test_connections_that_are_there_go_on(world: World) -> None:
    script = (
        f"import socket\nown = socket.create_connection(('{world.addresses['server']}', 8080), timeout=2)\nprint('open', flush=True)\n"
        "input()\nown.sendall(b'x')\nassert own.recv(10) == b'x'\n"
    )
    command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", "exec", "-i", "-n", "np-blue", "client"]
    with subprocess.Popen([*command, "--", "/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == b"open\n"
        world.apply(deny())
        world.assert_exactly(lambda f: not red(f.source) and not red(f.target))
        old.communicate(b"\n", timeout=20)
    assert old.returncode == 0


def test_a_replaced_pod_is_known_at_once(world: World) -> None:
    """The new address is allowed with the pod's first packet, the old one is forgotten."""
    world.apply(deny(), policy("p", app="server", ingress=[{"from": [BLUE_CLIENT]}]))
    world.assert_exactly(lambda f: (not red(f.source) and not red(f.target)) or (f.source == "client" and to_server(f)))
    before = dict(world.addresses)
    for name in ("client", "server"):
        world.kubectl("delete", "pod", "-n", PODS[name][0], name)
        world.start(name)
        assert world.addresses[name] != before[name]
    assert world.tries("client", [(world.addresses["server"], "tcp", 8080)]) == [True]
    assert before["client"] not in world.nft("list", "table", *TABLE)


FIRST_SECONDS = """
import socket, time
end, answers = time.monotonic() + 4, []
while time.monotonic() < end:
    try:
        socket.create_connection(("{address}", 8080), timeout=0.3).close()
        answers.append(True)
    except OSError:
        answers.append(False)
    time.sleep(0.01)
print(answers[0], any(answers), len(answers))
"""


@pytest.mark.parametrize(("app", "says"), [("stranger", "False False"), ("client", "True True")])
def test_the_rules_are_there_before_the_first_packet(world: World, app: str, says: str) -> None:
    world.apply(deny(), policy("p", app="server", ingress=[{"from": [BLUE_CLIENT]}]))
    script = FIRST_SECONDS.format(address=world.addresses["server"])
    world.apply(world.pod(f"early-{app}", "np-blue", app, script))
    phase = ["get", "pod", "-n", "np-blue", f"early-{app}", "-o", "jsonpath={.status.phase}"]
    assert eventually(lambda: world.kubectl(*phase) == "Succeeded")
    assert world.kubectl("logs", "-n", "np-blue", f"early-{app}").startswith(says)
    world.kubectl("delete", "pod", "-n", "np-blue", f"early-{app}")


@contextlib.contextmanager
def besieged(world: World) -> Iterator[list[int]]:
    """A pod that tries what is forbidden all the time; afterwards how often it tried, and how often it succeeded."""
    script = (
        "import socket, sys, threading\nstop = threading.Event()\ncounts = [0, 0]\n"
        "def go():\n    while not stop.is_set():\n        own = socket.socket()\n        own.settimeout(0.2)\n        counts[0] += 1\n"
        f"        try:\n            own.connect(('{world.addresses['server']}', 8080))\n            counts[1] += 1\n"
        "        except OSError:\n            pass\n        own.close()\n"
        "threads = [threading.Thread(target=go) for _ in range(4)]\n[t.start() for t in threads]\nprint('on', flush=True)\n"
        "input()\nstop.set()\n[t.join() for t in threads]\nprint(*counts)\n"
    )
    command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", "exec", "-i", "-n", "np-blue", "other"]
    counts: list[int] = []
    with subprocess.Popen([*command, "--", "/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"on\n"
        yield counts
        output, _errors = attacker.communicate(b"\n", timeout=30)
    counts += [int(word) for word in output.split()]


def healthy() -> bool:
    try:
        return requests.get("http://10.254.201.1:10260/healthz", timeout=2).text == "ok\n"
    except requests.ConnectionError:
        return False


def test_a_killed_enforcer_comes_back_without_a_gap(world: World) -> None:
    world.apply(deny(), policy("p", app="server", ingress=[{"from": [BLUE_CLIENT]}]))
    allowed: Allowed = lambda f: (not red(f.source) and not red(f.target)) or (f.source == "client" and to_server(f))  # noqa: E731
    world.assert_exactly(allowed)
    with besieged(world) as counts:
        for _time in range(3):
            before = world.instance.pid(ENFORCER)
            os.kill(before, signal.SIGKILL)
            assert eventually(lambda before=before: world.instance.pid(ENFORCER) != before)  # type: ignore[misc]
            assert eventually(healthy)
    tried, succeeded = counts
    assert tried > 50
    assert succeeded == 0
    world.assert_exactly(allowed)


def test_without_the_enforcer_rules_stay_and_no_pod_starts(world: World) -> None:
    world.apply(deny())
    denied: Allowed = lambda f: not red(f.source) and not red(f.target)  # noqa: E731
    world.assert_exactly(denied)
    world.supervisor("stop", ENFORCER)
    try:
        world.kubectl("delete", "networkpolicy", "-n", "np-red", "default-deny")
        world.assert_exactly(denied)
        world.apply(world.pod("late", "np-blue", "other", "print('started')"))
        time.sleep(5)
        assert world.kubectl("get", "pod", "-n", "np-blue", "late", "-o", "jsonpath={.status.phase}") == "Pending"
    finally:
        world.supervisor("start", ENFORCER)
    assert eventually(lambda: world.kubectl("get", "pod", "-n", "np-blue", "late", "-o", "jsonpath={.status.phase}") == "Succeeded")
    world.assert_exactly(everything)
    world.kubectl("delete", "pod", "-n", "np-blue", "late")


def test_rules_that_somebody_took_away_come_back(world: World) -> None:
    world.apply(deny())
    world.assert_exactly(lambda f: not red(f.source) and not red(f.target))
    world.nft("delete", "table", *TABLE)
    assert eventually(lambda: "np-red/default-deny" in world.nft("list", "ruleset"))
    world.assert_exactly(lambda f: not red(f.source) and not red(f.target))


def test_a_crowd_of_policies_is_quick(world: World) -> None:
    """A policy is in force within a second also beside hundreds of others."""
    crowd = [policy(f"crowd-{number}", app="nobody", ingress=[{"from": [BLUE], "ports": [port(1000 + number)]}]) for number in range(300)]
    world.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": crowd}))
    script = (
        f"import socket, time\nfor _ in range(100000):\n    own = socket.socket()\n    own.settimeout(0.2)\n    try:\n"
        f"        own.connect(('{world.addresses['server']}', 8080))\n    except OSError:\n        print(time.time())\n        break\n"
        "    own.close()\n    time.sleep(0.005)\n"
    )
    found: list[float] = []
    watcher = threading.Thread(
        target=lambda: found.append(float(world.kubectl("exec", "-n", "np-blue", "other", "--", "/usr/bin/python3", "-c", script)))
    )
    watcher.start()
    time.sleep(3)
    started = time.time()
    world.apply(policy("p", app="server", ingress=[]))
    answered = time.time()
    watcher.join(30)
    assert found[0] > started
    assert found[0] - answered < 1
