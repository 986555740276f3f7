#!/bin/sh
# Writes the list of logins into memory and runs PgBouncer. It needs the password as it is: to log in at Postgres by SCRAM.
set -eu
umask 077

users="$RUN_DIR/users.txt"

# In this file a quote inside a value is written twice; nothing else is special.
write_users() {
  rest="$(cat "$PASSWORD_FILE")"
  quoted=""
  while [ "$rest" != "${rest#*\"}" ]; do
    quoted="$quoted${rest%%\"*}\"\""
    rest="${rest#*\"}"
  done
  printf '"%s" "%s"\n' "$LOGIN" "$quoted$rest" > "$users.new"
  mv "$users.new" "$users"
}

write_users
pgbouncer "$CONFIG_DIR/pgbouncer.ini" &
server=$!

# The Secret is the truth: a password changed there holds within seconds, without a restart.
(
  trap 'exit 0' TERM
  while kill -0 "$server" 2> /dev/null; do
    sleep "$REREAD_SECONDS" &
    wait $!
    before="$(cat "$users")"
    write_users
    [ "$before" = "$(cat "$users")" ] || kill -HUP "$server"
  done
) &
reader=$!

# Kubernetes says SIGTERM, on which PgBouncer drops everybody; on SIGINT it lets transactions end first.
trap 'kill -INT "$server"' TERM INT
status=0
wait "$server" || status=$?
# A signal ends the first wait; the pooler's own end ends the next one.
while kill -0 "$server" 2> /dev/null; do
  status=0
  wait "$server" || status=$?
done
kill "$reader" 2> /dev/null || true
exit "$status"
