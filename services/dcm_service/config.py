# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Settings from environment variables. Secrets never come this way: see secretfiles.py."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, HttpUrl, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dcm_service.errors import ConfigError

PREFIX = "DCM_"
API_PATH = "/api/v10"
DISCORD_API_URL = "https://discord.com" + API_PATH
Process = Literal["gateway", "bot", "worker", "dashboard", "discord-fake"]
PROCESSES: tuple[Process, ...] = ("gateway", "bot", "worker", "dashboard", "discord-fake")

# What a process cannot do without, besides what has a default.
REQUIRED: dict[Process, tuple[str, ...]] = {
    "gateway": ("postgres_host",),
    "bot": ("redis_host",),
    "worker": ("postgres_host", "redis_host"),
    "dashboard": ("gateway_url",),
    "discord-fake": (),
}


class Settings(BaseSettings):
    """Every variable the service reads; the name in the environment is DCM_ + the upper-case field name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    environment: Literal["local", "dev", "staging", "production"] = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    secrets_dir: Path = Path("/run/dcm/secrets")

    bind: str = "0.0.0.0"
    http_port: int = Field(8080, ge=1, le=65535)
    ops_port: int = Field(9090, ge=1, le=65535)
    drain_seconds: float = Field(2, ge=0, le=10)
    shutdown_seconds: float = Field(15, ge=1, le=18)

    postgres_host: str = ""
    postgres_port: int = Field(5432, ge=1, le=65535)
    postgres_database: str = Field("dcm", pattern=r"^[^,]+(,[^,]+)*$")
    postgres_user: str = "dcm_service"
    postgres_sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    postgres_sslrootcert: str = ""
    postgres_pool_size: int = Field(8, ge=1, le=100)
    postgres_max_lifetime: float = Field(1800, ge=10)

    redis_host: str = ""
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_tls: bool = False
    redis_ca_file: str = ""
    stream_maxlen: int = Field(100_000, ge=100)

    discord_api_url: str = DISCORD_API_URL
    shard_id: str = Field("", pattern=r"^([0-9]+(,[0-9]+)*)?$")
    shard_count: int | None = Field(None, ge=1)
    session_reserve: int = Field(0, ge=0)

    gateway_url: str = ""
    cookie_secure: bool | None = None

    worker_concurrency: int = Field(8, ge=1, le=64)
    claim_idle_ms: int = Field(15_000, ge=200)
    max_deliveries: int = Field(5, ge=1)
    cache_seconds: float = Field(3, ge=0, le=300)
    metrics_top_guilds: int = Field(20, ge=0, le=200)

    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @field_validator("discord_api_url")
    @classmethod
    def _with_version(cls, value: str) -> str:
        """A bare host means its API of the version that we speak."""
        HttpUrl(value)
        return value if urlsplit(value).path.strip("/") else value.rstrip("/") + API_PATH

    @field_validator("discord_api_url", "gateway_url", "otlp_endpoint")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value:
            HttpUrl(value)
        return value.rstrip("/")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @property
    def secure_cookies(self) -> bool:
        """Cookies only over TLS, except on a developer's own machine."""
        return self.environment != "local" if self.cookie_secure is None else self.cookie_secure

    @property
    def postgres_databases(self) -> list[str]:
        """The databases that guilds live in: one for each placement of the site, as the pooler names them."""
        return [name.strip() for name in self.postgres_database.split(",")]

    @property
    def shard_ids(self) -> list[int] | None:
        """The shards of this replica: those named, or the one of this pod's number in its StatefulSet; None means all of them."""
        if self.shard_id:
            return [int(part) for part in self.shard_id.split(",")]
        number = re.search(r"-([0-9]+)$", socket.gethostname())
        return [int(number[1])] if self.shard_count is not None and number else None


def env_name(field: str) -> str:
    """The environment variable that sets a field."""
    info = Settings.model_fields.get(field)
    alias = info.validation_alias if info else None
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def explain(error: ValidationError) -> list[str]:
    """One line for each wrong variable: its name, its value, and what is expected."""
    lines = []
    for item in error.errors(include_url=False):
        location = str(item["loc"][0]) if item["loc"] else ""
        name = location if location.isupper() else env_name(location)
        lines.append(f"{name}={item.get('input')!r}: {item['msg']}")
    return lines


def _missing(settings: Settings, process: Process) -> list[str]:
    return [
        f"{env_name(field)} is not set; {process} cannot work without it" for field in REQUIRED[process] if not getattr(settings, field)
    ]


def _combinations(settings: Settings, process: Process) -> list[str]:
    lines = []
    if settings.shard_id and settings.shard_count is None:
        lines.append("DCM_SHARD_COUNT is not set; DCM_SHARD_ID needs it")
    if settings.shard_count is not None and settings.shard_ids is None:
        lines.append("DCM_SHARD_ID is not set, and the host's name has no number at its end to take its place")
    if settings.shard_ids and settings.shard_count is not None and max(settings.shard_ids) >= settings.shard_count:
        lines.append(f"DCM_SHARD_ID={max(settings.shard_ids)}: ids run from 0 to DCM_SHARD_COUNT-1 ({settings.shard_count - 1})")
    if process == "discord-fake" and settings.environment in ("staging", "production"):
        lines.append(f"DCM_ENVIRONMENT={settings.environment}: discord-fake runs in local and dev only")
    if settings.http_port == settings.ops_port:
        lines.append(f"DCM_OPS_PORT={settings.ops_port}: must differ from DCM_HTTP_PORT")
    return lines


def load(process: Process) -> Settings:
    """Read the environment for one process; a ConfigError lists everything that is wrong at once."""
    try:
        settings = Settings.model_validate({})  # reads the environment
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error))) from None
    problems = _missing(settings, process) + _combinations(settings, process)
    if problems:
        raise ConfigError("\n".join(problems))
    return settings
