# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wrong ids and broken files through Ansible: refused with place and reason before a connection is opened."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Site
from .test_modules import Ansible

GOOD = 1_100_000_000_000_000_001
SHORT = "it must be a positive whole number"
OPTIONS: list[tuple[Any, str]] = [
    ("0", SHORT),
    ("-1", SHORT),
    ("1; drop schema", SHORT),
    ("٣", SHORT),
    (str(2**64), "63 bits"),
    (str(2**63), "63 bits"),
    (f"{GOOD}\0", SHORT),
    ({"id": str(GOOD), "plan": "free'; --"}, "must start with a letter"),
]
FILES: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "names no guild"),
    "line500.csv": (b"id\n" + b"".join(b"%d\n" % (GOOD + n) for n in range(498)) + b'"%d' % (GOOD + 999), "line 500: broken CSV"),
    "header.csv": (b"guild,plan\n%d,free\n" % GOOD, "line 1: the first line must name the columns"),
    "twice.csv": (b"id\n%d\n%d\n" % (GOOD, GOOD), "line 3: guild"),
    "nul.csv": (b"id\n%d\0\n" % GOOD, "line 2: "),
    "broken.json": (b'[\n{"id" 1}]', "line 2: broken JSON"),
    "shape.json": (b'{"%d": {}}' % GOOD, "expected a list of guilds, found dict"),
    "broken.yml": (b"- id: [1\n- id: 2\n", "line 2: broken YAML"),
    "leading.yml": (b"- 0110000000000000000001\n", "item 1: '0110000000000000000001'"),
    "latin.csv": (b"id\n\xfc\n", "is not UTF-8 text"),
}


class Door:
    """Looks like a server, and counts who knocks."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def knocked(self) -> bool:
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.listener.close()


def test_nothing_wrong_gets_as_far_as_a_connection(site: Site, tmp_path: Path, door: Door) -> None:
    ansible = Ansible(site, tmp_path)
    tasks: list[dict[str, Any]] = [{"guilds": [str(GOOD + 7), value]} for value, _words in OPTIONS]
    places = [("guilds, item 2: ", words) for _value, words in OPTIONS]
    for name, (content, words) in FILES.items():
        (tmp_path / name).write_bytes(content)
        tasks.append({"guilds_file": str(tmp_path / name)})
        places.append((str(tmp_path / name), words))
    (tmp_path / "again.csv").write_text(f"id\n{GOOD}\n")
    tasks.append({"guilds": [str(GOOD)], "guilds_file": str(tmp_path / "again.csv")})
    places.append((str(tmp_path / "again.csv"), f"line 2: guild {GOOD} was already named in guilds, item 1"))
    messages = ansible.messages(*({**task, "login_port": door.port} for task in tasks))
    wrong = [
        (said, start, words)
        for said, (start, words) in zip(messages, places, strict=True)
        if not said.startswith(start) or words not in said
    ]
    assert wrong == []
    assert "Traceback" not in ansible.output
    assert not door.knocked()


def test_windows_files_with_a_mark_of_order_are_read(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "guilds.csv"
    file.write_bytes(b"\xef\xbb\xbfid,plan\r\n" + b"".join(b"%d,premium\r\n" % guild_id for guild_id in site.ids(2)))
    assert Ansible(site, tmp_path).one(guilds_file=str(file))["totals"]["created"] == 2
    assert site.query("SELECT plan::text, count(*) FROM dcm.guild GROUP BY 1") == [("premium", 2)]


def test_a_door_hears_a_knock(door: Door) -> None:
    """The proof of the first test is one only if this holds."""
    socket.create_connection(("127.0.0.1", door.port)).close()
    assert door.knocked()
