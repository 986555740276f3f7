#!/bin/sh
# pgBackRest with the settings of this server. Secrets go from their files into the environment of this one process, nowhere else.
set -eu
umask 077

# take <variable> <file>: where there is such a file
take() {
  if [ -e "$2" ]; then
    value="$(cat "$2")"
    export "$1=$value"
  fi
}

export PGBACKREST_CONFIG="$CONFIG_DIR/pgbackrest.conf" PGBACKREST_PG1_PATH="${DATA:-$VOLUME/data}"
take PGBACKREST_PG1_USER "$ADMIN_DIR/$ADMIN_USERNAME_KEY"
take PGPASSWORD "$ADMIN_DIR/$ADMIN_PASSWORD_KEY"
take PGBACKREST_REPO1_CIPHER_PASS "$REPOSITORY_DIR/cipher"
take PGBACKREST_REPO1_S3_KEY "$REPOSITORY_DIR/s3-key"
take PGBACKREST_REPO1_S3_KEY_SECRET "$REPOSITORY_DIR/s3-key-secret"
exec pgbackrest "$@"
