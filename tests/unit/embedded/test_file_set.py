# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many files in one call: what is written, what is shown, and that a repeat writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.modules.file_set import converge


def wanted(root: Path) -> dict[str, Any]:
    source = root / "source"
    source.write_text("token")
    program = root / "program"
    program.write_text("#!/bin/sh\n")
    entry = {"content": None, "source": None, "mode": "0644", "secret": False}
    return {
        "root": str(root / "etc"),
        "directories": [{"path": str(root / "etc"), "mode": "0750"}],
        "files": [
            {**entry, "path": "a.conf", "content": "a = 1\n"},
            {**entry, "path": str(root / "secret"), "source": str(source), "mode": "0600", "secret": True},
        ],
        "programs": {str(root / "bin/tool"): str(program)},
    }


def test_first_all_then_nothing(tmp_path: Path) -> None:
    params = wanted(tmp_path)
    written, diffs = converge(params, dry=False)
    assert [Path(path).name for path in written] == ["etc", "a.conf", "secret", "tool"]
    assert [diff["after"] for diff in diffs] == ["a = 1\n"], "a secret is never in a diff"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/a.conf").read_text() == "a = 1\n"
    assert converge(params, dry=False) == ([], [])


def test_check_mode_predicts_and_writes_nothing(tmp_path: Path) -> None:
    params = wanted(tmp_path)
    predicted = converge(params, dry=True)
    assert not (tmp_path / "etc").exists()
    assert converge(params, dry=False) == predicted


@pytest.mark.parametrize("damage", ["content", "mode", "gone"])
def test_a_damaged_file_is_mended_alone(tmp_path: Path, damage: str) -> None:
    params = wanted(tmp_path)
    converge(params, dry=False)
    file = tmp_path / "etc/a.conf"
    {"content": lambda: file.write_text("b"), "mode": lambda: file.chmod(0o666), "gone": file.unlink}[damage]()
    written, _ = converge(params, dry=False)
    assert written == ["a.conf"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_new_program_replaces_the_file_and_does_not_write_into_it(tmp_path: Path) -> None:
    params = wanted(tmp_path)
    converge(params, dry=False)
    tool = tmp_path / "bin/tool"
    running = tool.open()
    (tmp_path / "program").unlink()
    (tmp_path / "program").write_text("#!/bin/sh\n# second\n")
    written, _ = converge(params, dry=False)
    assert written == [str(tool)]
    assert running.read() == "#!/bin/sh\n"
    assert "second" in tool.read_text()


def test_sources_that_a_real_run_makes_are_no_error_in_check_mode(tmp_path: Path) -> None:
    params = wanted(tmp_path)
    (tmp_path / "source").unlink()
    (tmp_path / "program").unlink()
    written, _ = converge(params, dry=True)
    assert len(written) == 4
