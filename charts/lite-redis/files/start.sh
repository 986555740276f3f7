#!/bin/sh
# Writes the access rules into memory, with the password's hash only, and becomes Redis.
set -eu
umask 077

hash="$(tr -d '\n' < "$PASSWORD_FILE" | sha256sum | cut -d ' ' -f 1)"
printf 'user default on sanitize-payload #%s %s\n' "$hash" "$ACCESS_RULES" > "$RUN_DIR/users.acl"
exec redis-server "$CONFIG_DIR/redis.conf" --aclfile "$RUN_DIR/users.acl"
