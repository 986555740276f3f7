#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Helm releases, many at once
version_added: 0.1.0
description:
  - Installs, upgrades, repairs and removes Helm releases from the controller, with the Helm 4 command line (Helm 3 works too).
  - Takes one release, or a list with dependencies; independent releases are worked on side by side.
  - A release whose chart, values and options are those of its last revision is recognised from a label of that revision,
    without rendering and without starting helm. All releases of a task are looked up in one request.
  - Option names are those of M(kubernetes.core.helm), so that a task can be moved over. O(wait) and O(atomic) are on by default here.
author:
  - DCM platform engineers (@dcm)
options:
  release_name:
    description: Name of the release. Required, here or in each entry of O(releases).
    type: str
    aliases: [name]
  release_namespace:
    description: Namespace of the release. Required, here or in each entry of O(releases).
    type: str
    aliases: [namespace]
  release_state:
    description: Whether the release is to be there. Removing a release leaves its data, see O(keep_pvcs) and O(keep_crds).
    type: str
    choices: [present, absent]
    default: present
    aliases: [state]
  chart_ref:
    description:
      - A chart folder, a packaged chart, an C(oci://) or C(https://) address, or a chart's name together with O(chart_repo_url).
      - Relative paths start at the playbook's folder. What is not on this machine is pulled once and kept in O(chart_cache).
    type: str
  chart_version:
    description: Version of a chart that is not on this machine. Without an exact one (or O(chart_digest)) it is pulled at every run.
    type: str
  chart_repo_url:
    description: URL of the chart repository.
    type: str
  chart_digest:
    description:
      - The sha256 of the packaged chart. Any other is an error that names chart, expected and found, before anything is changed.
    type: str
  release_values:
    description:
      - Values, as a dictionary or as a list of dictionaries. Layers are merged deep, the later one wins, lists are replaced.
      - A null removes the chart's default, as in Helm.
      - Values reach helm on its standard input, never on a command line or in a file.
    type: raw
    aliases: [values]
  values_files:
    description: YAML files on the controller, merged in order below O(release_values). May be encrypted with Ansible Vault.
    type: list
    elements: str
  create_namespace:
    description: Create the namespace if it is not there.
    type: bool
    default: false
  wait:
    description: Wait until the release is ready, in the way that O(wait_strategy) says.
    type: bool
    default: true
  wait_strategy:
    description:
      - How to wait. It is always passed on, because Helm's own default differs between versions and options.
      - V(legacy) waits for pods, workloads, claims and services. It is the default, because it knows when each of these is done.
      - V(watcher) also waits for every custom resource, so that an optional one that never gets ready blocks the release. Helm 4 only.
      - V(hookOnly) waits for hooks alone.
    type: str
    choices: [hookOnly, legacy, watcher]
    default: legacy
  wait_for_jobs:
    description: Wait for Jobs to complete too. Has no effect with V(hookOnly).
    type: bool
    default: false
  timeout:
    description: How long Helm waits for each operation, for example V(90s), V(5m) or V(1h30m). A plain number is seconds.
    type: str
    default: 5m
  atomic:
    description:
      - Put back what was before when it fails - roll back to the last good revision, or remove what a first install left.
      - Pods are asked why they are not ready before that, and the answer is in the error.
    type: bool
    default: true
  cleanup_on_fail:
    description: Delete new objects of a failed upgrade.
    type: bool
    default: false
  crds:
    description:
      - What happens to the definitions in the chart's C(crds) folder and those of its enabled sub-charts.
      - V(apply) applies them server-side before the release, on upgrades too, and waits until they are established.
      - V(helm) leaves them to Helm, which installs them once and never again. V(skip) leaves them alone.
    type: str
    choices: [apply, helm, skip]
    default: apply
  skip_crds:
    description: The same as O(crds=skip).
    type: bool
    default: false
  disable_hook:
    description: Do not run hooks.
    type: bool
    default: false
  drift:
    description:
      - Compare the live objects with the manifest of the release by a server-side dry run, and put back what differs.
      - Fields that the manifest does not set do not count; nor do replicas that an autoscaler of the release sets, and finished Jobs.
    type: bool
    default: false
  force:
    description: Replace objects that cannot be updated.
    type: bool
    default: false
  force_conflicts:
    description: Take over fields that another manager owns. Helm 4 only.
    type: bool
    default: false
  server_side:
    description: Whether Helm applies server-side. Helm 4 only; left to Helm when not set.
    type: str
    choices: ["auto", "true", "false"]
  history_max:
    description: How many revisions are kept.
    type: int
    default: 10
  insecure_skip_tls_verify:
    description: Do not check the certificate of the server that the chart comes from.
    type: bool
    default: false
    aliases: [skip_tls_certs_check]
  keep_crds:
    description: Whether removing the release leaves the definitions of its chart, and with them every object of their kinds.
    type: bool
    default: true
  keep_pvcs:
    description: Whether removing the release leaves its volume claims, those of its StatefulSets included.
    type: bool
    default: true
  lock_timeout:
    description:
      - After how long a pending revision of unknown origin counts as dead. By default twice O(timeout), at least ten minutes.
      - A revision that this module left pending on this machine is recognised at once, by its helm process being gone.
    type: str
  plain_http:
    description: Fetch the chart without TLS.
    type: bool
    default: false
  post_renderer:
    description: Name of a post-renderer, as Helm wants it.
    type: str
  retries:
    description: How often it is tried again after an error that passes by itself, such as a webhook that is not up yet.
    type: int
    default: 2
  skip_schema_validation:
    description: Do not check values against the chart's schema.
    type: bool
    default: false
  take_ownership:
    description: Adopt objects that another owner made.
    type: bool
    default: false
  depends_on:
    description: Releases of the same list that have to be ready before this one is touched. Removal goes in the opposite order.
    type: list
    elements: str
  releases:
    description:
      - Several releases. Each entry takes the options above; what it does not set is taken from the task.
      - One that fails stops those that depend on it. The others are finished, and all are reported.
      - Where a name occurs in two namespaces, V(namespace/name) stands for it in O(depends_on) and in the result.
    type: list
    elements: dict
  parallel:
    description: How many releases are worked on at the same time.
    type: int
    default: 4
  binary_path:
    description: The helm command.
    type: path
    default: helm
  kubeconfig:
    description:
      - Path of a kubeconfig. Users with client certificates, tokens, token files and exec plugins are understood.
      - E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG) and C(~/.kube/config) are looked at in this order when it is not set.
    type: path
    aliases: [kubeconfig_path]
  context:
    description: Context in the kubeconfig; E(K8S_AUTH_CONTEXT), then the current one, when not set.
    type: str
    aliases: [kube_context]
  chart_cache:
    description: Folder for charts that were pulled.
    type: path
    default: ~/.cache/dcm-platform/charts
