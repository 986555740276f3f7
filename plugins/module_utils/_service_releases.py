# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A catalogue of services as Helm releases of charts/dcm-service. What a service uses decides its settings and its flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

HTTP_PORT = 8080
MANAGEMENT_PORT = 9090
CHOICES = {"kind": ("Deployment", "StatefulSet"), "state": ("present", "absent")}

Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """One entry of the catalogue."""

    name: str
    command: str = ""
    kind: str = "Deployment"
    replicas: int | None = None
    http: bool = False
    uses: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    state: str = "present"


@dataclass(frozen=True)
class Server:
    """Something that services use: settings to reach it, the way out to it, and the service that stands for it, if one does."""

    env: Mapping[str, str] = field(default_factory=dict)
    egress: tuple[Json, ...] = ()
    service: str = ""


@dataclass(frozen=True)
class Site:
    """What all releases have in common."""

    namespace: str
    chart: str
    image: Mapping[str, str]
    secret: str
    replicas: int
    timeout: str
    env: Mapping[str, str]
    servers: Mapping[str, Server]
    replicas_max: int = 0
    ingress_peers: tuple[Json, ...] = ()
    scrape_peers: tuple[Json, ...] = ()
    egress: tuple[Json, ...] = ()
    vault: Mapping[str, Any] = field(default_factory=dict)
    vault_egress: tuple[Json, ...] = ()
    base: Mapping[str, Any] = field(default_factory=dict)
    common_values: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    gateway: Mapping[str, str] = field(default_factory=dict)


