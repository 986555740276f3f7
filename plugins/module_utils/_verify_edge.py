# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ingress, certificates and DNS promise, seen from outside."""

from __future__ import annotations

import base64
import contextlib
import http.client
import pathlib
import secrets
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import kubernetes
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_data import two_guilds
from ansible_collections.dcm.platform.plugins.module_utils._verify_services import token
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import TIMEOUT, Site
from cryptography import x509

CERTIFICATES = ("cert-manager.io", "v1")
ROUTES = ("gateway.networking.k8s.io", "v1")
INGRESS, DNS = "traefik", "dns"  # the Services
ISSUE_SECONDS, RECORD_SECONDS = 30.0, 45.0


def _custom(site: Site) -> Any:
    return kubernetes.client.CustomObjectsApi(site.client)


def _certificate(site: Site, name: str, names: list[str]) -> dict[str, Any]:
    issuer = {"group": CERTIFICATES[0], "kind": "ClusterIssuer", "name": site.inputs.certificate_issuer}
    spec = {"secretName": name, "dnsNames": names, "issuerRef": issuer, "privateKey": {"algorithm": "ECDSA", "size": 256}}
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": "dcm-verify"}}
    return {"apiVersion": "/".join(CERTIFICATES), "kind": "Certificate", "metadata": metadata, "spec": spec}


def admission(site: Site) -> str:
    """The webhook takes a certificate and refuses one that bears no name, which the definition alone would let pass."""
    name, namespace = f"dcm-verify-{secrets.token_hex(4)}", site.inputs.namespace_ingress

    def ask(names: list[str]) -> None:
        body = _certificate(site, name, names)
        _custom(site).create_namespaced_custom_object(
            *CERTIFICATES, namespace, "certificates", body, dry_run="All", _request_timeout=TIMEOUT
        )

    ask([f"probe.{site.inputs.domain}"])
    try:
        ask([])
    except kubernetes.client.ApiException as error:
        if "webhook.cert-manager.io" in str(error.body):
            return "a certificate is taken; one without a name is refused by cert-manager's webhook"
        raise Broken("a refusal by webhook.cert-manager.io", f"{error.status} {' '.join(str(error.body).split())[:200]}") from error
    raise Broken("a certificate without a name refused", "it would be stored")


def certificate_issued(site: Site) -> str:
    """A new certificate for a host name of the domain is signed by the site's issuer."""
    if not site.inputs.certificate_authority:
        raise NotApplicable("certificates come from a public authority, which counts every one")
    name, namespace = f"dcm-verify-{secrets.token_hex(4)}", site.inputs.namespace_ingress
    host = f"{name}.{site.inputs.domain}"
    api = _custom(site)
    place = (*CERTIFICATES, namespace, "certificates")
    api.create_namespaced_custom_object(*place, _certificate(site, name, [host]), _request_timeout=TIMEOUT)

    def missing() -> str | None:
        status = api.get_namespaced_custom_object(*place, name, _request_timeout=TIMEOUT).get("status", {})
        ready = [item for item in status.get("conditions", []) if item["type"] == "Ready"]
        return None if ready and ready[0]["status"] == "True" else ready[0].get("message", "not ready") if ready else "no condition yet"

    try:
        seconds = eventually(missing, ISSUE_SECONDS, f"a certificate for {host}")
        data = site.core.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUT).data
        leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        authority = x509.load_pem_x509_certificate(_authority(site))
        leaf.verify_directly_issued_by(authority)
        return f"{host} was signed by {authority.subject.rfc4514_string()} in {seconds:.1f} s"
    finally:
        api.delete_namespaced_custom_object(*place, name, _request_timeout=TIMEOUT)
        with contextlib.suppress(kubernetes.client.ApiException):  # it may not have come about
            site.core.delete_namespaced_secret(name, namespace, _request_timeout=TIMEOUT)


def _authority(site: Site) -> bytes:
    path = pathlib.Path(site.inputs.certificate_authority)
    if not path.exists():
        raise Broken(f"the certificate of the private authority in {path}", "no file; run playbooks/components.yml")
    return path.read_bytes()


def _trust(site: Site) -> ssl.SSLContext:
    """The site's private authority alone, or the public ones of this machine."""
    if not site.inputs.certificate_authority:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=_authority(site).decode())


def _host(site: Site, service: str) -> str:
    host = site.inputs.service_hosts.get(service)
    if not host:
        raise NotApplicable(f"service {service} has no host name at this site")
    return str(host)


@contextlib.contextmanager
def _handshake(site: Site, host: str) -> Iterator[ssl.SSLSocket]:
    """TLS with a host name at the ingress, whatever this machine's DNS says about it."""
    with (
        site.reach(site.inputs.namespace_ingress, INGRESS, 443) as address,
        socket.create_connection(address, timeout=10) as plain,
        _trust(site).wrap_socket(plain, server_hostname=host) as secure,
    ):
        yield secure


