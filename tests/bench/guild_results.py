# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The numbers of the guild bench as rows of CSV, and as a plot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIELDS = ("guilds", "case", "way", "wall_ms", "server_cpu_ms")


def rows(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each case and way; all figures are per guild."""
    return [
        {"guilds": numbers["guilds"], "case": case, "way": way, "wall_ms": cost["wall"], "server_cpu_ms": cost.get("server_cpu", "")}
        for case, ways in numbers["ms_per_guild"].items()
        for way, cost in ways.items()
    ]


def write_csv(path: Path, found: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def plot(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Milliseconds a guild over the number of guilds, one line for each way; both axes in powers of ten."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Words stay words: smaller, and found by a search.
    plt.rcParams.update({"svg.hashsalt": "guilds", "svg.fonttype": "none"})
    cases = list(dict.fromkeys(row["case"] for row in found))
    figure, axes = plt.subplots(1, len(cases), figsize=(3.2 * len(cases), 3.4), sharey=True, layout="constrained")
    for axis, case in zip(axes, cases, strict=True):
        for way in dict.fromkeys(row["way"] for row in found):
            points = sorted((row["guilds"], row["wall_ms"]) for row in found if (row["case"], row["way"]) == (case, way))
            if points:
                axis.loglog(*zip(*points, strict=True), marker="o", label=way)
        axis.set(title=case, xlabel="guilds")
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("ms per guild")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})
