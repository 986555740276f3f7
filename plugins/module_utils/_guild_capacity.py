# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which settings a server needs for a number of guilds, computed, beside the ones it has. Pure.

The constants were measured with the migrations of the DCM services on Postgres 15 (docs/guides/guild-data.md, "The server").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

KIB, MIB, GIB = 1024, 1024**2, 1024**3
UNITS = {"": 1, "B": 1, "kB": KIB, "8kB": 8 * KIB, "MB": MIB, "16MB": 16 * MIB, "GB": GIB, "ms": 1, "s": 1000, "min": 60_000}

# What an erase locks, the greediest of the engine's transactions, for one guild.
LOCKS_A_GUILD = 120
# Administrators, monitoring, backups and migrations by hand, beside the engine.
OTHER_CONNECTIONS = 5
CATALOG_A_GUILD = 30 * KIB
WAL_A_NEW_GUILD = 85 * KIB
WAL_CAP = 24 * GIB
BULK = 1000
LARGE_FLEET = 5000
NAPTIME_MS = 60_000
REFUSE, WARN, OK = "refuse", "warn", "ok"
BREAKING = ("max_locks_per_transaction", "max_connections")

# Of a new server: places for locks that also carry an operator's own statements, and what a site with few guilds gets.
LEAST_LOCKS = 512
LEAST_BUFFERS, LEAST_WAL = 128 * MIB, 2 * GIB
# A backend with its work_mem and its memory of tables, and the server itself.
MEMORY_A_CONNECTION, MEMORY_OF_THE_SERVER = 5 * MIB, 128 * MIB
# An empty guild takes 140 kB; as much again is for its rows.
DISK_A_GUILD, LEAST_DISK = 280 * KIB, 4 * GIB
ENGINE_CONNECTIONS, MAX_CONNECTIONS = 4, 100

READ_SETTINGS = """
SELECT name, setting, coalesce(unit, '') FROM pg_settings
WHERE name IN ('max_connections', 'max_locks_per_transaction', 'max_prepared_transactions', 'superuser_reserved_connections',
    'max_wal_size', 'shared_buffers', 'autovacuum_naptime')
"""


@dataclass(frozen=True)
class Load:
    """What is asked of the server: guilds it will hold, how many of them are new now, connections of the engine."""

    guilds: int
    new: int
    connections: int


@dataclass(frozen=True)
class Finding:
    """One setting: what it is, what it should be at least, and why. Sizes in bytes, times in milliseconds."""

    name: str
    found: int
    wanted: int
    severity: str
    why: str

    def text(self) -> str:
        show = _shown(self.name)
        return f"{self.name} is {show(self.found)}, wanted at least {show(self.wanted)}: {self.why}"

    def as_dict(self) -> dict[str, str]:
        show = _shown(self.name)
        return {"name": self.name, "found": show(self.found), "wanted": show(self.wanted), "severity": self.severity, "why": self.why}


@dataclass(frozen=True)
class Sizing:
    """What a server gets that is made for a number of guilds; sizes in whole MB and GB."""

    settings: Mapping[str, str]
    memory_mb: int
    disk_gb: int


def sizing(guilds: int, max_connections: int = MAX_CONNECTIONS) -> Sizing:
    """All of the guilds may come at once, as in a migration from elsewhere."""
    base = {"max_connections": max_connections, "max_prepared_transactions": 0, "superuser_reserved_connections": 3}
    buffers = max(LEAST_BUFFERS, _up(guilds * CATALOG_A_GUILD, LEAST_BUFFERS))
    wal = max(LEAST_WAL, _up(min(WAL_CAP, guilds * WAL_A_NEW_GUILD), GIB))
    settings = {
        "max_connections": str(max_connections),
        "max_locks_per_transaction": str(max(LEAST_LOCKS, _locks(base, Load(guilds, guilds, ENGINE_CONNECTIONS)))),
        "shared_buffers": f"{buffers // MIB}MB",
        "effective_cache_size": f"{3 * buffers // MIB}MB",
        "max_wal_size": f"{wal // GIB}GB",
        "checkpoint_timeout": "1h" if guilds >= LARGE_FLEET else "15min",
        "autovacuum_naptime": f"{NAPTIME_MS // 1000}s",
    }
    memory = _up(buffers + max_connections * MEMORY_A_CONNECTION + MEMORY_OF_THE_SERVER, LEAST_BUFFERS)
    disk = max(LEAST_DISK, _up(guilds * DISK_A_GUILD + 3 * wal // 2, GIB))
    return Sizing(settings, memory // MIB, disk // GIB)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def normal(rows: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """pg_settings as numbers: bytes, milliseconds, or plain."""
    return {name: int(float(setting) * UNITS[unit]) for name, (setting, unit) in rows.items()}


def findings(settings: Mapping[str, int], load: Load) -> list[Finding]:
    """Every setting that matters, the good ones too."""
    wal, catalog = load.new * WAL_A_NEW_GUILD, load.guilds * CATALOG_A_GUILD
    large = load.guilds >= LARGE_FLEET
    wanted = {
        "max_locks_per_transaction": (_locks(settings, load), f"{load.connections} connections lock up to {LOCKS_A_GUILD} objects each"),
        "max_connections": (
            _connections(settings, load),
            f"{load.connections + 1} for the engine, {OTHER_CONNECTIONS} for others, and the reserved",
        ),
        "max_wal_size": (
            min(WAL_CAP, wal) if load.new >= BULK else 0,
            f"{load.new:,} new guilds write {_size(wal)}; a checkpoint syncs all files",
        ),
        "shared_buffers": (catalog if large else 0, f"the catalog of {load.guilds:,} guilds"),
        "autovacuum_naptime": (NAPTIME_MS if large else 0, "every round looks at the tables of all guilds"),
    }
    return [_judge(name, settings[name], *values) for name, values in wanted.items()]


def _locks(settings: Mapping[str, int], load: Load) -> int:
    """The lock table is shared: it has this many places for each connection there may be."""
    return -(-(load.connections * LOCKS_A_GUILD) // (settings["max_connections"] + settings["max_prepared_transactions"]))


def _connections(settings: Mapping[str, int], load: Load) -> int:
    return load.connections + 1 + OTHER_CONNECTIONS + settings["superuser_reserved_connections"]


def _judge(name: str, found: int, wanted: int, why: str) -> Finding:
    too_small = REFUSE if name in BREAKING else WARN
    return Finding(name, found, wanted, too_small if found < wanted else OK, why)


def _shown(name: str) -> Callable[[int], str]:
    if name == "autovacuum_naptime":
        return lambda value: f"{value // 1000} s"
    return _size if name in {"max_wal_size", "shared_buffers"} else str


def _size(value: int) -> str:
    return f"{value / GIB:.1f} GB" if value >= GIB else f"{-(-value // MIB)} MB"
