# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups in an S3-compatible store over TLS: made, and restored on an empty volume with nothing but the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.object_store import ObjectStore, running_store

from .conftest import Database, restoring

KEYS = {"s3-key": "AKIAEXAMPLE", "s3-key-secret": "a planted secret key"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        running.make_bucket("backups")
        yield running


def test_a_backup_in_an_object_store_is_restored_on_an_empty_volume(store: ObjectStore, databases: Callable[..., Database]) -> None:
    place = {"bucket": "backups", "endpoint": f"localhost:{store.port}", "uriStyle": "path"}
    repository = {"type": "s3", "s3": {**place, "credentialsSecret": "store", "caConfigMap": "authority"}}
    access = {**KEYS, "ca.crt": store.authority.read_text()}
    live = databases({"backup": {"enabled": True}, "repository": repository}, access=access).start()
    live.tool.ask("--log-level-console=warn", "stanza-create")
    with live.connect() as conn:
        conn.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) n")
    backup = live.tool.back_up("full")
    with live.connect() as conn:
        for statement in ("INSERT INTO kept SELECT 0", "SELECT pg_create_restore_point('after')", "SELECT pg_switch_wal()"):
            conn.execute(statement.encode())
    live.tool.ask("check")
    assert f"dcm/backup/main/{backup.label}/" in store.holds("backups")
    assert live.tool.verify(backup) == []
    live.pod.kill()

    again = databases({**restoring("empty", type="name", target="after"), "repository": repository}, access=access).start()
    assert again.query("SELECT count(*), min(n) FROM kept") == [(1001, 0)]

    untrusted = databases(
        {**restoring("untrusted"), "repository": {"type": "s3", "s3": {**place, "credentialsSecret": "store"}}}, access=access
    )
    untrusted.pod.start()
    assert untrusted.pod.process.wait(300) != 0
    assert "certificate" in untrusted.pod.log()
    for database in (live, again, untrusted):
        assert KEYS["s3-key-secret"] not in database.pod.log()
