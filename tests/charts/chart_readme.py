# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of values in a chart's README: said once, in values.yaml. `python -m tests.charts.chart_readme [chart ...]` writes it anew."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

START, END = "<!-- values: written from values.yaml -->", "<!-- end of values -->"
_KEY = re.compile(r"^( *)([A-Za-z][\w-]*):")


def described(text: str) -> Iterator[tuple[str, str]]:
    """Path and description of every key under a "# --" comment; a key of a map without one is an error."""
    parents: list[tuple[int, str]] = []
    description = ""
    for line in text.splitlines():
        if comment := re.match(r"^ *# -- (.*)$", line):
            description = comment[1]
        elif key := _KEY.match(line):
            parents = [entry for entry in parents if entry[0] < len(key[1])] + [(len(key[1]), key[2])]
            if description:
                yield ".".join(name for _, name in parents), description
            description = ""


def default(values: Any, path: str) -> str:
    for name in path.split("."):
        values = values[name]
    return json.dumps(values, ensure_ascii=False)


def leaves(values: dict[str, Any], documented: set[str], path: str = "") -> Iterator[str]:
    """Every path that the table must have: what is documented, and what lies under no documented key."""
    for name, value in values.items():
        here = f"{path}{name}"
        if here in documented or not isinstance(value, dict) or not value:
            yield here
        else:
            yield from leaves(value, documented, f"{here}.")


def table(chart: Path) -> str:
    text = (chart / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows = dict(described(text))
    if missing := [path for path in leaves(values, set(rows)) if path not in rows]:
        raise ValueError(f"{chart.name}/values.yaml describes no {', '.join(missing)}: put a '# --' comment above")
    lines = ["| value | default | meaning |", "|---|---|---|"]
    lines += [f"| `{path}` | `{default(values, path)}` | {meaning} |" for path, meaning in rows.items()]
    return "\n".join([START, *lines, END])


def main(charts: list[str]) -> None:
    root = Path(__file__).parents[2] / "charts"
    for path in [root / name for name in charts] or [found.parent for found in sorted(root.glob("*/README.md"))]:
        if (path / "values.yaml").exists():
            readme = path / "README.md"
            before, rest = readme.read_text().split(START)
            readme.write_text(before + table(path) + rest.split(END)[1])


if __name__ == "__main__":
    main(sys.argv[1:])