def tls_served(site: Site) -> str:
    """Each host name is served with a certificate that its chain vouches for."""
    seen = []
    for host in site.inputs.service_hosts.values():
        with _handshake(site, host) as secure:
            about = secure.getpeercert() or {}
            seen.append(f"{host} until {about.get('notAfter')}")
    if not seen:
        raise NotApplicable("no service has a host name at this site")
    return f"chain and name are right: {', '.join(seen)}"


def request_reaches_gateway(site: Site) -> str:
    """With a guild's token the API answers through the ingress, without one it refuses; plain HTTP is sent on to HTTPS."""
    host = _host(site, "gateway")
    mine, _other = two_guilds(site)
    path = f"/v1/guilds/{mine}/actions"
    for bearer, wanted in ((token(site, mine), 200), ("", 401)):
        with _handshake(site, host) as secure:
            connection = http.client.HTTPConnection(host)
            connection.sock = secure
            connection.request("GET", path, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
            answer = connection.getresponse()
            if answer.status != wanted:
                raise Broken(f"{wanted} from https://{host}{path}", f"{answer.status}: {answer.read(200).decode(errors='replace')}")
    with site.reach(site.inputs.namespace_ingress, INGRESS, 80) as (address, port):
        plain = http.client.HTTPConnection(address, port, timeout=10)
        plain.request("GET", path, headers={"Host": host})
        answer = plain.getresponse()
        target = answer.headers.get("Location", "")
        plain.close()
    if answer.status != 301 or not target.startswith(f"https://{host}"):
        raise Broken(f"301 to https://{host}", f"{answer.status} {target}")
    return f"https://{host} is answered by the gateway, and http://{host} is sent there"


def dns_record(site: Site) -> str:
    """A record for a new route appears in the DNS server, points to the ingress, and goes with the route."""
    if not site.inputs.dns_own:
        raise NotApplicable("the zone is held by a provider")
    if site.inputs.dns_dry_run:
        raise NotApplicable("platform_dns_dry_run is set: records are not written")
    name, namespace = f"dcm-verify-{secrets.token_hex(4)}", site.inputs.namespace_services
    host = f"{name}.{site.inputs.domain}"
    parent = {"name": site.inputs.gateway, "namespace": site.inputs.namespace_ingress, "sectionName": "https"}
    body = {
        "apiVersion": "/".join(ROUTES),
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "dcm-verify"}},
        "spec": {"parentRefs": [parent], "hostnames": [host], "rules": [{"backendRefs": [{"name": "gateway", "port": 8080}]}]},
    }
    place = (*ROUTES, namespace, "httproutes")
    api = _custom(site)
    with site.reach(site.inputs.namespace_dns, DNS, 53) as server:
        api.create_namespaced_custom_object(*place, body, _request_timeout=TIMEOUT)
        try:
            appeared = eventually(lambda: None if _ask(server, host) else "no address", RECORD_SECONDS, f"a record for {host}", pause=0.5)
            found = _ask(server, host)
        finally:
            api.delete_namespaced_custom_object(*place, name, _request_timeout=TIMEOUT)
        gone = eventually(lambda: ", ".join(_ask(server, host)) or None, RECORD_SECONDS, f"no record for {host} any more", pause=0.5)
    return f"{host} was {', '.join(found)} after {appeared:.1f} s, and gone {gone:.1f} s after its route"


def _ask(server: tuple[str, int], host: str) -> list[str]:
    query = dns.message.make_query(f"{host}.", dns.rdatatype.A)
    answer = dns.query.tcp(query, server[0], port=server[1], timeout=5)
    return sorted(str(item) for records in answer.answer for item in records)


PROMISES = (
    Promise(
        "components.admission",
        "The webhook of cert-manager checks certificates",
        admission,
        "the log of deploy/cert-manager-webhook; caBundle of ValidatingWebhookConfiguration cert-manager-webhook",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "components.certificate_issued",
        "A certificate is signed by the site's private authority",
        certificate_issued,
        "kubectl get clusterissuers,certificaterequests -A; the log of deploy/cert-manager",
        timeout=ISSUE_SECONDS + 15,
        needs=("components.admission",),
    ),
    Promise(
        "components.tls_served",
        "Host names are served with a certificate that can be checked",
        tls_served,
        "kubectl describe certificate,gateway -n traefik; the log of deploy/traefik",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "components.request_reaches_gateway",
        "A request through the ingress reaches the API",
        request_reaches_gateway,
        "kubectl describe httproute gateway -n dcm-services; the network policies of traefik and gateway",
        needs=("components.tls_served", "services.ready"),
    ),
    Promise(
        "components.dns_record",
        "A route's DNS record comes and goes with it",
        dns_record,
        "the logs of deploy/external-dns and statefulset/dns in external-dns; the annotation external-dns…/target of the Gateway",
        timeout=2 * RECORD_SECONDS + 20,
        needs=("cluster.api_ready",),
    ),
)
