# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Prometheus metrics. No metric carries an unbounded label; guilds appear only through TopGuilds."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

HTTP_REQUESTS = Counter("dcm_http_requests_total", "HTTP requests answered.", ["method", "route", "status"])
HTTP_SECONDS = Histogram("dcm_http_request_duration_seconds", "Time to answer an HTTP request.", ["method", "route"], buckets=_FAST)
HTTP_IN_FLIGHT = Gauge("dcm_http_requests_in_flight", "HTTP requests being answered now.")

EVENTS_IN = Counter("dcm_events_received_total", "Events received.", ["kind"])
EVENTS_DONE = Counter("dcm_events_processed_total", "Events processed to their end.", ["outcome"])
EVENTS_DROPPED = Counter("dcm_events_dropped_total", "Events given up.", ["reason"])
EVENT_SECONDS = Histogram("dcm_event_processing_seconds", "Time to process an event.", buckets=_FAST)
EVENT_AGE = Histogram("dcm_event_age_seconds", "Age of an event when it is done.", buckets=(*_FAST, 30, 60, 300, 1800))
EVENT_RETRIES = Counter("dcm_event_retries_total", "Attempts that failed and will be made again.", ["error"])

QUEUE_LAG = Gauge("dcm_queue_lag", "Entries of the stream that no worker has read yet.")
QUEUE_PENDING = Gauge("dcm_queue_pending", "Entries that are read but not acknowledged.")
QUEUE_LENGTH = Gauge("dcm_queue_length", "Entries in the stream.")
QUEUE_DEAD = Gauge("dcm_queue_dead_letters", "Entries in the stream of dead letters.")

RULE_HITS = Counter("dcm_rule_hits_total", "Messages that a clean-up rule caught.", ["kind", "action"])
RULES_INVALID = Counter("dcm_rules_invalid_total", "Stored rules that could not be used.", ["kind"])

DISCORD_REQUESTS = Counter("dcm_discord_requests_total", "Requests to Discord's REST API.", ["route", "status"])
DISCORD_WAIT = Counter("dcm_discord_ratelimit_wait_seconds_total", "Time spent waiting for Discord's rate limits.")
SESSIONS_LEFT = Gauge("dcm_discord_sessions_remaining", "Sessions that the bot may still start before the reset.")
SHARDS_CONNECTED = Gauge("dcm_discord_shards_connected", "Shards of this replica with a live session.")
SESSION_EVENTS = Counter("dcm_discord_session_events_total", "Connects, resumes and disconnects of the session.", ["event"])
BUFFERED = Gauge("dcm_bot_buffered_events", "Events that wait for Redis in the bot's memory.")

DB_POOL = Gauge("dcm_db_pool_connections", "Connections of the database pool.", ["state"])
DB_WAITING = Gauge("dcm_db_pool_waiting", "Requests that wait for a database connection.")
DB_SECONDS = Histogram("dcm_db_transaction_seconds", "Time of a database transaction.", ["operation"], buckets=_FAST)

GUILD_EVENTS = Counter("dcm_guild_events_total", "Events of the busiest guilds; all the others are in guild=other.", ["guild"])
