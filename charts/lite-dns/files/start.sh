#!/bin/sh
# Runs named in the foreground. The key is in no argument and in no file but one in memory; the zone is made once and kept on the volume.
set -eu

umask 077
printf 'key "%s" { algorithm hmac-sha256; secret "%s"; };\n' "$KEY_NAME" "$(cat "$KEY_FILE")" > /run/named/key.conf

file="/var/lib/bind/$ZONE.zone"
if [ ! -s "$file" ]; then
    # Short times: whoever asked for a name too early asks again soon.
    printf '%s\n' "\$TTL 60" "@ IN SOA $SERVER. hostmaster.$ZONE. 1 300 60 86400 10" "@ IN NS $SERVER." > "$file.new"
    mv "$file.new" "$file"
fi
exec named -f -c /etc/dcm-dns/named.conf -g
