# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must be written nowhere in this repository."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import GENERATED, files, short, text_of

# Written in pieces, so that this file is held to its own rules.
REGISTRIES = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "proxy." + "golang.org",
    "sum." + "golang.org",
    "repo1." + "maven.org",
    "repo." + "maven.apache.org",
    "deb." + "debian.org",
    "security." + "debian.org",
    "crates" + ".io",
    "rubygems" + ".org",
]
WORDS = {
    "a default that asks to be changed": r"change" + r"me",
    "a note instead of work": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a moving image tag": r"[\w./-]:lat" + r"est\b",
    "a path of one machine": r"(?<![\w.}])/(wo" + r"rk|fa" + r"rm)/|/ro" + r"ot/(?!\.)|/tmp/(pl" + r"an|gobu" + r"ild)",
    "a swallowed error": r"^\s*(- )?ignore_err" + r"ors:",
    "a piped installer": r"(curl|wget)[^\n|]*\|\s*(sudo )?(ba)?sh",
}


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_registry_is_named(host: str) -> None:
    """Where packages come from is the machine's business, so that a mirror serves as well as the original."""
    assert not [short(path) for path in files() if host in (text_of(path) or "")]


@pytest.mark.parametrize("why", WORDS)
def test_words_that_nobody_writes(why: str) -> None:
    pattern = re.compile(WORDS[why])
    found = []
    for path in files():
        if path.name in GENERATED:
            continue
        lines = (text_of(path) or "").splitlines()
        found += [f"{short(path)}:{number}: {line.strip()[:120]}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert not found, f"{why}:\n" + "\n".join(found)


def test_own_python_files_name_their_licence() -> None:
    header = ["# Copyright: (c) 2026, DCM platform engineers", "# GNU General Public License v3.0+ (see LICENSE or"]
    found = []
    for path in files():
        if path.suffix == ".py" and (text := text_of(path)):
            start = text.splitlines()[:5]
            if not all(any(line.startswith(wanted) for line in start) for wanted in header):
                found.append(short(path))
    assert not found
