# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue of services as releases: settings, flows and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._service_releases import Server, Site, releases, rights

ROOT = Path(__file__).parents[3]
POSTGRES = {"to": [{"namespace": "data", "name": "postgres"}], "ports": [5432]}
WORLD = {"to": [{"cidr": "0.0.0.0/0"}], "ports": [443]}
CATALOG: dict[str, dict[str, Any] | None] = {
    "gateway": {"http": True, "uses": ["postgres"], "secrets": ["postgres-password"]},
    "bot": {"kind": "StatefulSet", "replicas": 1, "uses": ["discord"]},
    "dashboard": {"http": True, "uses": ["gateway"]},
    "clock": None,
}
FAKE = {"discord-fake": {"http": True}}


def site(fake: bool = False, **other: Any) -> Site:
    discord = Server({"DCM_DISCORD_API_URL": "x"}, service="discord-fake") if fake else Server({"DCM_DISCORD_API_URL": ""}, (WORLD,))
    servers = {"postgres": Server({"DCM_POSTGRES_HOST": "pg"}, (POSTGRES,)), "discord": discord}
    image = {"repository": "dcm.example/service", "tag": "1", "digest": ""}
    return Site("services", "/charts/dcm-service", image, "dcm-service", 3, "5m", {"DCM_ENVIRONMENT": "dev"}, servers, **other)


def values(catalog: dict[str, dict[str, Any] | None], wanted: Site) -> dict[str, dict[str, Any]]:
    return {release["name"]: release["values"][0] for release in releases(catalog, wanted)}


def test_releases() -> None:
    made = releases(CATALOG, site(values={"bot": {"labels": {"a": "b"}}}, common_values={"priorityClassName": "x"}))
    assert [release["name"] for release in made] == ["gateway", "bot", "dashboard", "clock"]
    assert {release["chart_ref"] for release in made} == {"/charts/dcm-service"}
    assert {(release["namespace"], release["create_namespace"], release["timeout"]) for release in made} == {("services", False, "5m")}
    assert made[1]["values"][1:] == [{"priorityClassName": "x"}, {"labels": {"a": "b"}}]
    assert made[0]["values"][1:] == [{"priorityClassName": "x"}, {}]


def test_a_service_comes_after_those_that_it_uses() -> None:
    order = {release["name"]: release["depends_on"] for release in releases({**CATALOG, **FAKE}, site(fake=True))}
    assert order == {"gateway": [], "bot": ["discord-fake"], "dashboard": ["gateway"], "clock": [], "discord-fake": []}


def test_an_absent_service_is_taken_away_and_lets_nobody_in() -> None:
    made = releases({**CATALOG, "dashboard": {"uses": ["gateway"], "state": "absent"}}, site())
    assert made[2] == {"name": "dashboard", "namespace": "services", "state": "absent"}
    assert made[0]["values"][0]["networkPolicy"]["ingress"] == []


def test_what_a_service_is() -> None:
    found = values({**CATALOG, "sweeper": {"command": "worker"}}, site(base={"priorityClassName": "p"}))
    assert found["gateway"]["args"] == ["gateway"]
    assert found["sweeper"]["args"] == ["worker"]
    assert found["gateway"]["workload"] == {"kind": "Deployment", "replicas": 3}
    assert found["bot"]["workload"] == {"kind": "StatefulSet", "replicas": 1}
    assert found["gateway"]["secrets"] == {"source": "secret", "name": "dcm-service", "keys": ["postgres-password"]}
    assert found["clock"]["secrets"]["source"] == "none"
    assert found["clock"]["http"]["enabled"] is False
    assert found["clock"]["priorityClassName"] == "p"


def test_a_service_without_a_number_of_its_own_grows_where_the_site_lets_it() -> None:
    found = values(CATALOG, site(replicas_max=5))
    assert found["gateway"]["autoscaling"] == {"enabled": True, "minReplicas": 3, "maxReplicas": 5}
    assert found["bot"]["autoscaling"] == {"enabled": False}
    assert values(CATALOG, site(replicas_max=3))["gateway"]["autoscaling"] == {"enabled": False}


def test_settings_follow_from_what_is_used() -> None:
    found = {name: entry["env"] for name, entry in values(CATALOG, site()).items()}
    assert found["gateway"] == {"DCM_ENVIRONMENT": "dev", "DCM_POSTGRES_HOST": "pg"}
    assert found["bot"] == {"DCM_ENVIRONMENT": "dev", "DCM_DISCORD_API_URL": ""}
    assert found["dashboard"] == {"DCM_ENVIRONMENT": "dev", "DCM_GATEWAY_URL": "http://gateway.services.svc.cluster.local:8080"}
    assert found["clock"] == {"DCM_ENVIRONMENT": "dev"}


def test_flows_follow_from_what_is_used() -> None:
    found = {name: entry["networkPolicy"] for name, entry in values(CATALOG, site()).items()}
    assert found == {
        "gateway": {"ingress": [{"from": [{"name": "dashboard"}], "ports": [8080]}], "egress": [POSTGRES]},
        "bot": {"ingress": [], "egress": [WORLD]},
        "dashboard": {"ingress": [], "egress": [{"to": [{"name": "gateway"}], "ports": [8080]}]},
        "clock": {"ingress": [], "egress": []},
    }


