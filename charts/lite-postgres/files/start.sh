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

# single <folder> <statement>: without network, without a password, and without a line in the log. Recovers first, where there is something to.
single() {
  printf '%s\n' "$2" | "$BINARIES/postgres" --single -D "$1" -c config_file="$CONFIG_DIR/postgresql.conf" -c exit_on_error=on \
    -c hot_standby=off -c log_startup_progress_interval=5s \
    -c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 postgres > /dev/null
}

# take_over <folder>: the Secret is the truth, a password changed there holds from this start on
take_over() {
  single "$1" "ALTER ROLE $(quoted '"' "$username") PASSWORD $(quoted "'" "$password")"
}

# comes_from_restore <folder>: whether it is the whole result of the restore that is asked for
comes_from_restore() {
  [ "$(cat "$1/dcm-restore" 2> /dev/null)" = "$RESTORE_ID" ]
}

# restore: beside the final place, through all of the recovery. What was there is replaced when it has ended well, and kept as data.before.
restore() {
  if ! comes_from_restore "$unfinished"; then
    rm -rf "$unfinished"
    set -- restore --type="$RESTORE_TYPE" --archive-mode=preserve --target-timeline="$RESTORE_TIMELINE" \
      --recovery-option=restore_command="/bin/sh $CONFIG_DIR/pgbackrest.sh --log-level-console=warn archive-get %f \"%p\""
    [ "$RESTORE_TYPE" = default ] || set -- "$@" --target-action=promote
    [ -z "$RESTORE_TARGET" ] || set -- "$@" --target="$RESTORE_TARGET"
    [ -z "$RESTORE_BACKUP" ] || set -- "$@" --set="$RESTORE_BACKUP"
    DATA="$unfinished" /bin/sh "$CONFIG_DIR/pgbackrest.sh" "$@"
    export DATA="$unfinished"
    take_over "$unfinished"
    unset DATA
    printf '%s\n' "$RESTORE_ID" > "$unfinished/dcm-restore"
    sync
  fi
  if [ -e "$data" ]; then
    rm -rf "$VOLUME/data.before"
    mv "$data" "$VOLUME/data.before"
  fi
  mv "$unfinished" "$data"
  sync
}

# Nothing of an earlier container runs any more; the process ids in its lock files would be taken for processes of this one.
rm -f "$data/postmaster.pid" "$RUN_DIR"/.s.PGSQL.*

if [ -n "${RESTORE_ID:-}" ] && ! comes_from_restore "$data"; then
  restore
elif [ -e "$data" ]; then
  take_over "$data"
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
