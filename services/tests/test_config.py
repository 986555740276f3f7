# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Settings: what is wrong is named by its variable."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest

from dcm_service.cli import main
from dcm_service.config import DISCORD_API_URL, PROCESSES, Process, Settings, env_name, load
from dcm_service.errors import ConfigError
from dcm_service.secretfiles import NEEDED, SecretFiles
from dcm_service.trust import use_bundled_authorities
from tests.support.common import free_port

FULL = {"DCM_POSTGRES_HOST": "pg", "DCM_REDIS_HOST": "redis", "DCM_GATEWAY_URL": "http://gateway:8080"}
SetEnv = Callable[[dict[str, str]], None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> SetEnv:
    """Sets the environment of the service anew."""
    names = [env_name(field) for field in Settings.model_fields]

    def put(values: dict[str, str]) -> None:
        for name in names:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A directory with every secret."""
    for name in {name for names in NEEDED.values() for name in names}:
        (tmp_path / name).write_text("x" * 40 + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("process", PROCESSES)
def test_a_full_environment_serves_every_process(environ: SetEnv, process: Process) -> None:
    environ(FULL)
    settings = load(process)
    assert (settings.http_port, settings.ops_port, settings.environment) == (8080, 9090, "local")


@pytest.mark.parametrize(
    ("process", "values", "message"),
    [
        ("worker", {"DCM_POSTGRES_HOST": ""}, "DCM_POSTGRES_HOST is not set; worker cannot work without it"),
        ("bot", {"DCM_REDIS_HOST": ""}, "DCM_REDIS_HOST is not set"),
        ("dashboard", {"DCM_GATEWAY_URL": ""}, "DCM_GATEWAY_URL is not set"),
        ("gateway", {"DCM_POSTGRES_PORT": "five"}, "DCM_POSTGRES_PORT='five': Input should be a valid integer"),
        ("gateway", {"DCM_HTTP_PORT": "70000"}, "DCM_HTTP_PORT='70000': Input should be less than or equal to 65535"),
        ("gateway", {"DCM_ENVIRONMENT": "prod"}, "DCM_ENVIRONMENT='prod': Input should be 'local', 'dev', 'staging' or 'production'"),
        ("gateway", {"DCM_LOG_LEVEL": "loud"}, "DCM_LOG_LEVEL='LOUD'"),
        ("dashboard", {"DCM_GATEWAY_URL": "gateway:8080"}, "DCM_GATEWAY_URL='gateway:8080'"),
        ("bot", {"DCM_DISCORD_API_URL": "discord"}, "DCM_DISCORD_API_URL='discord'"),
        ("bot", {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT='collector'"),
        ("bot", {"DCM_SHARD_ID": "0"}, "DCM_SHARD_COUNT is not set; DCM_SHARD_ID needs it"),
        ("bot", {"DCM_SHARD_ID": "2", "DCM_SHARD_COUNT": "2"}, "DCM_SHARD_ID=2: ids run from 0 to DCM_SHARD_COUNT-1 (1)"),
        ("bot", {"DCM_OPS_PORT": "8080"}, "DCM_OPS_PORT=8080: must differ from DCM_HTTP_PORT"),
        ("discord-fake", {"DCM_ENVIRONMENT": "production"}, "discord-fake runs in local and dev only"),
    ],
)
def test_what_is_wrong_is_named(environ: SetEnv, process: Process, values: dict[str, str], message: str) -> None:
    environ({**FULL, **values})
    with pytest.raises(ConfigError) as caught:
        load(process)
    assert message in str(caught.value)


def test_everything_wrong_is_named_at_once(environ: SetEnv) -> None:
    environ({**FULL, "DCM_POSTGRES_PORT": "x", "DCM_REDIS_PORT": "y"})
    with pytest.raises(ConfigError) as caught:
        load("worker")
    assert [line.split("=")[0] for line in str(caught.value).splitlines()] == ["DCM_POSTGRES_PORT", "DCM_REDIS_PORT"]


def test_an_empty_variable_is_as_if_not_set(environ: SetEnv) -> None:
    environ({**FULL, "DCM_DISCORD_API_URL": "", "DCM_SHARD_ID": "", "DCM_SHARD_COUNT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    settings = load("bot")
    assert settings.discord_api_url == DISCORD_API_URL
    assert settings.shard_ids is None


@pytest.mark.parametrize(
    ("host", "values", "shards"),
    [
        ("bot-1", {}, None),
        ("bot-1", {"DCM_SHARD_COUNT": "4"}, [1]),
        ("bot-1", {"DCM_SHARD_COUNT": "4", "DCM_SHARD_ID": "2,3"}, [2, 3]),
    ],
)
def test_shards(environ: SetEnv, monkeypatch: pytest.MonkeyPatch, host: str, values: dict[str, str], shards: list[int] | None) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    environ({**FULL, **values})
    assert load("bot").shard_ids == shards


@pytest.mark.parametrize(
    ("host", "message"),
    [("laptop", "DCM_SHARD_ID is not set, and the host's name has no number"), ("bot-4", "DCM_SHARD_ID=4: ids run from 0 to")],
)
def test_a_replica_without_a_shard(environ: SetEnv, monkeypatch: pytest.MonkeyPatch, host: str, message: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    environ({**FULL, "DCM_SHARD_COUNT": "4"})
    with pytest.raises(ConfigError, match=message):
        load("bot")


@pytest.mark.parametrize("url", ["http://fake:8080", "http://fake:8080/", "http://fake:8080/api/v10", "http://fake:8080/api/v10/"])
def test_the_api_path_may_be_left_out(environ: SetEnv, url: str) -> None:
    environ({**FULL, "DCM_DISCORD_API_URL": url})
    assert load("bot").discord_api_url == "http://fake:8080/api/v10"


@pytest.mark.parametrize(("environment", "secure"), [("local", False), ("dev", True), ("production", True)])
def test_cookies_are_secure_except_on_a_developers_machine(environ: SetEnv, environment: str, secure: bool) -> None:
    environ({**FULL, "DCM_ENVIRONMENT": environment})
    assert load("dashboard").secure_cookies is secure


def test_check_says_what_is_wrong(environ: SetEnv, secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ({**FULL, "DCM_SECRETS_DIR": str(secrets)})
    assert main(["check", "worker"]) == 0
    assert capsys.readouterr().out == "worker: settings and secret files are in order\n"
    (secrets / "redis-password").write_text("\n", encoding="utf-8")
    (secrets / "discord-token").unlink()
    assert main(["check", "worker"]) == 1
    errors = capsys.readouterr().err
    assert f"error: secret file {secrets}/redis-password is empty" in errors
    assert f"error: secret file {secrets}/discord-token does not exist" in errors
    assert main(["worker"]) == 1, "a process does not start without its secrets"


def test_a_short_signing_key_is_refused(secrets: Path) -> None:
    (secrets / "api-signing-key").write_text("short", encoding="utf-8")
    assert "fewer than 32 bytes" in SecretFiles(secrets).problems("gateway")[0]


@pytest.mark.parametrize(
    ("cafile", "environment", "bundled"), [(None, {}, True), ("/etc/ca", {}, False), (None, {"SSL_CERT_FILE": "/own"}, False)]
)
def test_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cafile: str | None, environment: dict[str, str], bundled: bool
) -> None:
    changes: dict[str, Any] = {"cafile": cafile, "capath": str(tmp_path)}
    paths = ssl.get_default_verify_paths()._replace(**changes)
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: paths)
    monkeypatch.setattr("os.environ", dict(environment))
    use_bundled_authorities()
    assert (os.environ.get("SSL_CERT_FILE") == certifi.where()) is bundled


@pytest.mark.parametrize("process", ["gateway", "discord-fake"])
def test_a_port_that_is_taken_is_named(environ: SetEnv, secrets: Path, capsys: pytest.CaptureFixture[str], process: str) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        environ({**FULL, "DCM_SECRETS_DIR": str(secrets), "DCM_BIND": "127.0.0.1", "DCM_OPS_PORT": str(port)})
        assert main([process]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
