# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which connections the network lets through, tried out by pods that pass for each part of the platform."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_probe import LISTENS, Place, listener, run_python
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import Site

OUTSIDE = "default"
OPEN, NAMELESS = "open", "the name does not resolve"
# How long a cluster's network may take until it knows a new pod.
SETTLE_SECONDS = 8.0
# Probes at a time: they share the cluster with what they look at.
AT_ONCE = 3

# Tries each target until the answer is the wanted one, or the time is over; prints what the last answer was.
SCRIPT = """
import concurrent.futures, json, socket, time
targets, seconds, nameless = json.loads({targets!r}), {seconds}, {nameless!r}
def attempt(host, port):
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return nameless
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError as error:
        return error.strerror or str(error)
    return "open"
def settle(target):
    name, host, port, wanted = target
    end = time.monotonic() + seconds
    while True:
        answer = attempt(host, port)
        if (answer == "open") == wanted and answer != nameless or time.monotonic() > end:
            return name, answer
        time.sleep(0.3)
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(pool.map(settle, targets))))
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """Who connects, and what it needs."""

    namespace: str
    name: str  # empty: somebody without any part in the platform
    needs: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name or 'a stranger'}"

    @property
    def place(self) -> Place:
        labels = {"app.kubernetes.io/name": self.name, "app.kubernetes.io/instance": self.name} if self.name else {}
        return Place(self.namespace, labels)


def targets(site: Site) -> dict[str, tuple[str, int]]:
    """What listens in the cluster: host and port by name."""
    inputs = site.inputs
    services = f"{inputs.namespace_services}.svc.cluster.local"
    found = {
        "postgres": (inputs.postgres_host, inputs.postgres_port),
        "pooler": (inputs.postgres_pooler_host, inputs.postgres_port),
        "redis": (inputs.redis_host, inputs.redis_port),
        "gateway": (f"gateway.{services}", 8080),
        "gateway's metrics": (f"gateway.{services}", 9090),
        "dashboard": (f"dashboard.{services}", 8080),
        "the API server": ("kubernetes.default.svc.cluster.local", 443),
    }
    if "discord-fake" in inputs.discord_url:
        found["discord"] = (f"discord-fake.{services}", 8080)
    if inputs.secrets_source == "vault":
        namespace, _slash, name = inputs.vault_service.partition("/")
        found["vault"] = (f"{name}.{namespace}.svc.cluster.local", inputs.vault_port)
    # A server outside of the cluster is guarded by its own network.
    return {name: address for name, address in found.items() if ".svc" in address[0]}


def sources(site: Site) -> list[Source]:
    """Everybody who could try, each with what it has to reach."""
    data, services = site.inputs.namespace_data, site.inputs.namespace_services
    pooler, _dot, rest = site.inputs.postgres_pooler_host.partition(".")
    vault = frozenset({"vault"} if site.inputs.secrets_source == "vault" else ())
    needs = {
        "gateway": vault | {"pooler"},
        "worker": vault | {"pooler", "redis", "discord"},
        "bot": vault | {"redis", "discord"},
        "dashboard": frozenset({"gateway"}),
    }
    return [
        # Its own namespace is open, so that what stops it is the other side alone.
        Source(OUTSIDE, "", frozenset({"the API server"})),
        Source(data, ""),
        Source(services, ""),
        *([Source(rest.partition(".")[0], pooler, frozenset({"postgres"}))] if ".svc" in rest else []),
        *(Source(services, name, reached) for name, reached in needs.items()),
    ]


def network_policies(site: Site) -> str:
    """Everybody tries everything: what is needed passes, all else fails."""
    with contextlib.ExitStack() as stack:
        # Somebody whom no policy of a release guards: what keeps others away is the namespace's own.
        strangers = {place.namespace: stack.enter_context(listener(site, place)) for place in map(Place, site.namespaces)}
        listening = targets(site) | {f"a stranger in {namespace}": (address, LISTENS) for namespace, address in strangers.items()}
        return judge(_try_all(site, sources(site), listening))


def _try_all(site: Site, trying: Sequence[Source], listening: Mapping[str, tuple[str, int]]) -> dict[Source, dict[str, str]]:
    def probe(source: Source) -> dict[str, str]:
        wanted = [(name, *address, name in source.needs) for name, address in listening.items()]
        script = SCRIPT.format(targets=json.dumps(wanted), seconds=SETTLE_SECONDS, nameless=NAMELESS)
        answers: dict[str, str] = json.loads(run_python(site, script, seconds=60, place=source.place))
        return answers

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(trying, pool.map(probe, trying), strict=True))


def judge(answers: Mapping[Source, Mapping[str, str]]) -> str:
    """Compare what happened with what has to happen."""
    flows = [(source, target, answer, target in source.needs) for source, found in answers.items() for target, answer in found.items()]
    needed = [flow for flow in flows if flow[3]]
    others = [flow for flow in flows if not flow[3]]
    failing = [f"{source} does not reach {target}: {answer}" for source, target, answer, _needed in needed if answer != OPEN]
    failing += [f"{source} cannot ask for {target}: {answer}" for source, target, answer, _needed in others if answer == NAMELESS]
    passing = [f"{source} reaches {target}" for source, target, answer, _needed in others if answer == OPEN]
    if others and len(passing) == len(others):
        raise Broken(
            "connections that nothing needs to fail",
            f"all {len(others)} pass: the network plugin of this cluster enforces no NetworkPolicy; use one that does",
        )
    if failing or passing:
        raise Broken("exactly the connections that are needed to pass", "; ".join([*passing, *failing])[:600])
    return f"{len(needed)} connections that are needed pass, {len(others)} others fail"


PROMISES = (
    Promise(
        "cluster.network_policies",
        "Only the connections that the platform needs pass",
        network_policies,
        "kubectl get networkpolicy -A; the network plugin of the cluster; playbooks/baseline.yml and services.yml",
        timeout=180,
        needs=("cluster.pods_running",),
    ),
)
