# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the DCM services promise."""

from __future__ import annotations

import re
import secrets
import time

import jwt
import requests
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_data import two_guilds
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import PART_OF_DCM, TIMEOUT, Site
from prometheus_client.parser import text_string_to_metric_families

SERVICES = ("gateway", "bot", "worker", "dashboard")
MANAGEMENT = 9090
AUTHOR = "1100000000000000777"
CHANNEL = "1100000000000000555"


def ready(site: Site) -> str:
    """Every service has all the pods that it should, all of its newest version."""
    namespace = site.inputs.namespace_services
    options = {"label_selector": PART_OF_DCM, "_request_timeout": TIMEOUT}
    found = [
        *site.apps.list_namespaced_deployment(namespace, **options).items,
        *site.apps.list_namespaced_stateful_set(namespace, **options).items,
    ]
    missing = set(SERVICES) - {item.metadata.name for item in found}
    if missing:
        raise Broken(f"the services {', '.join(SERVICES)}", f"no {', '.join(sorted(missing))}")
    for item in found:
        state = (item.spec.replicas, item.status.ready_replicas or 0, item.status.updated_replicas or 0)
        if state != (item.spec.replicas,) * 3 or not item.spec.replicas:
            raise Broken(f"{item.metadata.name} with {state[0]} pods", f"{state[1]} ready, {state[2]} of the newest version")
    return ", ".join(f"{item.metadata.name} {item.status.ready_replicas}/{item.spec.replicas}" for item in found)


def scraped(site: Site) -> str:
    """Every service shows the state of its dependencies and its metrics."""
    series = 0
    for service in SERVICES:
        with site.url(service, MANAGEMENT) as url:
            answer = requests.get(f"{url}/readyz", timeout=10)
            if answer.status_code != 200:
                raise Broken(f"{service} ready", f"{answer.status_code}: {answer.text[:300]}")
            text = requests.get(f"{url}/metrics", timeout=10).text
        families = [family.name for family in text_string_to_metric_families(text) if family.name.startswith("dcm_")]
        if not families:
            raise Broken(f"series dcm_… at {service}:{MANAGEMENT}/metrics", "none")
        series += len(families)
    return f"{len(SERVICES)} services are ready and show {series} metrics of their own"


def token(site: Site, *guilds: int, key: str = "") -> str:
    """A short-lived token for guilds, as the platform's own tools mint it."""
    key = key or site.credential("api-signing-key").split()[0]
    claims = {"sub": "dcm-verify", "guilds": [str(guild) for guild in guilds], "exp": int(time.time()) + 120}
    return jwt.encode(claims, key, algorithm="HS256")


def actions(url: str, guild: int, bearer: str) -> requests.Response:
    return requests.get(f"{url}/v1/guilds/{guild}/actions", headers={"Authorization": f"Bearer {bearer}"}, timeout=10)


def send(site: Site, guild: int) -> str:
    """A user of the guild writes what the rule 'no-invites' catches; returns the id of the message."""
    if "discord-fake" not in site.inputs.discord_url:
        raise NotApplicable("this site speaks to the real Discord")
    message = {"guild_id": str(guild), "channel_id": CHANNEL, "author_id": AUTHOR, "content": f"join discord.gg/{secrets.token_hex(4)}"}
    with site.url("discord-fake") as url:
        answer = requests.post(f"{url}/_control/messages", json=message, timeout=10)
    if answer.status_code != 201:
        raise Broken("a bot that hears the message", f"{answer.status_code}: {answer.text[:200]}")
    return str(answer.json()["message_id"])


def event_flow(site: Site) -> str:
    """A message for one guild becomes an action in its API, and in nobody else's."""
    mine, other = two_guilds(site)
    message = send(site, mine)

    def missing(url: str) -> str | None:
        answer = actions(url, mine, token(site, mine))
        if answer.status_code != 200:
            return f"{answer.status_code}: {answer.text[:200]}"
        seen = any(item["message_id"] == message for item in answer.json()["actions"])
        return None if seen else "no action for the message"

    with site.url("gateway") as url:
        seconds = eventually(lambda: missing(url), site.inputs.event_seconds, f"an action of guild {mine}")
        if message in actions(url, other, token(site, other)).text:
            raise Broken(f"nothing of it at guild {other}", "the same action")
    return f"a message became an action of guild {mine} in {seconds:.1f} s, and of no other"