attributes:
  check_mode:
    description: Renders through the server without changing anything, and returns what the run would return.
    support: full
  diff_mode:
    description: Shows each object. Secrets and values with secret-like names are replaced by a short hash with a key that is thrown away.
    support: full
requirements:
  - helm 4, or 3.18 and later
seealso:
  - module: kubernetes.core.helm
"""

EXAMPLES = r"""
- name: Install a chart
  dcm.platform.helm_release:
    release_name: gateway
    release_namespace: dcm-services
    create_namespace: true
    chart_ref: "{{ chart_folder }}"
    release_values:
      - replicas: 1
      - "{{ gateway_values | default({}) }}"

- name: Install several releases, two of them side by side
  dcm.platform.helm_release:
    release_namespace: dcm-services
    create_namespace: true
    timeout: 10m
    releases:
      - name: base
        chart_ref: "{{ chart_folder }}"
      - name: bot
        chart_ref: "{{ chart_folder }}"
        depends_on: [base]
      - name: worker
        chart_ref: "{{ chart_folder }}"
        depends_on: [base]

- name: Repair what was changed by hand
  dcm.platform.helm_release:
    release_name: gateway
    release_namespace: dcm-services
    chart_ref: "{{ chart_folder }}"
    release_values: {replicas: 1}
    drift: true

- name: Remove a release, keeping its volumes and definitions
  dcm.platform.helm_release:
    release_name: gateway
    release_namespace: dcm-services
    release_state: absent
"""

RETURN = r"""
releases:
  description: What was done with each release, by its name. The keys are the same in check mode.
  returned: always
  type: dict
  contains:
    changed:
      description: Whether something was changed.
      type: bool
    status:
      description: C(deployed), C(absent), C(failed), C(skipped) because a dependency failed, or another state of Helm's.
      type: str
    revision:
      description: The revision that is now in force.
      type: int
    chart:
      description: Name and version of the chart.
      type: str
    app_version:
      description: Version of the application, as the chart says.
      type: str
    action:
      description: C(none), C(install), C(upgrade), C(repair) or C(uninstall).
      type: str
    reason:
      description: Why that was done.
      type: str
    duration_s:
      description: How long it took.
      type: float
    objects:
      description: Objects that were added, changed or removed. Filled in check and diff mode, and by O(drift).
      type: list
      elements: str
      sample: ["+ ConfigMap web", "~ Deployment web"]
    diff:
      description: The masked difference of each object, in diff mode.
      type: list
      elements: dict
    msg:
      description: What went wrong.
      type: str
  sample:
    gateway:
      changed: true
      status: deployed
      revision: 3
      chart: dcm-service-0.1.0
      app_version: "1.0"
      action: upgrade
      reason: chart, values or options differ from revision 2
      duration_s: 12.4
      objects: []
      diff: []
      msg: ""
"""
