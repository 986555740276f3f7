#!/bin/sh
# Starts Postgres on its volume. Everything is safe to be killed and started again at any moment.
set -eu
umask 077

data="$VOLUME/data"
unfinished="$VOLUME/data.new"
username="$(cat "$ADMIN_DIR/$ADMIN_USERNAME_KEY")"
password="$(cat "$ADMIN_DIR/$ADMIN_PASSWORD_KEY")"

# quoted <quote> <text>: the text as SQL writes it, between two of these quotes
quoted() {
  rest="$2"
  done=""
  while [ "$rest" != "${rest#*"$1"}" ]; do
    done="$done${rest%%"$1"*}$1$1"
    rest="${rest#*"$1"}"
  done
  printf '%s%s%s%s' "$1" "$done" "$rest" "$1"
}

# single <folder> <statement>: without network, without a password, and without a line in the log
single() {
  printf '%s\n' "$2" | "$BINARIES/postgres" --single -D "$1" -c config_file="$CONFIG_DIR/postgresql.conf" -c exit_on_error=on \
    -c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 postgres > /dev/null
}

# Nothing of an earlier container runs any more; the process ids in its lock files would be taken for processes of this one.
rm -f "$data/postmaster.pid" "$RUN_DIR"/.s.PGSQL.*

if [ -e "$data" ]; then
  # The Secret is the truth: a password changed there holds from this start on.
  single "$data" "ALTER ROLE $(quoted '"' "$username") PASSWORD $(quoted "'" "$password")"
else
  # Made beside its final place and moved there in one step: what is half made is never taken for a whole one.
  rm -rf "$unfinished"
  printf '%s\n' "$password" > "$RUN_DIR/initial-password"
  "$BINARIES/initdb" -D "$unfinished" --username="$username" --pwfile="$RUN_DIR/initial-password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  rm -f "$RUN_DIR/initial-password"
  single "$unfinished" "CREATE DATABASE $(quoted '"' "$DATABASE")"
  sync
  mv "$unfinished" "$data"
  sync
fi
unset password

# Kubernetes says SIGTERM, which Postgres takes as "wait until the last client has gone"; SIGINT is "finish now, cleanly".
"$BINARIES/postgres" -D "$data" -c config_file="$CONFIG_DIR/postgresql.conf" -c hba_file="$CONFIG_DIR/pg_hba.conf" &
server=$!
trap 'kill -INT "$server"' TERM INT
status=0
wait "$server" || status=$?
# A signal ends the first wait; the server's own end ends the next one.
while kill -0 "$server" 2> /dev/null; do
  status=0
  wait "$server" || status=$?
done
exit "$status"