def foreign_token(site: Site) -> str:
    """Another guild's token, one of nobody's key and none at all."""
    mine, other = two_guilds(site)
    forged = jwt.encode(
        {"sub": "dcm-verify", "guilds": [str(mine)], "exp": int(time.time()) + 120}, secrets.token_hex(32), algorithm="HS256"
    )
    with site.url("gateway") as url:
        own = actions(url, mine, token(site, mine)).status_code
        if own != 200:
            raise Broken("200 for the guild's own token", str(own))
        for what, bearer, wanted in (
            ("another guild's token", token(site, other), 403),
            ("a forged token", forged, 401),
            ("no token", "", 401),
        ):
            status = actions(url, mine, bearer).status_code
            if status != wanted:
                raise Broken(f"{wanted} for {what}", str(status))
    return f"guild {mine} is 403 for another guild's token, 401 for a forged one and for none"


def dashboard(site: Site) -> str:
    """Logged in with a guild's token the browser shows that guild's actions, and not another's."""
    mine, other = two_guilds(site)
    message = send(site, mine)
    with site.url("dashboard") as url:
        cookies = _log_in(url, token(site, mine))

        def missing() -> str | None:
            page = requests.get(f"{url}/guilds/{mine}", headers=cookies, timeout=10)
            return None if page.status_code == 200 and message in page.text else f"{page.status_code}, without the message"

        seconds = eventually(missing, site.inputs.event_seconds, f"the action on the page of guild {mine}")
        status = requests.get(f"{url}/guilds/{other}", headers=cookies, timeout=10).status_code
        if status != 403:
            raise Broken(f"403 on the page of guild {other}", str(status))
    return f"shows the action of guild {mine} after {seconds:.1f} s, and is 403 for guild {other}"


def _log_in(url: str, bearer: str) -> dict[str, str]:
    """The cookies of a session, as a header: they are for HTTPS alone where the site has it, and a tunnel has none."""
    form = requests.get(f"{url}/login", timeout=10)
    csrf = re.search(r'name="csrf"[^>]*value="([^"]+)"', form.text)
    jar = {cookie.name: cookie.value for cookie in form.cookies}
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
    values = {"token": bearer, "csrf": csrf[1] if csrf else ""}
    answer = requests.post(f"{url}/login", data=values, headers=header, timeout=10, allow_redirects=False)
    if answer.status_code != 303:
        raise Broken("303 after logging in", f"{answer.status_code}: {' '.join(answer.text.split())[:200]}")
    jar |= {cookie.name: cookie.value for cookie in answer.cookies}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}


PROMISES = (
    Promise(
        "services.ready",
        "Every DCM service has all its pods ready",
        ready,
        "kubectl get deployments,statefulsets -n dcm-services; helm status of the service",
        needs=("cluster.pods_running",),
    ),
    Promise(
        "services.scraped",
        "Every DCM service is ready and shows its metrics",
        scraped,
        "/readyz on port 9090 names the dependency that is away; the pod's log",
        needs=("services.ready",),
    ),
    Promise(
        "services.event_flow",
        "A message for a guild becomes an action of that guild",
        event_flow,
        "the logs of bot and worker for the guild; dcm_queue_lag and dcm_queue_dead_letters",
        needs=("services.scraped",),
    ),
    Promise(
        "services.foreign_token",
        "Another guild's token is refused",
        foreign_token,
        "the log of gateway; who holds api-signing-key",
        needs=("services.ready",),
    ),
    Promise(
        "services.dashboard",
        "The dashboard shows a guild its own actions",
        dashboard,
        "the log of dashboard; DCM_GATEWAY_URL",
        needs=("services.scraped",),
    ),
)
