# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue of services as Helm releases."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_releases
short_description: Turn a catalogue of services into Helm releases
version_added: "0.1.0"
description:
  - Returns one release of C(charts/dcm-service) for each service, in the form that P(dcm.platform.helm_release#role) takes.
  - A service says what it uses. That gives it the settings to reach it and the way out through the network, and the other side the way in.
options:
  _input:
    description:
      - Services by name, each with C(command) (its name when left out), C(kind), C(replicas), C(http) (whether it serves requests), C(uses)
        (names of servers and of other services), C(secrets) (keys of the Secret that it may read) and C(state) (C(absent) takes it away).
    type: dict
    required: true
  site:
    description:
      - What the releases have in common. C(namespace), C(chart), C(image) (repository, tag, digest), C(secret), C(replicas), C(timeout) and
        C(env) are required. C(replicas_max) above C(replicas) lets services that name no number grow with their load.
      - C(servers) is what services can use besides each other, by name, each with C(env), and either C(egress) (rules of the chart's
        network policy) or C(service) (the service that stands for it).
      - C(vault) are values of the chart for its agent; with them secrets come from there, by the way out C(vault_egress).
      - C(hosts) are host names by service, which C(gateway) (C(name), C(namespace), C(sectionName)) routes.
      - C(ingress_peers), C(scrape_peers) and C(egress) open flows for all of them, C(base), C(common_values) and C(values) (by service) are
        values of the chart.
    type: dict
    required: true
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show the flows of two services
  ansible.builtin.debug:
    msg: "{{ catalog | dcm.platform.service_releases(site) | map(attribute='values.0.networkPolicy') }}"
  vars:
    catalog:
      gateway: {http: true, uses: [postgres]}
      dashboard: {http: true, uses: [gateway]}
    site:
      namespace: dcm-services
      chart: charts/dcm-service
      image: {repository: dcm.example/service, tag: 1.4.2}
      secret: dcm-service
      replicas: 2
      timeout: 5m
      env: {DCM_ENVIRONMENT: dev}
      servers:
        postgres:
          env: {DCM_POSTGRES_HOST: postgres.dcm-data.svc}
          egress: [{to: [{namespace: dcm-data, name: postgres}], ports: [5432]}]
"""

RETURN = r"""
_value:
  description: The releases.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._service_releases import Server, Site, releases


def with_site(function: Callable[[dict[str, Any], Site], Any], catalog: dict[str, Any], site: dict[str, Any]) -> Any:
    """Call with the site as a type of its own; mistakes in it become errors of the filter."""
    try:
        servers = {name: Server(**server) for name, server in (site.get("servers") or {}).items()}
        return function(catalog, Site(**{**site, "servers": servers}))
    except TypeError as error:
        raise AnsibleFilterError(f"service_releases: site or one of its servers: {error}") from error
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


def service_releases(catalog: dict[str, Any], site: dict[str, Any]) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    found: list[dict[str, Any]] = with_site(releases, catalog, site)
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"service_releases": service_releases}
