# Runs named in the foreground. The key is in no argument and in no file but one in memory; the zone is made once and kept on the volume.
set -eu

umask 077
printf 'key "%s" { algorithm hmac-sha256; secret "%s"; };\n' "$KEY_NAME" "$(cat "$KEY_FILE")" > /run/named/key.conf

zone="/var/lib/bind/$ZONE.zone"
if [ ! -s "$zone" ]; then
    # Short times: whoever asked for a name too early asks again soon.
    printf '$TTL 60\n@ IN SOA %s. hostmaster.%s. 1 300 60 86400 10\n@ IN NS %s.\n' "$SERVER" "$ZONE" "$SERVER" > "$zone.new"
    mv "$zone.new" "$zone"
fi
exec named -f -c /etc/dcm-dns/named.conf -g
