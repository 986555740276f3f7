# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_promises
short_description: Ask the running platform, from outside, whether its promises hold
version_added: "0.1.0"
description:
  - Checks each promise of the platform by doing what it says, several at a time, and prints a line for each.
  - Writes C(report.json) and C(report.html) into a folder of its own below O(report_dir), readable by their owner alone. C(latest) leads to
    the newest.
  - Fails when a promise is broken, and says what was expected, what was found and what to look at.
options:
  site:
    description: Id of the site, for the report.
    type: str
    required: true
  environment:
    description: Environment, for the report.
    type: str
    required: true
  provider:
    description: Where the cluster comes from. Some promises are only made by V(embedded).
    type: str
    required: true
  kubeconfig:
    description: Kubeconfig of the cluster.
    type: path
    required: true
  context:
    description: Context in it. The current one when empty.
    type: str
    default: ""
  kubectl:
    description: The kubectl program.
    type: path
    default: kubectl
  access:
    description: Whether the controller reaches addresses of the cluster, or goes through kubectl port-forward.
    type: str
    choices: [direct, port_forward]
    default: port_forward
  namespace_data:
    description: Namespace of the databases.
    type: str
    default: dcm-data
  namespace_services:
    description: Namespace of the DCM services.
    type: str
    default: dcm-services
  audit_log:
    description: The audit log of the API server, where it is on the controller.
    type: str
    default: ""
  postgres_host:
    description: Host name of Postgres.
    type: str
    required: true
  postgres_pooler_host:
    description: Host name of the pooler that the services connect to.
    type: str
    required: true
  postgres_port:
    description: Port of Postgres.
    type: int
    default: 5432
  postgres_database:
    description: Database of registry and guilds.
    type: str
    default: dcm
  postgres_admin_secret:
    description: Secret of the administrator, in the namespace of the databases.
    type: str
    default: postgres-admin
  backup_repository:
    description: Where backups go. V(none) promises nothing about them, V(foreign) says that who runs the server makes them.
    type: str
    choices: [none, posix, s3, foreign]
    default: none
  backup_days:
    description: Days after which the newest backup is too old.
    type: int
    default: 2
  backup_proof_days:
    description: Days after which the newest proof that backups can be restored is too old.
    type: int
    default: 30
  service_secret:
    description: Secret of the services, in their namespace.
    type: str
    default: dcm-service
  service_secret_namespace:
    description: Namespace of O(service_secret).
    type: str
    default: dcm-services
  service_role:
    description: Login role of the services.
    type: str
    default: dcm_service
  secrets_source:
    description: Where the services have their secrets from. With V(vault) the secrets of O(service_secret) are read there.
    type: str
    choices: [vault, kubernetes]
    default: kubernetes
  vault_service:
    description: Service of Vault, as namespace/name.
    type: str
    default: vault/vault
  vault_port:
    description: Its port.
    type: int
    default: 8200
  redis_host:
    description: Host name of Redis.
    type: str
    required: true
  redis_port:
    description: Port of Redis.
    type: int
    default: 6379
  redis_secret:
    description: Secret with Redis' password, in the namespace of the databases.
    type: str
    default: redis-auth
  discord_url:
    description: Base URL of Discord's API as the services use it. Events are sent where it is the fake one.
    type: str
    default: ""
  components:
    description: Ingress, certificates and DNS of the site.
    type: dict
    required: true
    suboptions:
      namespace_ingress:
        description: Namespace of the ingress controller.
        type: str
        default: traefik
      namespace_cert_manager:
        description: Namespace of cert-manager.
        type: str
        default: cert-manager
      namespace_dns:
        description: Namespace of external-dns and of the site's own DNS server.
        type: str
        default: external-dns
      domain:
        description: Host names are below this domain.
        type: str
        required: true
      service_hosts:
        description: Host names from outside, by service.
        type: dict
        default: {}
      gateway:
        description: The Gateway that routes them.
        type: str
        default: dcm
      certificate_issuer:
        description: ClusterIssuer of the certificate for the host names.
        type: str
        required: true
      certificate_authority:
        description: File with the certificate of the private authority; empty where certificates come from a public one.
        type: str
        default: ""
      dns_own:
        description: Whether the zone is held by a DNS server of the site's own.
        type: bool
        default: false
      dns_dry_run:
        description: Whether changes of records are only logged.
        type: bool
        default: false
  migrations_dir:
    description: Folder of the guilds' migrations.
    type: path
    required: true
  placements:
    description:
      - All servers that guilds are spread over, as the filter P(dcm.platform.placements#filter) gives them.
      - When empty, only the one of O(postgres_host).
    type: list
    elements: dict
    default: []
  guilds:
    description:
      - Guilds that have to be there, as ids or as dictionaries with the key C(id).
      - Those whose C(state) is suspended or absent do not count.
      - The first two of the server O(postgres_host) are used to show that guilds are kept apart.
    type: list
    elements: raw
    default: []
  event_seconds:
    description: How long a message may take until it is seen in API and dashboard.
    type: float
    default: 5.0
  probe_image:
    description: Image with Python for pods that try things inside of the cluster. The services' own when empty.
    type: str
    default: ""
  only:
    description: Ids or layers of promises to check, with what they need. All when empty.
    type: list
    elements: str
    default: []
  at_once:
    description: How many promises are checked at the same time.
    type: int
    default: 6
  report_dir:
    description: Folder of the reports.
    type: path
    required: true
attributes:
  check_mode:
    description: Does nothing.
    support: none
  diff_mode:
    description: Changes nothing.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Verify the platform
  dcm.platform.verify_promises:
    site: local
    environment: local
    provider: embedded
    kubeconfig: /var/lib/dcm/local/kubeconfig
    access: direct
    postgres_host: postgres.dcm-data.svc.cluster.local
    postgres_pooler_host: postgres-pooler.dcm-data.svc.cluster.local
    redis_host: redis.dcm-data.svc.cluster.local
    components: {domain: dcm.localhost, certificate_issuer: dcm-ca, dns_own: true}
    migrations_dir: services/migrations
    guilds: [1100000000000000001, 1100000000000000002]
    only: [data, services.event_flow]
    report_dir: /var/lib/dcm/local/reports
"""

RETURN = r"""
report:
  description: Path of the report in HTML. The JSON is beside it.
  returned: when promises were checked
  type: str
  sample: /var/lib/dcm/local/reports/latest/report.html
counts:
  description: How many promises are in which state.
  returned: when promises were checked
  type: dict
  sample: {"held": 21, "broken": 0, "blocked": 0, "not applicable": 1}
broken:
  description: Ids of promises that do not hold, or could not be checked because another one does not.
  returned: when promises were checked
  type: list
  elements: str
  sample: []
"""