def test_a_service_that_stands_for_a_server() -> None:
    found = {name: entry["networkPolicy"] for name, entry in values({**CATALOG, **FAKE}, site(fake=True)).items()}
    assert found["discord-fake"]["ingress"] == [{"from": [{"name": "bot"}], "ports": [8080]}]
    assert found["bot"]["egress"] == [{"to": [{"name": "discord-fake"}], "ports": [8080]}]


def test_flows_for_all() -> None:
    prometheus, traefik = {"namespace": "monitoring"}, {"namespace": "ingress"}
    otlp = {"to": [{"namespace": "tracing"}], "ports": [4318]}
    base = {"networkPolicy": {"dns": {"ports": [5353]}}}
    found = values(CATALOG, site(ingress_peers=(traefik,), scrape_peers=(prometheus,), egress=(otlp,), base=base))
    scraped = {"from": [prometheus], "ports": [9090]}
    assert found["clock"]["networkPolicy"] == {"dns": {"ports": [5353]}, "ingress": [scraped], "egress": [otlp]}
    assert found["gateway"]["networkPolicy"]["ingress"] == [{"from": [{"name": "dashboard"}, traefik], "ports": [8080]}, scraped]
    assert found["gateway"]["networkPolicy"]["egress"] == [otlp, POSTGRES]


@pytest.mark.parametrize(
    ("catalog", "more", "words"),
    [
        (
            {"gateway": {"htp": True}},
            {},
            "gateway of the catalogue has htp; it may have command, http, kind, replicas, secrets, state, uses",
        ),
        ({"gateway": {"kind": "Job"}}, {}, "service gateway of the catalogue has kind 'Job'; it can be Deployment or StatefulSet"),
        ({"gateway": {"state": "gone"}}, {}, "service gateway of the catalogue has state 'gone'; it can be present or absent"),
        (
            {"gateway": {"http": True, "state": "absent"}, "x": {"uses": ["gateway"]}},
            {},
            "service x of the catalogue uses gateway",
        ),
        ({"bot": {"uses": ["mysql"]}}, {}, "service bot of the catalogue uses mysql, which is no server and no service with http"),
        (
            {"bot": {}, "worker": {"uses": ["bot"]}},
            {},
            "service worker of the catalogue uses bot, which is no server and no service with http",
        ),
        ({"bot": {}}, {"values": {"bott": {}}}, "values are given for bott, but the catalogue has bot"),
    ],
)
def test_mistakes_are_named(catalog: dict[str, dict[str, Any] | None], more: dict[str, Any], words: str) -> None:
    with pytest.raises(PlatformError) as problem:
        releases(catalog, site(**more))
    assert words in str(problem.value)


def test_the_servers_let_in_who_uses_them() -> None:
    """Both sides of a flow are stated: here by the services, in the roles of the servers by their network policies."""

    def defaults(role: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text())
        return found

    catalog = defaults("dcm_services")["dcm_services_catalog"]
    for server, role, peers in (("postgres", "pgbouncer", "pgbouncer_peers"), ("redis", "redis", "redis_clients")):
        users = [name for name, service in catalog.items() if server in service["uses"]]
        assert [client["name"] for client in defaults(role)[peers]] == users
    assert [client["name"] for client in defaults("postgres")["postgres_clients"]] == [defaults("pgbouncer")["pgbouncer_release"]]


AGENT = {"address": "https://vault.vault.svc:8200", "path": "dcm/data/credentials", "authMount": "jwt", "audience": "vault"}
VAULT = {"to": [{"namespace": "vault"}], "ports": [8200]}


def test_with_vault_secrets_come_from_the_agent_and_the_way_to_it_is_open() -> None:
    found = values(CATALOG, site(vault=AGENT, vault_egress=(VAULT,)))
    assert found["gateway"]["secrets"] == {"source": "vault", "name": "", "keys": ["postgres-password"]}
    assert found["gateway"]["vault"] == AGENT
    assert VAULT in found["gateway"]["networkPolicy"]["egress"]
    assert found["dashboard"]["secrets"]["source"] == "none"
    assert "vault" not in found["dashboard"]
    assert VAULT not in found["dashboard"]["networkPolicy"]["egress"]


def test_a_service_may_read_what_it_names_and_nothing_else() -> None:
    tree = rights({**CATALOG, "old": {"secrets": ["x"], "state": "absent"}}, site(vault=AGENT))
    assert tree["policies"] == {"dcm-service-gateway": {"dcm/data/credentials/postgres-password": ["read"]}}
    [(name, role)] = tree["auth"]["jwt"]["roles"].items()
    assert name == "gateway"
    assert role["token_policies"] == ["dcm-service-gateway"]
    assert role["bound_claims"]["/kubernetes.io/namespace"] == "services"
    assert role["bound_claims"]["/kubernetes.io/serviceaccount/name"] == ["gateway", "gateway-canary"]
