# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The chart lock: which upstream charts there are, and what a release of one says about where its chart comes from. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

# Where nothing of unknown content is installed.
DIGEST_NEEDED = frozenset({"staging", "production"})
FILL_IN = "ansible-playbook playbooks/charts_lock.yml"

_FORMS = {
    "repository": (re.compile(r"(https|oci)://[^\s/]+(/[^\s/]+)*"), "an https:// or oci:// address without a slash at its end"),
    "chart": (re.compile(r"[a-z0-9][a-z0-9.-]*"), "the name of a chart"),
    "version": (re.compile(r"v?\d+\.\d+\.\d+([-+][\w.+-]+)?"), "one whole version"),
    "sha256": (re.compile(r"([0-9a-f]{64})?"), "null or the 64 hexadecimal digits that charts_lock.yml writes"),
    "app_version": (re.compile(r"\S+"), "the appVersion of the chart, as text"),
    "licence": (re.compile(r"[\w.+()-]+( [\w.+()-]+)*"), "an SPDX expression"),
    "namespace": (re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"), "the name of a namespace"),
}
_SOURCES = {
    "upstream": (set[str](), ""),
    "mirror": ({"url", "plain_http"}, "url"),
    "folder": ({"path"}, "path"),
}


@dataclass(frozen=True)
class LockedChart:
    """One entry of the lock. ``sha256`` is empty where it is not known yet."""

    name: str
    repository: str
    chart: str
    version: str
    sha256: str
    app_version: str
    licence: str
    namespace: str

    @property
    def package(self) -> str:
        """The file name of the packaged chart, as helm writes it."""
        return f"{self.chart}-{self.version}.tgz"


@dataclass(frozen=True)
class ChartSource:
    """Where the charts of a site come from: their own repositories, one mirror of all, or a folder of packages."""

    kind: str = "upstream"
    url: str = ""
    path: str = ""
    plain_http: bool = False


def read_lock(text: str, where: str = "charts/lock.yml") -> dict[str, LockedChart]:
    """The charts of a lock file by name, in its order; everything that is wrong with it at once."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlatformError(f"{where} is not YAML: {error}") from error
    entries = document.get("charts") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise PlatformError(f"{where} has no `charts:` with entries by name.")
    problems = [problem for name, entry in entries.items() for problem in _entry_problems(name, entry)]
    if problems:
        raise PlatformError(f"{where} does not fit:\n" + "\n".join(f"  - {problem}" for problem in problems))
    charts = {name: LockedChart(name=name, **{**entry, "sha256": entry["sha256"] or ""}) for name, entry in entries.items()}
    packages = [chart.package for chart in charts.values()]
    twice = sorted({package for package in packages if packages.count(package) > 1})
    if twice:
        raise PlatformError(f"{where}: {', '.join(twice)} would be two charts in one folder or mirror. Chart names have to differ.")
    return charts


def chosen(charts: Mapping[str, LockedChart], names: list[str] | None) -> list[LockedChart]:
    """The named charts, or all."""
    if unknown := sorted(set(names or []) - set(charts)):
        raise PlatformError(f"no chart named {', '.join(unknown)} is in the lock; there are {', '.join(charts)}")
    return [chart for name, chart in charts.items() if names is None or name in names]


def _entry_problems(name: Any, entry: Any) -> list[str]:
    wanted = {field.name for field in fields(LockedChart)} - {"name"}
    if not isinstance(entry, dict) or set(entry) != wanted:
        return [f"{name}: has to have exactly {', '.join(sorted(wanted))}"]
    problems = []
    for field, (pattern, what) in _FORMS.items():
        value = "" if entry[field] is None and field == "sha256" else entry[field]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            problems.append(f"{name}: {field}: {entry[field]!r} is not {what}" + ("" if isinstance(value, str) else "; write it in quotes"))
    return problems


def read_source(value: Any) -> ChartSource:
    """`platform_chart_source`, checked."""
    if not isinstance(value, Mapping) or value.get("type") not in _SOURCES:
        raise PlatformError(
            f"platform_chart_source = {value!r}: write {{type: upstream}}, {{type: mirror, url: …}} or {{type: folder, path: …}}."
        )
    kind = str(value["type"])
    given = {key: item for key, item in value.items() if key != "type" and item not in (None, "", False)}
    known, needed = _SOURCES[kind]
    if needed and needed not in given:
        raise PlatformError(f"platform_chart_source of type {kind} has to say {needed}.")
    if foreign := sorted(set(given) - known):
        raise PlatformError(f"platform_chart_source of type {kind} does not know {', '.join(foreign)}.")
    url = str(given.get("url", "")).rstrip("/")
    path = str(given.get("path", ""))
    if url and not re.fullmatch(r"(https?|oci)://\S+", url):
        raise PlatformError(f"platform_chart_source.url = {url!r} is neither an https:// nor an oci:// address.")
    if path and not path.startswith("/"):
        raise PlatformError(f"platform_chart_source.path = {path!r} has to be an absolute path.")
    return ChartSource(kind, url, path, bool(given.get("plain_http", False)))


def digest_problem(chart: LockedChart, profile: str, environment: str) -> tuple[str, bool]:
    """What is to be said about a chart of unknown content, and whether it is refused."""
    if chart.sha256:
        return "", False
    refused = profile == "full" and environment in DIGEST_NEEDED
    text = f"chart {chart.name} {chart.version} has no sha256 in charts/lock.yml, so its content is not checked"
    if refused:
        text = f"chart {chart.name} {chart.version} has no sha256 in charts/lock.yml, and {environment} installs nothing of unknown content"
    return f"{text}. Where chart repositories can be reached, `{FILL_IN}` fills it in.", refused


def release_of(chart: LockedChart, source: ChartSource) -> dict[str, Any]:
    """What the lock says of a release, in the words of `helm_release`."""
    release: dict[str, Any] = {"name": chart.name, "namespace": chart.namespace, "chart_version": chart.version}
    if source.kind == "folder":
        release["chart_ref"] = f"{source.path.rstrip('/')}/{chart.package}"
    else:
        repository = source.url or chart.repository
        oci = repository.startswith("oci://")
        release |= {"chart_ref": f"{repository}/{chart.chart}"} if oci else {"chart_ref": chart.chart, "chart_repo_url": repository}
        release |= {"plain_http": True} if source.plain_http else {}
    return release | ({"chart_digest": chart.sha256} if chart.sha256 else {})


@dataclass(frozen=True)
class FoundPackage:
    """What a repository handed out for a locked chart."""

    name: str
    version: str
    sha256: str
    app_version: str


def lock_change(chart: LockedChart, found: FoundPackage, accepted: bool) -> dict[str, str]:
    """The fields of an entry that the package settles; content that changed under its version is an error unless it is accepted."""
    if (found.name, found.version) != (chart.chart, chart.version):
        raise PlatformError(f"{chart.name}: the package of {chart.chart} {chart.version} says that it is {found.name} {found.version}.")
    if chart.sha256 and found.sha256 != chart.sha256 and not accepted:
        raise PlatformError(
            f"{chart.name}: {chart.repository} hands out another content for {chart.chart} {chart.version}: sha256 {found.sha256}, "
            f"locked is {chart.sha256}. A published version does not change: find out why. Only then name it in `accept`."
        )
    new = {"sha256": found.sha256, "app_version": found.app_version or chart.app_version}
    return {field: value for field, value in new.items() if value != getattr(chart, field)}


def changed_lock(text: str, changes: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a lock file with these fields changed; order, comments and everything else stay."""
    lines, name = [], ""
    for line in text.splitlines(keepends=True):
        if entry := re.match(r"  ([^\s#:]+):\s*$", line):
            name = entry[1]
        field = re.match(r"    (\w+): ", line)
        change = changes.get(name, {}).get(field[1]) if field else None
        lines.append(line if field is None or change is None else f"    {field[1]}: {_scalar(change)}\n")
    return "".join(lines)


def _scalar(value: str) -> str:
    """A text as YAML reads it back as text."""
    return str(yaml.safe_dump(value).splitlines()[0])
