#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many files in one call: a module start costs more than all of them together."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: file_set
short_description: Keep many files, folders and programs as wanted in one call
version_added: 0.1.0
description:
  - Writes every file that differs in one step each (a temporary file that is renamed), so that no reader sees half of one.
options:
  root:
    description: Folder that relative paths of O(files) are below.
    type: path
    default: /
  directories:
    description: Folders to have, with their modes.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: path
        required: true
      mode:
        description: Its mode, octal in quotes.
        type: str
        default: "0755"
  files:
    description: Files to have.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file, absolute or relative to O(root).
        type: str
        required: true
      content:
        description: All of its content. Exactly one of O(files[].content) and O(files[].source).
        type: str
      source:
        description: A file of the target machine whose content it gets.
        type: path
      mode:
        description: Its mode, octal in quotes.
        type: str
        default: "0644"
      secret:
        description: Never show its content in a diff.
        type: bool
        default: false
  programs:
    description: Programs by path; each becomes a hard link to (or copy of) the file it names.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the content of files that are not marked secret.
    support: full
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Write the configuration
  dcm.platform.file_set:
    directories:
      - {path: /etc/demo, mode: "0755"}
    files:
      - {path: /etc/demo/demo.conf, content: "colour = blue\n"}
"""

RETURN = r"""
written:
  description: Paths of what was (in check mode, would be) written.
  returned: always
  type: list
  elements: str
  sample: [/etc/demo/demo.conf]
"""

import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _files


def make_directory(path: Path, mode: int, dry: bool) -> bool:
    """Have a folder with a mode; whether that is a change."""
    if path.is_dir() and stat.S_IMODE(path.stat().st_mode) == mode:
        return False
    if not dry:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    return True


def wanted_content(entry: dict[str, Any], dry: bool) -> bytes | None:
    """What the file has to hold; None where its source comes into being only in a real run."""
    if entry["source"] is None:
        return str(entry["content"]).encode()
    source = Path(entry["source"])
    return None if dry and not source.exists() else source.read_bytes()


def converge(params: dict[str, Any], dry: bool) -> tuple[list[str], list[dict[str, str]]]:
    """Bring all to the wanted state; returns the paths that changed and their diffs."""
    written = [entry["path"] for entry in params["directories"] if make_directory(Path(entry["path"]), int(entry["mode"], 8), dry)]
    diffs = []
    for entry in params["files"]:
        path, mode, content = Path(params["root"]) / entry["path"], int(entry["mode"], 8), wanted_content(entry, dry)
        if content is not None and not _files.differs(path, content, mode):
            continue
        written.append(entry["path"])
        if not entry["secret"] and content is not None:
            before = path.read_text() if path.is_file() else ""
            diffs.append({"before_header": entry["path"], "after_header": entry["path"], "before": before, "after": content.decode()})
        if not dry and content is not None:
            _files.write(path, content, mode)
    for name, source in params["programs"].items():
        # A source that is not there yet is about to be built; only check mode gets this far without it.
        if (dry and not Path(source).exists()) or _files.program_differs(Path(name), Path(source)):
            written.append(name)
            if not dry:
                _files.install_program(Path(name), Path(source))
    return written, diffs


MODE = {"type": "str", "default": "0755"}
DIRECTORY = {"path": {"type": "path", "required": True}, "mode": MODE}
FILE = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str"},
    "source": {"type": "path"},
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False, "no_log": False},
}
ONE_OF = [("content", "source")]
ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "default": "/"},
    "directories": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": FILE,
        "required_one_of": ONE_OF,
        "mutually_exclusive": ONE_OF,
    },
    "programs": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        written, diffs = converge(module.params, module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'a file'}: {error.strerror}; free space, rights and the path decide this")
    module.exit_json(changed=bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()
