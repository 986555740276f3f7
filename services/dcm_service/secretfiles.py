# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Secrets as files in DCM_SECRETS_DIR, read anew whenever a connection is made, so that rotation needs no restart."""

from __future__ import annotations

from pathlib import Path

from dcm_service.config import Process
from dcm_service.errors import ConfigError

POSTGRES = "postgres-password"
REDIS = "redis-password"
DISCORD = "discord-token"
SIGNING = "api-signing-key"
MINIMUM_KEY_BYTES = 32

NEEDED: dict[Process, tuple[str, ...]] = {
    "gateway": (POSTGRES, SIGNING),
    "bot": (REDIS, DISCORD),
    "worker": (POSTGRES, REDIS, DISCORD),
    "dashboard": (),
    "discord-fake": (DISCORD,),
}


class SecretFiles:
    """Reads one secret per file; keeps nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str) -> str:
        """Return the content of a secret file without its trailing newline."""
        path = self._directory / name
        try:
            value = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise ConfigError(f"secret file {path} does not exist; mount it or set DCM_SECRETS_DIR") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"secret file {path} cannot be read: {error}") from None
        if not value:
            raise ConfigError(f"secret file {path} is empty")
        return value

    def signing_keys(self) -> list[str]:
        """Keys of the API, one a line: the first one signs, every one verifies (so that a key can be rotated)."""
        keys = self.read(SIGNING).split()
        for key in keys:
            if len(key.encode()) < MINIMUM_KEY_BYTES:
                raise ConfigError(f"secret file {self._directory / SIGNING}: a key has fewer than {MINIMUM_KEY_BYTES} bytes")
        return keys

    def problems(self, process: Process) -> list[str]:
        """What is wrong with the secrets of one process; empty when all is well."""
        found = []
        for name in NEEDED[process]:
            try:
                if name == SIGNING:
                    self.signing_keys()
                else:
                    self.read(name)
            except ConfigError as error:
                found.append(str(error))
        return found
