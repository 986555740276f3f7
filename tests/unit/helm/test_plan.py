# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables for the decisions of the chart engine."""

from __future__ import annotations

import graphlib
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import (
    LABEL_DIGEST,
    LABEL_OWNER,
    LABEL_REVISION,
    Record,
    Release,
    check_release,
    decide,
    dependency_graph,
    parse_digest,
    parse_duration,
    release_digest,
    release_keys,
    upgrade_arguments,
    wait_arguments,
)

NOW = 10_000.0


def record(revision: int, status: str, digest: str = "", age: float = 5, labelled: int | None = None) -> Record:
    labels = {LABEL_DIGEST: digest, LABEL_REVISION: str(labelled or revision), LABEL_OWNER: "host.1"} if digest else {}
    return Record(revision, status, f"secret-{revision}", NOW - age, labels)


def release(**options: Any) -> Release:
    return Release(**{"name": "web", "namespace": "apps", "chart_ref": "chart", **options})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m0s", 300), ("1h30m", 5400), ("300", 300), (45, 45), ("1.5m", 90), ("0.2s", 1)]
)
def test_durations(text: str | int, seconds: int) -> None:
    assert parse_duration(text, "timeout") == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "m", "-5s", "5m0", "1s1m"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(PlatformError, match=r"releases\[1\]\.timeout: .* is not a duration"):
        parse_duration(text, "releases[1].timeout")


def test_digests() -> None:
    assert parse_digest("", "chart_digest") == ""
    assert parse_digest("sha256:" + "A" * 64, "chart_digest") == "a" * 64
    with pytest.raises(PlatformError, match="is not a sha256"):
        parse_digest("abc", "chart_digest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Web"}, "release_name 'Web' is not valid"),
        ({"name": "w" * 54}, "is not valid"),
        ({"namespace": "a.b"}, "release_namespace 'a.b' is not the name of a namespace"),
        ({"chart_ref": ""}, "chart_ref is required"),
        ({"force": True, "force_conflicts": True}, "force cannot be combined"),
        ({"server_side": "false", "force_conflicts": True}, "needs server-side apply"),
    ],
)
def test_releases_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        check_release(release(**options))


SAME, OTHER = "d1", "d2"
HISTORIES: list[tuple[str, list[Record], str, tuple[str, str, int]]] = [
    ("nothing there", [], "unknown", ("install", "", 0)),
    ("uninstalled, history kept", [record(1, "uninstalled")], "unknown", ("install", "", 0)),
    ("the same", [record(1, "superseded", SAME), record(2, "deployed", SAME)], "unknown", ("none", "", 0)),
    ("another digest", [record(1, "deployed", OTHER)], "unknown", ("upgrade", "", 0)),
    ("made by someone else", [record(1, "deployed")], "unknown", ("upgrade", "", 0)),
    (
        "labels copied by someone else",
        [record(1, "superseded", SAME), record(2, "deployed", SAME, labelled=1)],
        "unknown",
        ("upgrade", "", 0),
    ),
    ("failed with the same digest", [record(1, "failed", SAME)], "unknown", ("upgrade", "", 0)),
    ("dead upgrade", [record(1, "deployed", OTHER), record(2, "pending-upgrade", SAME)], "gone", ("upgrade", "rollback", 1)),
    (
        "dead upgrade after a failure",
        [record(1, "deployed", OTHER), record(2, "failed"), record(3, "pending-upgrade")],
        "gone",
        ("upgrade", "rollback", 1),
    ),
    ("dead first install", [record(1, "pending-install", SAME)], "gone", ("install", "discard", 0)),
    ("old rollback", [record(1, "superseded", OTHER), record(2, "pending-rollback", age=601)], "unknown", ("upgrade", "rollback", 1)),
    ("dead removal", [record(1, "uninstalling", SAME, age=601)], "unknown", ("install", "uninstall", 0)),
]


@pytest.mark.parametrize(("history", "owner", "expected"), [case[1:] for case in HISTORIES], ids=[case[0] for case in HISTORIES])
def test_decisions(history: list[Record], owner: str, expected: tuple[str, str, int]) -> None:
    decision = decide(release(timeout=60), history, SAME, owner, NOW)
    assert (decision.action, decision.recover, decision.rollback_to) == expected
    assert decision.reason


@pytest.mark.parametrize(
    ("history", "action"),
    [
        ([], "none"),
        ([record(1, "uninstalled")], "none"),
        ([record(1, "deployed")], "uninstall"),
        ([record(1, "failed")], "uninstall"),
        ([record(1, "pending-install", age=601)], "uninstall"),
    ],
)
def test_decisions_about_what_is_to_go(history: list[Record], action: str) -> None:
    assert decide(release(state="absent", timeout=60), history, "", "unknown", NOW).action == action


