#!/bin/sh
# Asks Redis with the password; it travels in the environment of this one process, never in its arguments.
set -eu

REDISCLI_AUTH="$(cat "$PASSWORD_FILE")"
export REDISCLI_AUTH
answer="$(redis-cli -p "$PORT" ping)"
[ "$answer" = PONG ] || { echo "redis: $answer" >&2; exit 1; }
