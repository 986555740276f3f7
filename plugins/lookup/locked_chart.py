# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases of upstream charts, as the chart lock has them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: locked_chart
short_description: A release of an upstream chart, from charts/lock.yml
version_added: "0.1.0"
description:
  - Returns what C(charts/lock.yml) says of a chart as options of M(dcm.platform.helm_release) - name, namespace, where the chart comes
    from by C(platform_chart_source), its version and its digest. Combine it with what the role adds.
  - A chart without a known digest is refused in staging and production with profile V(full); elsewhere there is a warning.
  - With a source of type C(folder) the package has to be there; nothing is asked for over the network, now or by the release.
options:
  _terms:
    description: Names of charts in the lock.
    type: list
    elements: str
    required: true
  source:
    description: Where charts come from. By default the inventory's C(platform_chart_source).
    type: dict
  profile:
    description: By default the inventory's C(platform_profile).
    type: str
  environment:
    description: By default the inventory's C(platform_environment).
    type: str
  lock_file:
    description: Another lock file than that of this collection.
    type: path
author:
  - DCM platform engineers (@dcm)
seealso:
  - module: dcm.platform.helm_release
"""

EXAMPLES = r"""
- name: Install a locked chart
  ansible.builtin.include_role: {name: dcm.platform.helm_release}
  vars:
    helm_release_spec: "{{ lookup('dcm.platform.locked_chart', 'traefik') | combine({'timeout': '10m'}) }}"
    helm_release_values: [{deployment: {replicas: 2}}]
"""

RETURN = r"""
_raw:
  description: One dictionary for each name.
  type: list
  elements: dict
  sample:
    - name: external-dns
      namespace: external-dns
      chart_version: 1.21.1
      chart_ref: external-dns
      chart_repo_url: https://kubernetes-sigs.github.io/external-dns
      chart_digest: 5dd033a4b872bf641860695705ee460031d0bc695f114bf8926fee6736814e19
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import (
    LockedChart,
    chosen,
    digest_problem,
    read_lock,
    read_source,
    release_of,
)
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

LOCK = Path(__file__).resolve().parents[2] / "charts" / "lock.yml"
display = Display()


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(direct=kwargs)
        known = variables or {}
        try:
            lock = Path(self.get_option("lock_file") or LOCK)
            charts = read_lock(lock.read_text(encoding="utf-8"), str(lock))
            by_name = {chart.name: chart for chart in chosen(charts, terms)}
            return [self._release(by_name[term], known) for term in terms]
        except (PlatformError, OSError) as error:
            raise AnsibleLookupError(f"locked_chart: {error}") from error

    def _release(self, chart: LockedChart, known: dict[str, Any]) -> dict[str, Any]:
        text, refused = digest_problem(chart, str(self._input("profile", known)), str(self._input("environment", known)))
        if refused:
            raise PlatformError(text)
        if text:
            display.warning(text)
        source = read_source(self._input("source", known, "platform_chart_source"))
        release = release_of(chart, source)
        if source.kind == "folder" and not Path(release["chart_ref"]).is_file():
            raise PlatformError(
                f"platform_chart_source names the folder {source.path}, which has no {chart.package}. "
                "Where chart repositories can be reached, `ansible-playbook playbooks/charts_mirror.yml` makes such a folder."
            )
        return release

    def _input(self, option: str, known: dict[str, Any], variable: str = "") -> Any:
        """What was given, or the inventory's variable."""
        given = self.get_option(option)
        name = variable or f"platform_{option}"
        if given is not None:
            return given
        if name not in known:
            raise PlatformError(f"{name} is not defined. The inventory has to say it, or the lookup's option {option}.")
        return self._templar.template(known[name])
