#!/bin/sh
# Makes base backups when they are due. What fails is said and tried again a minute later; nothing here ends because of it.
set -eu
umask 077

child=""
stop() {
  [ -z "$child" ] || kill "$child" 2> /dev/null || true
  exit 0
}
trap stop TERM INT

# run <command ...>: in the background, so that a signal is heard while it works
run() {
  "$@" &
  child=$!
  status=0
  wait "$child" || status=$?
  child=""
  return "$status"
}

pgbackrest() { run /bin/sh "$CONFIG_DIR/pgbackrest.sh" "$@"; }

# due: full, diff, or nothing, from the newest backups that ended well
due() {
  info="$(/bin/sh "$CONFIG_DIR/pgbackrest.sh" --log-level-console=warn --output=json info)"
  PGPASSWORD="$(cat "$ADMIN_DIR/$ADMIN_PASSWORD_KEY")" "$BINARIES/psql" --no-psqlrc --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1 \
    --set=info="$info" --set=full="$FULL_EVERY_HOURS" --set=diff="$DIFFERENTIAL_EVERY_HOURS" \
    --host="$RUN_DIR" --port="$PORT" --username="$(cat "$ADMIN_DIR/$ADMIN_USERNAME_KEY")" --dbname=postgres << 'SQL'
WITH b AS (
  SELECT b ->> 'type' = 'full' AS whole, to_timestamp((b #>> '{timestamp,stop}')::bigint) AS made
  FROM jsonb_array_elements(:'info'::jsonb #> '{0,backup}') b WHERE NOT coalesce((b ->> 'error')::boolean, false))
SELECT CASE WHEN coalesce(max(made) FILTER (WHERE whole), '-infinity') <= now() - make_interval(hours => :full) THEN 'full'
  WHEN :diff > 0 AND max(made) <= now() - make_interval(hours => :diff) THEN 'diff' END FROM b
SQL
}

until "$BINARIES/pg_isready" --quiet --host="$RUN_DIR" --port="$PORT"; do
  run sleep 1
done
# Where the repository holds another server's backups this fails for good: restore them, or name another stanza.
until pgbackrest stanza-create && pgbackrest check; do
  run sleep 20
done
while :; do
  if kind="$(due)" && [ -n "$kind" ]; then
    pgbackrest backup --type="$kind" || echo "backup.sh: the $kind backup failed; it is tried again" >&2
  fi
  run sleep 60
done
