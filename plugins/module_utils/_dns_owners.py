# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who owns DNS names, by the TXT records that external-dns keeps beside its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import dns.exception
import dns.resolver
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Ask = Callable[[str], list[str]]

# Where external-dns writes them: before the name for each kind of record; older versions at the name itself.
_PREFIXES = ("a-", "aaaa-", "cname-", "")
_OWNER = re.compile(r"heritage=external-dns,external-dns/owner=([^,]+)")


def owner_names(host: str) -> list[str]:
    """The names at which the owner of a host name may be written."""
    return [f"{prefix}{host}" for prefix in _PREFIXES]


def owners(hosts: Iterable[str], ask: Ask) -> dict[str, str]:
    """The owner of each host name that has one."""
    found = {}
    for host in hosts:
        for name in owner_names(host):
            if match := _OWNER.search(" ".join(ask(name))):
                found[host] = match[1]
    return found


def resolver(nameservers: list[str], port: int = 53, seconds: float = 5.0) -> Ask:
    """Ask these name servers (addresses), or those of the machine; a name that is not there has no texts."""
    asking = dns.resolver.Resolver(configure=not nameservers)
    asking.lifetime = seconds
    if nameservers:
        asking.nameservers = list(nameservers)
        asking.port = port

    def ask(name: str) -> list[str]:
        try:
            answer = asking.resolve(f"{name}.", "TXT", tcp=bool(nameservers))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            servers = ", ".join(nameservers) or "the name servers of this machine"
            raise PlatformError(f"{servers} cannot be asked for {name}: {error}") from error
        return [b"".join(record.strings).decode(errors="replace") for record in answer]

    return ask
