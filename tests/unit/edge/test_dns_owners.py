# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Owners of DNS names, as external-dns writes them down."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._dns_owners import owners

TEXT = "heritage=external-dns,external-dns/owner={},external-dns/resource=httproute/web/gateway"


@pytest.mark.parametrize("place", ["a-api.example.org", "aaaa-api.example.org", "cname-api.example.org", "api.example.org"])
def test_every_place_is_looked_at(place: str) -> None:
    zone = {place: ["v=spf1 -all", TEXT.format("other")]}
    assert owners(["api.example.org", "app.example.org"], lambda name: zone.get(name, [])) == {"api.example.org": "other"}


def test_other_texts_own_nothing() -> None:
    assert owners(["api.example.org"], lambda _name: ["heritage=somebody,owner=me"]) == {}