def read_catalog(entries: Mapping[str, Mapping[str, Any] | None], site: Site) -> dict[str, Service]:
    """The catalogue, checked: a mistake names the service and what it may say."""
    known = set(Service.__dataclass_fields__) - {"name"}
    services = {}
    for name, entry in entries.items():
        given = dict(entry or {})
        if unknown := sorted(set(given) - known):
            raise PlatformError(f"service {name} of the catalogue has {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
        given |= {part: tuple(given[part]) for part in ("uses", "secrets") if part in given}
        services[name] = Service(name, **given)
        for part, choices in CHOICES.items():
            if (value := getattr(services[name], part)) not in choices:
                raise PlatformError(f"service {name} of the catalogue has {part} {value!r}; it can be {' or '.join(choices)}")
    _check_names(services, site)
    return services


def _check_names(services: Mapping[str, Service], site: Site) -> None:
    usable = {*site.servers, *(service.name for service in services.values() if service.http and service.state == "present")}
    for service in services.values():
        if wrong := sorted(set(service.uses) - usable):
            raise PlatformError(
                f"service {service.name} of the catalogue uses {', '.join(wrong)}, which is no server and no service with http; "
                f"it can use {', '.join(sorted(usable))}"
            )
    if wrong := sorted(set(site.values) - set(services)):
        raise PlatformError(f"values are given for {', '.join(wrong)}, but the catalogue has {', '.join(services)}")
    serving = [service.name for service in services.values() if service.http]
    if wrong := sorted(set(site.hosts) - set(serving)):
        raise PlatformError(f"host names are given for {', '.join(wrong)}, but the services with http are {', '.join(serving)}")


def releases(entries: Mapping[str, Mapping[str, Any] | None], site: Site) -> list[Json]:
    """The releases, in the order of the catalogue."""
    services = read_catalog(entries, site)
    return [_release(service, services, site) for service in services.values()]


def _release(service: Service, services: Mapping[str, Service], site: Site) -> Json:
    if service.state == "absent":
        return {"name": service.name, "namespace": site.namespace, "state": "absent"}
    return {
        "name": service.name,
        "namespace": site.namespace,
        "chart_ref": site.chart,
        "create_namespace": False,
        "timeout": site.timeout,
        "depends_on": _needed_first(service, site),
        "values": [_values(service, services, site), dict(site.common_values), dict(site.values.get(service.name, {}))],
    }


def _values(service: Service, services: Mapping[str, Service], site: Site) -> Json:
    replicas = site.replicas if service.replicas is None else service.replicas
    return {
        **site.base,
        "image": dict(site.image),
        "args": [service.command or service.name],
        "http": {"enabled": service.http, "port": HTTP_PORT},
        "route": _route(service, site),
        "management": {"port": MANAGEMENT_PORT},
        "workload": {"kind": service.kind, "replicas": replicas},
        "autoscaling": _autoscaling(service, site),
        **_secrets(service, site),
        "env": {**site.env, **_settings(service, site)},
        "networkPolicy": {
            **site.base.get("networkPolicy", {}),
            "ingress": _ingress(service, services, site),
            "egress": _egress(service, site),
        },
    }


def _secrets(service: Service, site: Site) -> Json:
    """Files with secrets: from the agent of Vault where the site has it, else from the Secret."""
    source = ("vault" if site.vault else "secret") if service.secrets else "none"
    found: Json = {"secrets": {"source": source, "name": "" if site.vault else site.secret, "keys": list(service.secrets)}}
    return found | ({"vault": dict(site.vault)} if source == "vault" else {})


def _autoscaling(service: Service, site: Site) -> Json:
    """A service that names no number of its own grows with its load, where the site lets it."""
    if service.replicas is not None or site.replicas_max <= site.replicas:
        return {"enabled": False}
    return {"enabled": True, "minReplicas": site.replicas, "maxReplicas": site.replicas_max}


def _route(service: Service, site: Site) -> Json:
    """A service with a host name is reached by it, through the platform's Gateway."""
    if service.name not in site.hosts:
        return {"kind": "none"}
    return {"kind": "httproute", "hostnames": [site.hosts[service.name]], "httproute": {"parentRefs": [dict(site.gateway)]}}


def _needed_first(service: Service, site: Site) -> list[str]:
    """The services that this one waits for: it is not ready before they are."""
    standing = [site.servers[name].service if name in site.servers else name for name in service.uses]
    return [name for name in standing if name]


def _settings(service: Service, site: Site) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in service.uses:
        if name in site.servers:
            found |= site.servers[name].env
        else:
            found[f"DCM_{name.upper().replace('-', '_')}_URL"] = f"http://{name}.{site.namespace}.svc.cluster.local:{HTTP_PORT}"
    return found


def _stands_for(service: Service, site: Site) -> set[str]:
    return {service.name} | {name for name, server in site.servers.items() if server.service == service.name}


def _ingress(service: Service, services: Mapping[str, Service], site: Site) -> list[Json]:
    """Who may come in is the mirror of who uses the service."""
    present = [other for other in services.values() if other.state == "present"]
    callers: list[Json] = [{"name": other.name} for other in present if set(other.uses) & _stands_for(service, site)]
    peers = [*callers, *site.ingress_peers] if service.http else []
    rules: list[Json] = [{"from": peers, "ports": [HTTP_PORT]}] if peers else []
    return [*rules, *([{"from": list(site.scrape_peers), "ports": [MANAGEMENT_PORT]}] if site.scrape_peers else [])]


def _egress(service: Service, site: Site) -> list[Json]:
    rules: list[Json] = [*site.egress, *(site.vault_egress if site.vault and service.secrets else ())]
    for name in service.uses:
        server = site.servers.get(name, Server(service=name))
        rules += [{"to": [{"name": server.service}], "ports": [HTTP_PORT]}] if server.service else server.egress
    return rules


def rights(entries: Mapping[str, Mapping[str, Any] | None], site: Site) -> Json:
    """Who may read what in Vault: per service a policy, and a login for its service account and its canary's, in this namespace alone."""
    found: Json = {"auth": {}, "policies": {}}
    roles = {}
    for service in read_catalog(entries, site).values():
        if service.state == "absent" or not service.secrets:
            continue
        policy = f"dcm-service-{service.name}"
        found["policies"][policy] = {f"{site.vault['path']}/{secret}": ["read"] for secret in service.secrets}
        roles[service.name] = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [site.vault["audience"]],
            "bound_claims": {
                "/kubernetes.io/namespace": site.namespace,
                "/kubernetes.io/serviceaccount/name": [service.name, f"{service.name}-canary"],
            },
            "token_policies": [policy],
            "token_ttl": 3600,
        }
    found["auth"][site.vault["authMount"]] = {"type": "jwt", "roles": roles}
    return found
