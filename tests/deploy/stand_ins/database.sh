#!/bin/sh
# A PostgreSQL in the place of TimescaleDB's image: the same variables, the same arguments as far as it knows them.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=${PGDATA:-/var/lib/postgresql/data}
mkdir -p "$data"
chmod 700 "$data"
if [ ! -f "$data/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    "$bin/initdb" -D "$data" -U postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    "$bin/pg_ctl" -D "$data" -w -o "-c listen_addresses= -c unix_socket_directories=/tmp" start >/dev/null
    "$bin/createdb" -h /tmp -U postgres "$POSTGRES_DB"
    "$bin/pg_ctl" -D "$data" -w stop >/dev/null
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
