#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which database server each guild lives on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_placement
short_description: Which database server each guild lives on
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Asks every placement of the site about all named guilds, in one statement each, and sorts the guilds by where they live.
  - A guild that nobody knows goes where its entry says, or to O(default_placement).
  - Fails where an entry names another placement than the one that the guild lives on, or one that does not exist, and where two servers
    have the same guild.
options:
  guilds:
    description: Guilds as M(dcm.platform.guild_schema) takes them.
    type: list
    elements: raw
    default: []
  guilds_file:
    description: A CSV, JSON or YAML file with more of them.
    type: path
  default_placement:
    description: Where guilds go that nobody knows.
    type: str
    default: default
  ids_only:
    description: Whether the answer holds nothing but ids, for modules that take no more.
    type: bool
    default: false
  assume_empty:
    description: In check mode, a server that cannot be reached (yet) counts as an empty one. Ignored otherwise.
    type: bool
    default: false
extends_documentation_fragment:
  - dcm.platform.guild_connection
  - dcm.platform.guild_placements
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Find two guilds
  dcm.platform.guild_placement:
    placements: "{{ placements }}"
    guilds: ["1100000000000000001", "1100000000000000002"]
"""

RETURN = r"""
placements:
  description: By name of placement the guilds there, each as its id, or with the keys id, plan and state where more was given than the id.
  returned: success
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils import _guild_input as source
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds": {"type": "list", "elements": "raw", "default": []},
    "guilds_file": {"type": "path"},
    "default_placement": {"type": "str", "default": "default"},
    "ids_only": {"type": "bool", "default": False},
    "assume_empty": {"type": "bool", "default": False},
}


def answer(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Every input is checked before a server is asked."""
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_placements as placements

    entries = list(source.option_entries(options["guilds"]))
    if options["guilds_file"]:
        entries.extend(source.file_entries(options["guilds_file"]))
    wanted = source.read_wanted(entries)
    given = {guild.guild_id: _entry(guild, entry, options) for guild, (_where, entry) in zip(wanted, entries, strict=True)}
    empty = check and options["assume_empty"]
    with args.open_placements(options, empty) as accesses:
        views = {name: placements.ask(name, access, list(given), empty) for name, access in accesses.items()}
    routes = placements.route(wanted, views, options["default_placement"])
    if routes.refused:
        raise PlatformError(
            f"{len(routes.refused)} of {len(wanted)} guilds refused, nothing was changed: {placements.shorten(routes.refused)}"
        )
    return {"placements": {name: [given[guild.guild_id] for guild in guilds] for name, guilds in routes.by_placement.items()}}


def _entry(guild: Wanted, entry: Any, options: dict[str, Any]) -> Any:
    """As it was given: what it does not say is for the next module to fill in."""
    said = {key: entry[key] for key in ("plan", "state") if entry.get(key)} if isinstance(entry, Mapping) else {}
    return {"id": str(guild.guild_id), **said} if said and not options["ids_only"] else str(guild.guild_id)


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, "placements": args.PLACEMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **answer(module.params, module.check_mode))
    except PlatformError as problem:
        module.fail_json(msg=str(problem))


if __name__ == "__main__":
    main()
