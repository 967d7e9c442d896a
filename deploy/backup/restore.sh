#!/usr/bin/env bash
# Restore a dump into an empty database: restore.sh postgresql://saga_owner@host/saga FILE
# All of it or nothing. README.md beside this file says what comes before and after.
set -euo pipefail

[ $# = 2 ] || {
    sed -n 2,3p "$0" >&2
    exit 2
}
url=$1 file=$2

tables=$(psql --no-psqlrc --tuples-only --no-align --dbname="$url" \
    --command="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
[ "$tables" = 0 ] || {
    echo "the database has $tables tables; restore into an empty one" >&2
    exit 1
}
# Dumps that were not made by backup.sh may have publications, which only a superuser makes.
pg_restore --no-owner --no-privileges --no-publications --no-subscriptions \
    --exit-on-error --single-transaction --dbname="$url" "$file"