@pytest.mark.parametrize(("owner", "age"), [("alive", 9_000), ("unknown", 599)])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_lock_that_may_be_alive_is_an_error(owner: str, age: float, state: str) -> None:
    history = [record(1, "deployed", OTHER), record(2, "pending-upgrade", SAME, age=age)]
    with pytest.raises(PlatformError, match="release 'web' in namespace 'apps' is pending-upgrade"):
        decide(release(state=state, timeout=60), history, SAME, owner, NOW)


@pytest.mark.parametrize("change", [{"values": {"a": 1}}, {"crds": "skip"}, {"disable_hook": True}, {"post_renderer": "x"}])
def test_the_digest_covers_what_decides_the_outcome(change: dict[str, Any]) -> None:
    assert release_digest(release(**change), "c") != release_digest(release(), "c")


def test_the_digest_ignores_what_does_not_and_fits_a_label() -> None:
    digest = release_digest(release(values={"a": 1, "b": 2}), "c")
    assert digest == release_digest(release(values={"b": 2, "a": 1}, timeout=9, wait=False), "c")
    assert digest != release_digest(release(values={"a": 1, "b": 2}), "d")
    assert len(digest) <= 63


def graph_of(*releases: Release) -> dict[str, set[str]]:
    return dependency_graph(release_keys(releases))


def test_dependencies() -> None:
    present = [release(name="a"), release(name="b", depends_on=("a",))]
    assert graph_of(*present) == {"a": set(), "b": {"a"}}
    absent = [release(name="a", state="absent"), release(name="b", state="absent", depends_on=("a",))]
    assert graph_of(*absent) == {"a": {"b"}, "b": set()}
    assert graph_of(release(name="a"), release(name="b", state="absent", depends_on=("a",))) == {"a": set(), "b": set()}


def test_dependencies_that_cannot_be() -> None:
    with pytest.raises(PlatformError, match="depends on 'x', which is not in the list"):
        graph_of(release(name="a", depends_on=("x",)))
    with pytest.raises(PlatformError, match="which is to be removed"):
        graph_of(release(name="a", state="absent"), release(name="b", depends_on=("a",)))
    with pytest.raises(PlatformError, match="listed twice"):
        graph_of(release(name="a"), release(name="a"))
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph_of(release(name="a", depends_on=("b",)), release(name="b", depends_on=("a",)))).prepare()


def test_a_name_in_two_namespaces_is_told_apart() -> None:
    assert list(release_keys([release(name="a"), release(name="a", namespace="other"), release(name="b")])) == ["apps/a", "other/a", "b"]


@pytest.mark.parametrize(
    ("options", "major", "expected"),
    [
        ({}, 4, ["--wait=legacy", "--timeout=300s"]),
        ({"wait": False}, 4, ["--wait=hookOnly", "--timeout=300s"]),
        ({"wait": False, "wait_for_jobs": True}, 4, ["--wait=hookOnly", "--timeout=300s"]),
        ({"wait_strategy": "watcher", "wait_for_jobs": True}, 4, ["--wait=watcher", "--wait-for-jobs", "--timeout=300s"]),
        ({}, 3, ["--wait", "--timeout=300s"]),
        ({"wait": False}, 3, ["--timeout=300s"]),
    ],
)
def test_wait_is_always_explicit(options: dict[str, Any], major: int, expected: list[str]) -> None:
    assert wait_arguments(release(**options), major) == expected


def test_helm_3_has_no_watcher_and_no_server_side() -> None:
    with pytest.raises(PlatformError, match="needs Helm 4"):
        wait_arguments(release(wait_strategy="watcher"), 3)
    with pytest.raises(PlatformError, match="need Helm 4"):
        upgrade_arguments(release(server_side="true"), "c", {}, 3)


@pytest.mark.parametrize(
    ("options", "major", "flags"),
    [
        ({"crds": "apply"}, 4, ["--skip-crds"]),
        ({"force": True}, 4, ["--force-replace", "--server-side=false"]),
        ({"force": True}, 3, ["--force"]),
        ({"force_conflicts": True, "server_side": "true"}, 4, ["--force-conflicts", "--server-side=true"]),
        ({"create_namespace": True, "take_ownership": True}, 4, ["--create-namespace", "--take-ownership"]),
    ],
)
def test_options_become_flags(options: dict[str, Any], major: int, flags: list[str]) -> None:
    arguments = upgrade_arguments(release(**options), "c", {"a": "1"}, major)
    assert set(flags) <= set(arguments)
    assert "--labels=a=1" in arguments


def test_values_are_not_on_the_command_line() -> None:
    assert "hunter2" not in " ".join(upgrade_arguments(release(values={"password": "hunter2"}), "c", {}, 4))
    assert "--skip-crds" not in upgrade_arguments(release(crds="helm"), "c", {}, 4)
